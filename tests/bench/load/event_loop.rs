//! The event loop of the load generator: many connections on the calling thread, waited for with epoll.
//!
//! Edge-triggered, so a connection is registered once and costs no further call; rustix's `epoll` is used directly because
//! its timeout has nanoseconds, which a constant rate needs (tokio's timers and mio's timeouts have milliseconds).
//! Invariant: a response with another status than the expected one fails the benchmark.
//! Deliberately absent: when to send, which is decided by the closed and the open load.

use super::Target;
use super::connection::Connection;
use crate::requests::Requests;
use crate::wire::TIMEOUT;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// How many ready connections one wait reports at most.
const EVENTS: usize = 256;
/// How much is read from a socket at once, in bytes.
const SCRATCH: usize = 64 * 1024;

pub(super) struct EventLoop {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
    status: u16,
    in_flight: usize,
}

impl EventLoop {
    /// Opens `connections`, to these servers in turn; all of them answer with the same status.
    pub(super) fn open(targets: &[Target], connections: usize) -> Self {
        // By default the system ends a sleep up to 50 µs late. Err: latencies are that much longer, of every server alike.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll instance");
        let targets_in_turn = targets.iter().cycle().take(connections);
        let connections: Vec<Connection> =
            targets_in_turn.map(|target| Connection::open(target.address, Requests::new(target.kind))).collect();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        for (number, connection) in connections.iter().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &connection.stream, data, flags).expect("registered");
        }
        let (events, scratch) = (Vec::with_capacity(EVENTS), vec![0; SCRATCH]);
        Self { epoll, connections, events, scratch, status: targets[0].status, in_flight: 0 }
    }

    /// How many requests are without a response.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Sends the next request, which was to begin at `intended`, on an idle connection.
    pub(super) fn send(&mut self, connection: usize, intended: Instant) {
        self.in_flight += 1;
        self.connections[connection].send(intended);
    }

    /// Waits until connections are ready, `timeout` at most, and adds their numbers to `ready`. Without a `timeout`, a wait
    /// that takes longer than any response may fails the benchmark.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<usize>) {
        let limit = Timespec::try_from(timeout.unwrap_or(TIMEOUT)).expect("not that long");
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&limit)) {
            Ok(count) => assert!(count > 0 || timeout.is_some(), "no response within {TIMEOUT:?}"),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("cannot wait: {error}"),
        }
        ready.extend(self.events.drain(..).map(|event| event.data.u64() as usize));
    }

    /// Continues a connection that is ready: when its request was to begin, once the response is complete. The connection is
    /// idle then.
    pub(super) fn advance(&mut self, connection: usize) -> Option<Instant> {
        let connection = &mut self.connections[connection];
        let status = connection.advance(&mut self.scratch)?;
        assert_eq!(status, self.status, "another status than expected");
        self.in_flight -= 1;
        connection.begun.take()
    }
}
