//! The load: closed (each connection sends as soon as it is answered: what is the most?) and open (requests begin at a
//! constant rate whatever comes back: how long does it take?).
//!
//! In the open load a latency is counted from the moment at which the request was to begin, not from when a connection was
//! free for it: a server that stalls is charged for all that should have begun meanwhile (no coordinated omission).

use super::event::{Builder, Kind};
use super::wire::Connection;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where load goes, and what it is made of.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub kind: Kind,
    /// The status of every answer.
    pub status: u16,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Measured {
    /// Events answered within the time measured.
    pub events: u64,
    pub seconds: f64,
    /// Nanoseconds, sorted.
    latencies: Vec<u64>,
}

impl Measured {
    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    /// The latency in milliseconds below which a `share` of the requests stayed.
    pub fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let place = ((self.latencies.len() as f64 * share).ceil() as usize).saturating_sub(1);
        self.latencies.get(place.min(last)).map_or(f64::NAN, |nanos| *nanos as f64 / 1e6)
    }

    fn of(parts: Vec<Vec<u64>>, events: u64, length: Duration) -> Self {
        let mut latencies = parts.concat();
        latencies.sort_unstable();
        Self { events: latencies.len() as u64 * events, seconds: length.as_secs_f64(), latencies }
    }
}

/// How long a closed load runs before it is measured.
pub const WARM_UP: Duration = Duration::from_millis(300);

/// As much as `connections` can carry for `length`, after a while that does not count.
pub fn closed(target: Target, connections: usize, length: Duration) -> Measured {
    let start = Instant::now() + WARM_UP;
    let end = start + length;
    let parts = on_each(target, connections, |mut connection, mut requests| {
        let mut latencies = Vec::new();
        loop {
            let request = requests.next();
            let begun = Instant::now();
            assert_eq!(connection.exchange(request), target.status);
            let now = Instant::now();
            if now >= end {
                return latencies;
            }
            if now >= start {
                latencies.push(nanos(now - begun));
            }
        }
    });
    Measured::of(parts, target.kind.events, length)
}

/// `rate` events a second for `length`, over as many connections as it takes, `connections` at most.
pub fn open(target: Target, connections: usize, rate: f64, length: Duration) -> Measured {
    let start = Instant::now() + Duration::from_millis(50);
    let slot = AtomicU64::new(0);
    let requests_per_second = rate / target.kind.events as f64;
    let parts = on_each(target, connections, |mut connection, mut requests| {
        wake_on_time();
        let mut latencies = Vec::new();
        loop {
            let after = Duration::from_secs_f64(slot.fetch_add(1, Ordering::Relaxed) as f64 / requests_per_second);
            if after >= length {
                return latencies;
            }
            let request = requests.next();
            let intended = start + after;
            std::thread::sleep(intended.saturating_duration_since(Instant::now()));
            assert_eq!(connection.exchange(request), target.status);
            latencies.push(nanos(intended.elapsed()));
        }
    });
    Measured::of(parts, target.kind.events, length)
}

fn on_each<T: Send>(target: Target, connections: usize, work: impl Fn(Connection, Builder) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..connections)
            .map(|_| scope.spawn(move || work(Connection::open(target.address), Builder::new(target.kind))))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("every answer as expected")).collect()
    })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Asks the system to end this thread's sleeps on time; by default it is up to 50 µs late. Where that cannot be asked for,
/// latencies are that much longer, on both sides.
fn wake_on_time() {
    let this = std::fs::read_link("/proc/thread-self").ok();
    if let Some(id) = this.as_deref().and_then(|path| path.file_name()) {
        let _ = std::fs::write(std::path::Path::new("/proc").join(id).join("timerslack_ns"), "1");
    }
}
