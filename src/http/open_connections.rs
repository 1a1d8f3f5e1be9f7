//! The open connections of a listener: their limit, and which of them is closed for a further one.
//!
//! In: connections, and the beginnings and ends of their requests. Out: permission for a further connection, at once or when another has
//! ended; the request to close. Invariants: at most `max` connections are open; if all are taken, the oldest one without a request in
//! flight is closed, also if its header arrives slowly, but not before a new one had time for its request; a request in flight is answered
//! before its connection is closed, and the client has a second to read the response. Deliberately absent: sockets and HTTP
//! ([`mod@super::listen`]).

use crate::telemetry::LogThrottle;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a connection that is to close may take if it has no request in flight. The rest of a request header, or of the last response,
/// may be on its way.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);
/// How long a new connection has for its first request before it counts as idle: the request may have arrived with it.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_millis(100);
/// The wait for one connection to end before a second one is closed.
const CLOSE_ANOTHER_AFTER: Duration = Duration::from_millis(5);
/// The shortest time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The open connections of one listener.
pub(super) struct OpenConnections(Arc<SharedConnections>);

/// An open connection, until this is dropped.
pub(super) struct OpenConnection {
    number: u64,
    state: Arc<OpenConnectionState>,
    all: Arc<SharedConnections>,
}

/// The state of one connection, which its service changes.
pub(super) struct OpenConnectionState {
    close: CancellationToken,
    accepted_at: Instant,
    has_request: AtomicBool,
    /// A request has begun, now or earlier.
    was_used: AtomicBool,
}

/// A request in flight, until this is dropped.
pub(super) struct AnsweringRequest(Arc<OpenConnectionState>);

struct SharedConnections {
    max: usize,
    listener: SocketAddr,
    /// Cancelled when all connections are to be closed.
    closing: CancellationToken,
    open: Mutex<Open>,
    /// A connection has ended.
    ended: Notify,
    warnings: LogThrottle,
}

#[derive(Default)]
struct Open {
    /// By the order in which they were accepted.
    connections: BTreeMap<u64, Arc<OpenConnectionState>>,
    accepted: u64,
}

impl OpenConnections {
    /// At most `max` connections of this listener.
    pub(super) fn new(max: usize, listener: SocketAddr) -> Self {
        Self(Arc::new(SharedConnections {
            max,
            listener,
            closing: CancellationToken::new(),
            open: Mutex::default(),
            ended: Notify::new(),
            warnings: LogThrottle::every(WARN_EVERY),
        }))
    }

    /// Waits until a further connection may be open. One caller at a time.
    pub(super) async fn open(&self) -> OpenConnection {
        loop {
            if let Some(open) = self.try_open() {
                return open;
            }
            self.0.close_oldest();
            // Err: it takes its time, so another one is closed, too.
            let _ = timeout(CLOSE_ANOTHER_AFTER, self.0.ended.notified()).await;
        }
    }

    fn try_open(&self) -> Option<OpenConnection> {
        let mut open = self.0.open.lock();
        if open.connections.len() >= self.0.max {
            return None;
        }
        let state = OpenConnectionState {
            close: self.0.closing.child_token(),
            accepted_at: Instant::now(),
            has_request: AtomicBool::new(false),
            was_used: AtomicBool::new(false),
        };
        let (number, state) = (open.accepted, Arc::new(state));
        open.accepted += 1;
        open.connections.insert(number, Arc::clone(&state));
        Some(OpenConnection { number, state, all: Arc::clone(&self.0) })
    }

    /// Closes all connections, and returns when they have ended.
    pub(super) async fn close_all(&self) {
        self.0.closing.cancel();
        while !self.0.open.lock().connections.is_empty() {
            self.0.ended.notified().await;
        }
    }
}

impl SharedConnections {
    /// Requests the oldest connection without a request in flight to close, if there is one.
    fn close_oldest(&self) {
        if self.warnings.may_log(Instant::now()) {
            tracing::warn!(
                listener = %self.listener,
                connections = self.max,
                "all connections of a listener are taken: for each further one, the oldest one without a request is closed"
            );
        }
        let open = self.open.lock();
        let is_idle = |state: &&Arc<OpenConnectionState>| state.is_idle() && !state.close.is_cancelled();
        if let Some(oldest) = open.connections.values().find(is_idle) {
            oldest.close.cancel();
        }
    }
}

impl OpenConnection {
    /// The state, for the service of the connection.
    pub(super) fn state(&self) -> Arc<OpenConnectionState> {
        Arc::clone(&self.state)
    }

    /// Returns when the connection is to be closed.
    pub(super) async fn close_requested(&self) {
        self.state.close.cancelled().await;
    }

    /// Waits for the end of `connection`, which is shutting down. `None`: drop it, because it takes too long. A connection that has sent no
    /// complete request header always does then, and one whose last response is not read does if it is closed for another one.
    pub(super) async fn until_ended<T>(&self, mut connection: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut had_request = false;
        loop {
            let ended = timeout(GIVE_UP_AFTER, connection.as_mut()).await;
            let OpenConnectionState { has_request, was_used, .. } = &*self.state;
            let (has_request, all_close) = (has_request.load(Ordering::Relaxed), self.all.closing.is_cancelled());
            let may_last = has_request || had_request || all_close && was_used.load(Ordering::Relaxed);
            if ended.is_ok() || !may_last {
                return ended.ok();
            }
            had_request = has_request;
        }
    }
}

impl OpenConnectionState {
    /// Whether no request is in flight, and the first one had time to arrive.
    fn is_idle(&self) -> bool {
        let had_time = self.was_used.load(Ordering::Relaxed) || self.accepted_at.elapsed() >= FIRST_REQUEST_WITHIN;
        had_time && !self.has_request.load(Ordering::Relaxed)
    }

    /// A request has begun.
    pub(super) fn begin_request(self: &Arc<Self>) -> AnsweringRequest {
        self.was_used.store(true, Ordering::Relaxed);
        self.has_request.store(true, Ordering::Relaxed);
        AnsweringRequest(Arc::clone(self))
    }
}

impl Drop for AnsweringRequest {
    fn drop(&mut self) {
        self.0.has_request.store(false, Ordering::Relaxed);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.all.open.lock().connections.remove(&self.number);
        self.all.ended.notify_one();
    }
}
