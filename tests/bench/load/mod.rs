//! The load generator: one thread, an event loop over non-blocking connections.
//!
//! Two loads: *closed* (each connection sends its next request when it has the response: what is the highest rate?) and
//! *open* (requests begin at a constant rate whatever comes back: what is the latency?). In the open load a latency counts
//! from the moment the request was to begin, not from when a connection was free for it, so a server that stalls is charged
//! for all requests that should have begun meanwhile (no coordinated omission). The open load takes the connection that
//! became idle last, as a client's pool does.
//! Both measure the server's processor time apart from the generator's: the server is a process of its own, and the
//! generator reads the clock of its own thread.

mod connection;
mod event_loop;
mod measured;

pub use measured::Measured;

use crate::process::Clock;
use crate::requests::Kind;
use event_loop::EventLoop;
use measured::{Mark, nanos};
use rustix::time::{ClockId, clock_gettime};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Where load goes, and what it is made of.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// The processor time of the server.
    pub clock: Clock,
    pub kind: Kind,
    /// The status that every response must have.
    pub status: u16,
}

/// How long a closed load runs before it is measured.
pub const WARM_UP: Duration = Duration::from_millis(300);
/// A closed load is measured in so many parts, of equal length.
const PARTS: u32 = 3;

/// As much as `connections` carry for `length`, after a warm-up that does not count.
pub fn closed(target: Target, connections: usize, length: Duration) -> Measured {
    closed_on(&[target], connections, length)
}

/// The same on several servers, which get the same kind of requests and as many connections each.
pub fn closed_on(targets: &[Target], connections: usize, length: Duration) -> Measured {
    closed_after(WARM_UP, targets, connections, length)
}

/// The same from the first request on.
pub fn closed_cold(target: Target, connections: usize, length: Duration) -> Measured {
    closed_after(Duration::ZERO, &[target], connections, length)
}

fn closed_after(warm_up: Duration, targets: &[Target], connections: usize, length: Duration) -> Measured {
    let mut event_loop = EventLoop::open(targets, connections);
    let (mut ready, mut requests, mut latencies, mut marks) = (Vec::new(), 0, Vec::new(), Vec::new());
    let start = Instant::now() + warm_up;
    (0..connections).for_each(|connection| event_loop.send(connection, Instant::now()));
    while event_loop.in_flight() > 0 {
        let next = start + length * marks.len() as u32 / PARTS;
        if marks.len() as u32 <= PARTS && Instant::now() >= next {
            marks.push(mark(targets, requests));
        }
        let (counting, sending) = (!marks.is_empty(), marks.len() as u32 <= PARTS);
        event_loop.wait(sending.then(|| next.saturating_duration_since(Instant::now())), &mut ready);
        for connection in ready.drain(..) {
            let Some(begun) = event_loop.advance(connection) else { continue };
            let now = Instant::now();
            requests += 1;
            if counting && sending {
                latencies.push(nanos(now - begun));
            }
            if sending {
                event_loop.send(connection, now);
            }
        }
    }
    Measured::new(targets[0].kind.events, marks, latencies)
}

/// `rate` events a second for `length`, on as many connections as it takes, `connections` at most; measured until the last
/// response.
pub fn open(target: Target, connections: usize, rate: f64, length: Duration) -> Measured {
    let mut event_loop = EventLoop::open(&[target], connections);
    let interval = target.kind.events as f64 / rate;
    let total = (length.as_secs_f64() / interval).floor() as u64;
    let start = Instant::now() + Duration::from_millis(50);
    let intended = |request: u64| start + Duration::from_secs_f64(request as f64 * interval);
    let mut idle: Vec<usize> = (0..connections).collect();
    let (mut ready, mut sent, mut latencies) = (Vec::new(), 0, Vec::new());
    let first = mark(&[target], 0);
    while sent < total || event_loop.in_flight() > 0 {
        while sent < total && intended(sent) <= Instant::now() {
            let Some(connection) = idle.pop() else { break };
            event_loop.send(connection, intended(sent));
            sent += 1;
        }
        let due = (sent < total && !idle.is_empty()).then(|| intended(sent));
        event_loop.wait(due.map(|due| due.saturating_duration_since(Instant::now())), &mut ready);
        for connection in ready.drain(..) {
            let Some(begun) = event_loop.advance(connection) else { continue };
            latencies.push(nanos(begun.elapsed()));
            idle.push(connection);
        }
    }
    Measured::new(target.kind.events, vec![first, mark(&[target], total)], latencies)
}

fn mark(targets: &[Target], requests: u64) -> Mark {
    let own = clock_gettime(ClockId::ThreadCPUTime);
    let generator = own.tv_sec as f64 + own.tv_nsec as f64 / 1e9;
    Mark { at: Instant::now(), requests, server: targets.iter().map(|target| target.clock.seconds()).sum(), generator }
}
