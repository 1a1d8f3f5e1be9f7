//! The scheduler of an account: it decides which pending events of the log may run now, and which run together.
//!
//! In: entries of the event log in their order, learned links, and the ends of units. Out: units of work. Invariants: at most one unit of a
//! lane is in flight, unless lanes with units in flight were merged: then no other event of the lane runs before all of these have ended.
//! Events of a lane run in log order; every loaded event is pending, in flight, or gone. Moments are arguments, of one clock that does not
//! go backwards while a scheduler lives. Deliberately absent: the lanes and their heads ([`super::lanes`]); reading the log, and how far to
//! read ahead, which the worker decides.
//!
//! Followers that the log has marked as begun with their head form one unit with it, also if the lane grew since. They do not run on their
//! own. They may be fed before the unit runs, while it is in flight, or never.

use super::lanes::{LaneId, LaneName, Lanes};
use super::{End, Entry, Unit};
use crate::domain::{AffiliateKey, LaneKey, Seq, Timestamp, UserKey};
use std::collections::BTreeMap;

/// Decides which events of one account may run.
#[derive(Debug, Default)]
pub struct Scheduler {
    position: Seq,
    loaded: usize,
    lanes: Lanes,
    /// The pending events that were begun before.
    attempts: BTreeMap<Seq, EarlierAttempt>,
    /// Whether the last trial was to be an event that has not failed.
    last_trial_was_new: bool,
    /// The units in flight, by their heads.
    units: BTreeMap<Seq, UnitInFlight>,
    /// Marked followers, pending or in flight, and whether they have been fed.
    marked: BTreeMap<Seq, bool>,
}

/// The state that an earlier attempt at an event left.
#[derive(Debug)]
struct EarlierAttempt {
    /// Whether it failed, then or before.
    failed: bool,
    due: Option<Timestamp>,
    /// Its marked followers.
    followers: Vec<Seq>,
}

#[derive(Debug)]
struct UnitInFlight {
    followers: Vec<Seq>,
    /// The state that an interruption leaves.
    attempt: Option<EarlierAttempt>,
}

impl Scheduler {
    /// The last entry that was fed: the watermark up to which the log was read.
    pub fn position(&self) -> Seq {
        self.position
    }

    /// The number of events that are pending or in flight.
    pub fn len(&self) -> usize {
        self.loaded
    }

    /// Whether no event is pending or in flight.
    pub fn is_empty(&self) -> bool {
        self.loaded == 0
    }

    /// Loads entries, in log order, and skips entries up to [`Scheduler::position`]. Returns the blocked ones: an earlier event of their
    /// user is pending or in flight. Links that were committed while these entries were read must be [linked](Scheduler::link) again
    /// afterwards.
    pub fn feed(&mut self, entries: Vec<Entry>, now: Timestamp) -> Vec<Seq> {
        let mut blocked = Vec::new();
        for entry in entries {
            let seq = entry.seq;
            if seq > self.position && self.load(entry, now) {
                blocked.push(seq);
            }
        }
        blocked
    }

    /// Loads an entry. Returns whether it is blocked.
    fn load(&mut self, entry: Entry, now: Timestamp) -> bool {
        let Entry { seq, lane_keys, attempted, followers, retry, .. } = entry;
        (self.position, self.loaded) = (seq, self.loaded + 1);
        let mut names: Vec<LaneName> = lane_keys.into_iter().map(LaneName::LaneKey).collect();
        if let Some(is_fed) = self.marked.get_mut(&seq) {
            *is_fed = true;
            names.push(LaneName::follower(seq));
            self.lanes.join(&names, seq);
            return true;
        }
        let lane = self.lanes.join(&names, seq);
        let due = retry.map(|retry| retry.due(now));
        if attempted || due.is_some() || !followers.is_empty() {
            let followers = self.mark_followers(lane, seq, followers);
            let attempt = EarlierAttempt { failed: due.is_some(), due, followers };
            self.attempts.insert(seq, attempt);
        }
        self.lanes.push(lane, seq, due.map_or(now, |due| due.max(now)))
    }

    /// Assigns the followers of `head` to its lane, once they are fed.
    fn mark_followers(&mut self, lane: LaneId, head: Seq, mut followers: Vec<Seq>) -> Vec<Seq> {
        followers.retain(|follower| *follower > head);
        for follower in &followers {
            self.marked.insert(*follower, false);
            self.lanes.assign(LaneName::follower(*follower), lane, *follower);
        }
        followers
    }

    /// These user keys lead to one affiliate from now on: their loaded events are in one lane.
    pub fn link(&mut self, keys: &[UserKey], affiliate: AffiliateKey) {
        let names: Vec<LaneName> = keys.iter().map(|key| LaneName::LaneKey(LaneKey::User(*key))).collect();
        self.lanes.link(&names, LaneName::LaneKey(LaneKey::Affiliate(affiliate)));
    }

    /// The unit in flight of `head` turned out to be about this affiliate, to which its keys do not lead yet: merges its lane with the one
    /// of the affiliate. Returns whether no other unit of the lane is in flight and no event of it waits before this one. If not, the unit
    /// must be handed back: it runs again after all of these have ended.
    pub fn join_affiliate(&mut self, head: Seq, affiliate: AffiliateKey) -> bool {
        self.lanes.assign_in_flight(head, LaneName::LaneKey(LaneKey::Affiliate(affiliate)))
    }

