//! Delete: an event → who is to be deleted. What deleting means at Refersion is the delivery's matter.

use super::{Intent, MappingError, Note, contact};
use crate::domain::{FactTime, User};
use crate::segment::Event;

/// What a delete wants.
pub(super) fn delete(event: &Event<'_>, time: FactTime, notes: &mut Vec<Note>) -> Result<Intent, MappingError> {
    let user = User { email: contact::of_delete(event, notes)?, user_id: event.user_id.clone() };
    if user == User::default() { Err(MappingError::MissingUser) } else { Ok(Intent::Delete { user, time }) }
}
