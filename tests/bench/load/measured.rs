//! The measurement of a load: events, time, processor time of the server and of the generator, latencies.

use std::time::{Duration, Instant};

/// What the clocks and counters showed at one moment of a run.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub at: Instant,
    /// Responses so far.
    pub requests: u64,
    /// Processor time of the server so far, in seconds.
    pub server: f64,
    /// Processor time of the generator's thread so far, in seconds.
    pub generator: f64,
}

#[derive(Debug)]
pub struct Measured {
    /// Of each request.
    events: u64,
    /// At least two: the begin and the end of what is measured; a closed load also marks its thirds.
    marks: Vec<Mark>,
    /// Nanoseconds, sorted.
    latencies: Vec<u64>,
}

impl Measured {
    /// Of requests with so many `events` each.
    pub(super) fn new(events: u64, marks: Vec<Mark>, mut latencies: Vec<u64>) -> Self {
        latencies.sort_unstable();
        Self { events, marks, latencies }
    }

    /// From the first mark to the last.
    fn ends(&self) -> (Mark, Mark) {
        (self.marks[0], self.marks[self.marks.len() - 1])
    }

    pub fn events_per_second(&self) -> f64 {
        let (first, last) = self.ends();
        ((last.requests - first.requests) * self.events) as f64 / (last.at - first.at).as_secs_f64()
    }

    /// Processor time of the server for an event, in microseconds.
    pub fn server_time(&self) -> f64 {
        let (first, last) = self.ends();
        self.per_event(first, last, |mark| mark.server)
    }

    /// Processor time of the generator for an event, in microseconds.
    pub fn generator_time(&self) -> f64 {
        let (first, last) = self.ends();
        self.per_event(first, last, |mark| mark.generator)
    }

    /// How the server's processor time for an event rises within a run: that of the last third ÷ that of the first.
    pub fn rise(&self) -> f64 {
        let third = |from: usize| self.per_event(self.marks[from], self.marks[from + 1], |mark| mark.server);
        third(self.marks.len() - 2) / third(0)
    }

    fn per_event(&self, from: Mark, to: Mark, of: fn(&Mark) -> f64) -> f64 {
        (of(&to) - of(&from)) * 1e6 / ((to.requests - from.requests) * self.events) as f64
    }

    /// The latency in milliseconds that a `share` of the requests did not exceed.
    pub fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let place = ((self.latencies.len() as f64 * share).ceil() as usize).saturating_sub(1);
        self.latencies.get(place.min(last)).map_or(f64::NAN, |nanos| *nanos as f64 / 1e6)
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