    /// Whether an event of the user with these keys is pending or in flight. It may be true for an event that has just ended, but never
    /// false for one that is pending.
    pub fn has_pending(&self, keys: &[UserKey]) -> bool {
        keys.iter().any(|key| self.lanes.find(&LaneName::LaneKey(LaneKey::User(*key))).is_some())
    }

    /// The number of heads that may run at `now`; counted up to `limit`.
    pub fn runnable(&self, now: Timestamp, limit: usize) -> usize {
        self.lanes.runnable(now, limit)
    }

    /// When the next retry is due, after `now`.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.lanes.next_due(now)
    }

    /// Takes the head that has been runnable for the longest time, with its marked followers, or else with up to `max_followers` of the
    /// next events, if they were never attempted. The unit is in flight until its [end](Scheduler::end).
    pub fn next(&mut self, now: Timestamp, max_followers: usize) -> Option<Unit> {
        let (lane, head) = self.lanes.pop(now)?;
        Some(self.begin(lane, head, max_followers))
    }

    /// Like [`next`](Scheduler::next), for the trial after a pause: in every second one, heads that have not failed go before the others. So
    /// neither events that fail every time hold up the others, nor the reverse.
    pub fn next_trial(&mut self, now: Timestamp, max_followers: usize) -> Option<Unit> {
        self.last_trial_was_new = !self.last_trial_was_new;
        let attempts = &self.attempts;
        let has_not_failed = |head| !has_failed(attempts.get(&head));
        let new = self.last_trial_was_new.then(|| self.lanes.pop_where(now, has_not_failed)).flatten();
        let (lane, head) = new.or_else(|| self.lanes.pop(now))?;
        Some(self.begin(lane, head, max_followers))
    }

    fn begin(&mut self, lane: LaneId, head: Seq, max_followers: usize) -> Unit {
        let attempt = self.attempts.remove(&head);
        let followers = match &attempt {
            Some(attempt) if !attempt.followers.is_empty() => self.pending_followers(&attempt.followers),
            _ => self.take_followers(lane, max_followers),
        };
        self.units.insert(head, UnitInFlight { followers: followers.clone(), attempt });
        Unit { head, followers }
    }

    /// The followers that have been fed, or may still be fed.
    fn pending_followers(&mut self, followers: &[Seq]) -> Vec<Seq> {
        let mut there = followers.to_vec();
        there.retain(|follower| {
            let there = *follower > self.position || self.marked.get(follower) == Some(&true);
            if !there {
                self.marked.remove(follower);
            }
            there
        });
        there
    }

    fn take_followers(&mut self, lane: LaneId, max_followers: usize) -> Vec<Seq> {
        let (lanes, attempts) = (&mut self.lanes, &self.attempts);
        let next = || lanes.pop_next(lane, |seq| !attempts.contains_key(&seq));
        std::iter::from_fn(next).take(max_followers).collect()
    }

    /// Marks these followers as begun with `head`, because the progress of its unit was saved. The unit is the same after an interruption.
    pub fn mark(&mut self, head: Seq, followers: &[Seq]) {
        if let Some(unit) = self.units.get_mut(&head) {
            let failed = has_failed(unit.attempt.as_ref());
            unit.attempt = Some(EarlierAttempt { failed, due: None, followers: followers.to_vec() });
        }
    }

    /// The unit of `head` is no longer in flight. Its remaining events are pending again, each at its place in the lane.
    pub fn end(&mut self, head: Seq, end: End, now: Timestamp) {
        let Some(UnitInFlight { followers, attempt }) = self.units.remove(&head) else { return };
        let failed = has_failed(attempt.as_ref());
        let again = |due: Option<Timestamp>, followers| {
            (false, Vec::new(), Some(EarlierAttempt { failed: failed || due.is_some(), due, followers }))
        };
        let (leaves, left, attempt) = match end {
            End::Settled { followers } => (true, followers, None),
            End::Pending { due, followers } => again(due, followers),
            End::Interrupted { due: None } if attempt.is_none() => (false, Vec::new(), None),
            End::Interrupted { due } => again(due, attempt.map(|attempt| attempt.followers).unwrap_or_default()),
        };
        let marked = attempt.as_ref().map_or(&[][..], |attempt| attempt.followers.as_slice());
        let mut back = if leaves { Vec::new() } else { vec![head] };
        self.loaded -= usize::from(leaves);
        for follower in followers {
            let is_fed = self.marked.remove(&follower).unwrap_or(true);
            if left.contains(&follower) {
                self.loaded -= usize::from(is_fed);
            } else if marked.contains(&follower) {
                self.marked.insert(follower, is_fed);
            } else if is_fed {
                back.push(follower);
            }
        }
        if let Some(attempt) = attempt {
            self.attempts.insert(head, attempt);
        }
        self.lanes.end(head, &back, runnable_from(&self.attempts, now));
    }
}

fn has_failed(attempt: Option<&EarlierAttempt>) -> bool {
    attempt.is_some_and(|attempt| attempt.failed)
}

/// When a pending event may run if it becomes the head of its lane at `now`.
fn runnable_from(attempts: &BTreeMap<Seq, EarlierAttempt>, now: Timestamp) -> impl Fn(Seq) -> Timestamp {
    move |seq| attempts.get(&seq).and_then(|attempt| attempt.due).map_or(now, |due| due.max(now))
}
