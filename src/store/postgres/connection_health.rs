//! The health of a connection: the number of its sessions, and the failure of the last job or attempt to connect, if there was one.
//! Failures are an unreachable server, a lost connection, or a job that the server could not do.
//!
//! Invariants: any job that succeeds ends a failure, except that of a full disk, where repeats and small rows still succeed: it lasts until
//! a group of events fits, which the probe tries ([`super::maintenance`]); a failure is logged when it begins and when it is over, at most
//! once a minute, also if it lasts, or if only some jobs fail.

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
    /// The failure of the last job that did not fit on the disk.
    full_disk: Option<String>,
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
                full_disk: None,
                logged: false,
                limit: FailureLogThrottle::default(),
                sessions: 1,
            }),
        }
    }

    /// The failure, if the connection does not work.
    pub fn failure(&self) -> Option<String> {
        let state = self.state.lock();
        state.failure.as_ref().or(state.full_disk.as_ref()).cloned()
    }

    /// Whether a job did not fit on the disk, and no group of events was seen to fit since.
    pub fn has_full_disk(&self) -> bool {
        self.state.lock().full_disk.is_some()
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
        self.log(&mut state, &failure);
        state.failure = Some(failure);
    }

    /// A job did not fit on the disk.
    pub fn set_full_disk(&self, failure: String) {
        let mut state = self.state.lock();
        self.log(&mut state, &failure);
        (state.failure, state.full_disk) = (None, Some(failure));
    }

    /// A job succeeded.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.failure = None;
        self.log_end(&mut state);
    }

    /// A group of events fits on the disk.
    pub fn clear_full_disk(&self) {
        let mut state = self.state.lock();
        state.full_disk = None;
        self.log_end(&mut state);
    }

    fn log(&self, state: &mut ConnectionState, failure: &str) {
        if state.limit.due() {
            state.logged = true;
            tracing::error!(
                connection = self.name,
                error = failure,
                "the store failed; the requests that failed are not acknowledged"
            );
        }
    }

    fn log_end(&self, state: &mut ConnectionState) {
        let has_failed = state.failure.is_some() || state.full_disk.is_some();
        if !has_failed && std::mem::take(&mut state.logged) {
            tracing::info!(connection = self.name, "the store works again");
        }
    }
}
