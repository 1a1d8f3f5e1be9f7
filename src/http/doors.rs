//! The doors of all accounts, and which of them a request is for.
//!
//! Each account has a door of its own name, `/segment/{name}`; `/segment` and `/v1/batch` are everybody's: there the key in
//! the Basic credentials tells whose request it is, and a request without credentials is for the account `main`. Whether a
//! request is believed is decided behind the door, the same for all. Invariant: a path that no account has is answered like
//! any other unknown path.

use super::Door;
use super::answer::Answer;
use crate::domain::AccountName;
use crate::queue::Queue;
use crate::segment::{self, Disbelief};
use std::sync::Arc;

/// The doors of all accounts, before one queue.
pub struct Doors {
    pub(super) queue: Arc<dyn Queue>,
    all: Vec<Arc<Door>>,
}

impl Doors {
    /// The doors of accounts with different names and keys, all of them before `queue`.
    pub fn new(queue: Arc<dyn Queue>, doors: Vec<Door>) -> Self {
        Self { queue, all: doors.into_iter().map(Arc::new).collect() }
    }

    /// Every door.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Door>> + Clone {
        self.all.iter()
    }

    /// The door of the first account, `main` if there is one.
    pub(super) fn first(&self) -> Result<&Arc<Door>, Answer> {
        self.all.first().ok_or(Answer::Bug)
    }

    /// Whether the service is about to stop.
    pub(super) fn is_draining(&self) -> bool {
        self.all.iter().any(|door| door.notice.is_draining())
    }

    /// The door that a request with these `Authorization` headers is for.
    pub(super) fn door_for(&self, authorizations: &[&[u8]]) -> Result<&Arc<Door>, Answer> {
        if self.is_draining() {
            return Err(Answer::Draining);
        }
        let trusts = self.all.iter().map(|door| &door.trust);
        let named = segment::choose(trusts, authorizations.iter().copied()).map_err(Answer::Disbelieved)?;
        let door = match named {
            Some(place) => self.all.get(place),
            None => self.all.iter().find(|door| door.account == AccountName::main()),
        };
        door.ok_or(Answer::Disbelieved(Disbelief::Nothing))
    }
}
