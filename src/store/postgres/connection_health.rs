//! The health of a connection: the number of its sessions, and the failure of the last job or attempt to connect, if there was one.
//! Failures are an unreachable server, a lost connection, or a job that the server could not do.
//!
//! Invariant: a failure is logged when it begins and when it is over, at most once a minute, also if it lasts, or if only some jobs fail.

use crate::store::failure_log_throttle::FailureLogThrottle;
use parking_lot::Mutex;

/// The health of one connection.
#[derive(Debug)]
pub struct ConnectionHealth {
    name: &'static str,
    state: Mutex<ConnectionState>,
}

#[derive(Debug)]
struct ConnectionState {
    failure: Option<String>,
    /// Whether the failure was logged.
    logged: bool,
    limit: FailureLogThrottle,
    sessions: u64,
}

impl ConnectionHealth {
    /// The health of a connection with its first session. `name` is the name of the connection in the logs.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            state: Mutex::new(ConnectionState {
                failure: None,
                logged: false,
                limit: FailureLogThrottle::default(),
                sessions: 1,
            }),
        }
    }

    /// The failure, if the connection does not work.
    pub fn failure(&self) -> Option<String> {
        self.state.lock().failure.clone()
    }

    /// The number of sessions so far.
    pub fn sessions(&self) -> u64 {
        self.state.lock().sessions
    }

    /// The connection has another session.
    pub fn another_session(&self) {
        self.state.lock().sessions += 1;
    }

    /// The connection does not work.
    pub fn set(&self, failure: String) {
        let mut state = self.state.lock();
        if state.limit.due() {
            state.logged = true;
            tracing::error!(
                connection = self.name,
                error = failure,
                "the store failed; the requests that failed are not acknowledged"
            );
        }
        state.failure = Some(failure);
    }

    /// The connection works.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.failure = None;
        if std::mem::take(&mut state.logged) {
            tracing::info!(connection = self.name, "the store works again");
        }
    }
}
