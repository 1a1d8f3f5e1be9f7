//! Whether a connection works: how many sessions it has had, and why the last job or attempt to connect failed, if it did: the process cannot
//! reach the server, the connection was lost, or the server could not do the job.
//!
//! Invariant: a lasting failure is logged when it begins, once a minute, and when it is over.

use crate::store::log_limit::LogLimit;
use parking_lot::Mutex;

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
        self.state.lock().failure.clone()
    }

    /// How many sessions it has had so far.
    pub fn sessions(&self) -> u64 {
        self.state.lock().sessions
    }

    /// It has another session.
    pub fn another_session(&self) {
        self.state.lock().sessions += 1;
    }

    /// It does not work.
    pub fn set(&self, failure: String) {
        let mut state = self.state.lock();
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
        if self.state.lock().failure.take().is_some() {
            tracing::info!(connection = self.name, "the store works again");
        }
    }
}
