//! The three moments of a fact that an event states: since when it was true, when it was received, and when it is delivered.
//!
//! Segment corrects an event's `timestamp` for clock skew, and delivers late and out of order. Of two facts about the same
//! attribute the newer one counts, whatever the order of arrival. Invariant: a fact is never newer than its receipt.

use super::Timestamp;

/// The moments of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactTime {
    at: Timestamp,
    received_at: Timestamp,
    /// The moment of the delivery, or of the receipt before that.
    now: Timestamp,
}

impl FactTime {
    /// A fact that was true since `said`. Without a readable `timestamp`, or with one after the receipt, it is true since its receipt.
    pub fn new(said: Option<Timestamp>, received_at: Timestamp) -> Self {
        Self { at: said.map_or(received_at, |said| said.min(received_at)), received_at, now: received_at }
    }

    /// The same fact, delivered at `now`.
    #[must_use]
    pub fn carried_out_at(self, now: Timestamp) -> Self {
        Self { now: self.received_at.max(now), ..self }
    }

    /// Since when it was true.
    pub fn at(self) -> Timestamp {
        self.at
    }

    /// When it was received.
    pub fn received_at(self) -> Timestamp {
        self.received_at
    }

    /// The moment of the delivery; never before the receipt.
    pub fn now(self) -> Timestamp {
        self.now
    }

    /// Whether the fact replaces one that was true since `remembered`. Of facts of the same moment the later arrival counts. A remembered
    /// moment after [`now`](Self::now) is ignored, because a clock was ahead. A remembered moment between the receipt and `now` counts: a
    /// replayed dead letter, and an event that is delivered again after a crash, may find the moments of later events.
    pub fn supersedes(self, remembered: Timestamp) -> bool {
        remembered <= self.at || remembered > self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_never_newer_than_its_receipt() {
        for (said, at) in [(Some(5), 5), (Some(10), 10), (Some(11), 10), (None, 10), (Some(-1), -1)] {
            assert_eq!(FactTime::new(said.map(Timestamp), Timestamp(10)).at(), Timestamp(at), "{said:?}");
        }
    }

    #[test]
    fn newer_facts_replace_older_ones_and_a_moment_in_the_future_does_not_count() {
        let fact = FactTime::new(Some(Timestamp(5)), Timestamp(10)).carried_out_at(Timestamp(20));
        for (remembered, replaces) in [(0, true), (5, true), (6, false), (11, false), (20, false), (21, true)] {
            assert_eq!(fact.supersedes(Timestamp(remembered)), replaces, "{remembered}");
        }
    }
}
