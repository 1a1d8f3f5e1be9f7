//! Mapping of a delete event.
//!
//! In: an event. Out: the user to delete. Deliberately absent: what is done at Refersion ([`crate::delivery`]).

use super::{Intent, MappingError, Note, email};
use crate::domain::{FactTime, User};
use crate::segment::Event;

/// Maps a delete event, which was made at `time`.
pub(super) fn delete(event: &Event<'_>, time: FactTime, notes: &mut Vec<Note>) -> Result<Intent, MappingError> {
    let user = User { email: email::of_delete(event, notes)?, user_id: event.user_id.clone() };
    if user == User::default() { Err(MappingError::MissingUser) } else { Ok(Intent::Delete { user, time }) }
}
