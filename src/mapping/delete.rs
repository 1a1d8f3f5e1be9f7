//! Mapping of a delete event.
//!
//! In: an event. Out: the user to delete. Deliberately absent: the calls to Refersion ([`crate::delivery`]).

use super::{Intent, MappingError, Note, email};
use crate::domain::{FactTime, User, UserId};
use crate::segment::Event;

/// Maps a delete event, whose deletion was requested at `time`.
pub(super) fn delete(
    event: &Event<'_>,
    user_id: Option<&UserId>,
    time: FactTime,
    notes: &mut Vec<Note>,
) -> Result<Intent, MappingError> {
    let user = User { email: email::of_delete(event, user_id, notes)?, user_id: user_id.cloned() };
    if user == User::default() { Err(MappingError::MissingUser) } else { Ok(Intent::Delete { user, time }) }
}
