//! Whether a connection works: how many sessions it has had, and why the last job or attempt to connect failed, if it did.
//!
//! Invariant: a lasting failure is logged when it begins, once a minute, and when it is over.

use crate::store::log_limit::LogLimit;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The health of one connection.
#[derive(Debug)]
pub struct Health {
    name: &'static str,
    state: Mutex<ConnectionState>,
}

#[derive(Debug)]
struct ConnectionState {
    failure: Option<String>,
    limit: LogLimit,
    sessions: u64,
}

impl Health {
    /// It has its first session. `name` says in the logs which connection it is.
    pub fn new(name: &'static str) -> Self {
        Self { name, state: Mutex::new(ConnectionState { failure: None, limit: LogLimit::default(), sessions: 1 }) }
    }

    /// Which connection it is.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Why it does not work, if it does not.
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// How many sessions it has had so far.
    pub fn sessions(&self) -> u64 {
        self.lock().sessions
    }

    /// It has another session.
    pub fn another_session(&self) {
        self.lock().sessions += 1;
    }

    /// It does not work.
    pub fn set(&self, failure: String) {
        let mut state = self.lock();
        if state.failure.is_none() {
            state.limit.reset();
        }
        if state.limit.due() {
            tracing::error!(
                connection = self.name,
                error = failure,
                "the store failed; what failed is not acknowledged"
            );
        }
        state.failure = Some(failure);
    }

    /// It works.
    pub fn clear(&self) {
        if self.lock().failure.take().is_some() {
            tracing::info!(connection = self.name, "the store works again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
