//! The gate of one account: how many requests may be under way now.
//!
//! While it is open, as many as the [`Pace`] has found Refersion to bear.
//! A 429 closes the gate for a while (Refersion counts calls per account, so one event's 429 is everybody's); after that
//! one event goes first, and only if Refersion takes its call is the gate open again. So does an outage, which is when calls
//! for several different events failed and none succeeded between: one event that always fails is its own trouble, not an
//! outage. A 401 halts the account until a probe finds that the key works. Pure: moments and chance are arguments.

use super::{Backoff, Pace, Round};
use crate::domain::Timestamp;
use std::time::Duration;

/// The gate of one account.
#[derive(Debug)]
pub struct Gate {
    backoff: Backoff,
    state: State,
    pace: Pace,
    /// How often in a row the gate was closed.
    strikes: u32,
    /// Different events whose calls failed since one last succeeded.
    failing: Vec<i64>,
}

/// Calls for so many different events have to fail in a row before it is an outage.
const OUTAGE: usize = 3;
/// Calls for so many different events have to fail in a row before the pace is at fault.
const STRAIN: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Paused {
        until: Timestamp,
    },
    /// One event goes first.
    Trying,
    Halted {
        probe_at: Timestamp,
    },
}

/// What the gate lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// As many events as keep so many requests under way.
    UpTo(usize),
    /// One event at a time, until Refersion has taken a call.
    One,
    /// None before this moment.
    None(Timestamp),
    /// None; it is time to probe the key.
    Probe,
}

impl Gate {
    /// An open gate, whose waits lie within `backoff`, for `ceiling` requests at once at most.
    pub fn new(backoff: Backoff, ceiling: usize) -> Self {
        Self { backoff, state: State::Open, pace: Pace::new(ceiling), strikes: 0, failing: Vec::new() }
    }

    /// A request begins; its troubles are told with what this returns.
    pub fn begin(&self) -> Round {
        self.pace.begin()
    }

    /// What may pass at `now`.
    pub fn admits(&mut self, now: Timestamp) -> Admission {
        match self.state {
            State::Open => Admission::UpTo(self.pace.limit()),
            State::Trying => Admission::One,
            State::Paused { until } if now < until => Admission::None(until),
            State::Paused { .. } => {
                self.state = State::Trying;
                Admission::One
            }
            State::Halted { probe_at } if now < probe_at => Admission::None(probe_at),
            State::Halted { .. } => Admission::Probe,
        }
    }

    /// Whether the key was refused.
    pub fn is_halted(&self) -> bool {
        matches!(self.state, State::Halted { .. })
    }

    /// Whether calls may go on that were decided on before.
    pub fn is_shut(&self, now: Timestamp) -> bool {
        match self.state {
            State::Open | State::Trying => false,
            State::Paused { until } => now < until,
            State::Halted { .. } => true,
        }
    }

    /// How many requests may be under way at `now`; none while it is shut.
    pub fn permits(&self, now: Timestamp) -> usize {
        match self.state {
            State::Open => self.pace.limit(),
            _ if self.is_shut(now) => 0,
            _ => 1,
        }
    }

    /// Refersion took a call (and the key with it).
    pub fn taken(&mut self) {
        self.failing.clear();
        self.pace.good();
        if self.state == State::Trying {
            self.state = State::Open;
            self.strikes = 0;
        }
    }

    /// Refersion answered 429. Calls already under way may bring several; they count as one strike, and the longest wait
    /// holds. Says how long the gate is closed.
    pub fn limited(&mut self, round: Round, now: Timestamp, asked: Option<Duration>, chance: f64) -> Duration {
        self.pace.bad(round);
        self.close(now, asked, chance)
    }

    fn close(&mut self, now: Timestamp, asked: Option<Duration>, chance: f64) -> Duration {
        if matches!(self.state, State::Open | State::Trying) {
            self.strikes = self.strikes.saturating_add(1);
        }
        let wait = self.backoff.wait(self.strikes, chance, asked);
        self.state = match self.state {
            State::Halted { .. } => self.state,
            State::Paused { until } => State::Paused { until: until.max(now.after(wait)) },
            State::Open | State::Trying => State::Paused { until: now.after(wait) },
        };
        wait
    }

    /// A call for the event `seq` failed: an outage, a timeout, an answer that is not Refersion's. Says how long the gate is
    /// closed, if this makes it an outage (or shows that one goes on).
    pub fn failed(
        &mut self,
        seq: i64,
        round: Round,
        now: Timestamp,
        asked: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        if self.failing.len() < OUTAGE && !self.failing.contains(&seq) {
            self.failing.push(seq);
        }
        if self.failing.len() >= STRAIN {
            self.pace.bad(round);
        }
        let outage = self.failing.len() >= OUTAGE && matches!(self.state, State::Open | State::Trying);
        outage.then(|| self.close(now, asked, chance))
    }

    /// Refersion refused the key, in a call or in a probe. Says how long until the next probe.
    pub fn refused(&mut self, now: Timestamp, chance: f64) -> Duration {
        let first = !self.is_halted();
        self.strikes = if first { 1 } else { self.strikes.saturating_add(1) };
        self.probe_later(now, None, chance)
    }

    /// A probe could not tell. Says how long until the next one.
    pub fn probe_later(&mut self, now: Timestamp, asked: Option<Duration>, chance: f64) -> Duration {
        let wait = self.backoff.wait(self.strikes, chance, asked);
        self.state = State::Halted { probe_at: now.after(wait) };
        wait
    }

    /// A probe found that the key works again.
    pub fn resume(&mut self) {
        self.failing.clear();
        self.state = State::Open;
        self.strikes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_000_000);

    fn gate() -> Gate {
        Gate::new(Backoff { min: Duration::from_secs(1), max: Duration::from_secs(300) }, 16)
    }

    fn later(seconds: u64) -> Timestamp {
        AT.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_429_closes_the_gate_and_one_event_goes_first() {
        let mut gate = gate();
        assert!(matches!(gate.admits(AT), Admission::UpTo(_)));
        gate.limited(gate.begin(), AT, Some(Duration::from_secs(60)), 0.0);
        gate.limited(gate.begin(), AT, Some(Duration::from_secs(30)), 0.0);
        assert_eq!(gate.admits(later(59)), Admission::None(later(60)));
        gate.taken();
        assert!(gate.is_shut(later(59)), "a call that was under way before opens nothing");
        assert_eq!(gate.admits(later(60)), Admission::One);
        assert_eq!(gate.admits(later(61)), Admission::One);
        gate.taken();
        assert!(matches!(gate.admits(later(61)), Admission::UpTo(_)));
    }

    #[test]
    fn a_storm_of_429s_waits_longer_and_longer() {
        let mut gate = gate();
        let waits: Vec<_> = (0..4)
            .map(|_| {
                let wait = gate.limited(gate.begin(), AT, None, 1.0);
                gate.admits(AT.after(wait));
                wait.as_secs()
            })
            .collect();
        assert_eq!(waits, [2, 4, 8, 16]);
    }

    #[test]
    fn an_outage_closes_the_gate_but_one_failing_event_does_not() {
        let mut gate = gate();
        assert!((0..100).all(|_| gate.failed(1, gate.begin(), AT, None, 0.0).is_none()));
        assert_eq!(gate.failed(2, gate.begin(), AT, None, 0.0), None);
        gate.taken();
        assert_eq!(
            [1, 2].map(|seq| gate.failed(seq, gate.begin(), AT, None, 0.0)),
            [None, None],
            "a success between begins anew"
        );
        assert_eq!(gate.failed(3, gate.begin(), AT, None, 0.0), Some(Duration::from_secs(1)));
        assert_eq!(gate.failed(4, gate.begin(), AT, None, 0.0), None, "a call that was under way is no further strike");
        assert_eq!(gate.admits(later(1)), Admission::One);
        assert_eq!(
            gate.failed(1, gate.begin(), later(1), None, 1.0),
            Some(Duration::from_secs(4)),
            "the outage goes on"
        );
        gate.admits(later(5));
        gate.taken();
        assert!(matches!(gate.admits(later(5)), Admission::UpTo(_)));
    }

    #[test]
    fn a_refused_key_halts_until_a_probe_finds_it_works() {
        let mut gate = gate();
        gate.refused(AT, 1.0);
        gate.limited(gate.begin(), AT, Some(Duration::from_secs(1)), 0.0);
        gate.taken();
        assert!(gate.is_halted() && gate.is_shut(later(9)));
        assert_eq!(gate.admits(later(1)), Admission::None(later(2)));
        assert_eq!(gate.admits(later(2)), Admission::Probe);
        assert_eq!(gate.refused(later(2), 1.0), Duration::from_secs(4));
        gate.resume();
        assert!(matches!(gate.admits(later(2)), Admission::UpTo(_)));
    }
}
