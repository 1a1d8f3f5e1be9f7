//! Lanes: the FIFO queues of users. They decide which loaded events are of one user, in which order they run, and which heads may run. An
//! event that fails blocks only its own lane (head-of-line blocking; a lane is like a partition by ordering key).
//!
//! Events are in one lane if they share a name: a `userId`, an e-mail, or an affiliate that one of these leads to. An event with two names
//! joins the lanes of both. So events with different e-mails are of one user if they have the same `userId` or the same affiliate, or if a
//! third pending event connects them.
//!
//! In: the names of events (their user keys, and the affiliates that these lead to) and sequence numbers. Out: heads of lanes. Invariants:
//! a lane is never empty between two calls; its head is in the list of heads exactly while none of its events is in flight; two lanes are
//! merged into the one with more names; a lane is never split. Deliberately absent: attempts and followers, which the [`super::Scheduler`]
//! has.
//!
//! A name stays assigned to its lane while the last event with that name, or an earlier event of the lane, is loaded. Example: event 1 has
//! the names A and B, event 2 has A and C, event 3 has C. When event 1 has ended, B can be dropped; A stays until event 2 has ended. So a
//! lane that never becomes empty does not keep all its former names, and no event stores its own names: a blocked event is one number in a
//! heap.

use crate::domain::{LaneKey, Seq, Timestamp};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::Bound;

/// A name, which assigns an event to a lane. Names of different kinds are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum LaneName {
    /// A lane key that events have in common.
    LaneKey(LaneKey),
    /// An event that is not fed yet and is marked as a follower of a head in the lane. As bytes, which need no alignment.
    Follower([u8; 8]),
}

impl LaneName {
    /// The name of a marked follower.
    pub fn follower(seq: Seq) -> Self {
        Self::Follower(seq.0.to_le_bytes())
    }
}

/// The number of a lane. It is reused once the lane is empty.
pub(super) type LaneId = usize;

/// The most names of a lane that is not searched for names to drop.
const FEW_NAMES: usize = 64;

/// All lanes of an account.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    names: HashMap<LaneName, Assignment>,
    by_id: Slab<Lane>,
    /// The lane of each unit in flight, by its head.
    in_flight: BTreeMap<Seq, LaneId>,
    /// The lanes without events in flight, ordered by the moment from which their head may run, then by the head.
    heads: BTreeMap<(Timestamp, Seq), LaneId>,
}

/// The lane to which a name is assigned.
#[derive(Clone, Copy, Debug)]
struct Assignment {
    lane: LaneId,
    /// The last event with the name.
    last: Seq,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: BinaryHeap<Reverse<Seq>>,
    /// The heads of its units in flight: several only if lanes with units in flight were merged.
    in_flight: Vec<Seq>,
    names: Vec<LaneName>,
    /// When its head may run; meaningless while a unit is in flight.
    runnable_from: Timestamp,
}

impl Lane {
    /// An empty lane with room for exactly `names` names: most lanes get no further ones.
    fn named_by(names: usize) -> Self {
        Self { names: Vec::with_capacity(names), ..Self::default() }
    }

    fn head(&self) -> Option<Seq> {
        self.waiting.peek().map(|head| head.0)
    }

    /// The earliest loaded event.
    fn first(&self) -> Option<Seq> {
        self.in_flight.iter().copied().chain(self.head()).min()
    }

    /// Its entry in [`Lanes::heads`]; none while a unit is in flight.
    fn listed_as(&self) -> Option<(Timestamp, Seq)> {
        self.head().filter(|_| self.in_flight.is_empty()).map(|head| (self.runnable_from, head))
    }
}

impl Lanes {
    /// The lane to which `name` is assigned.
    pub fn find(&self, name: &LaneName) -> Option<LaneId> {
        self.assignment(name).map(|assigned| assigned.lane)
    }

    fn assignment(&self, name: &LaneName) -> Option<Assignment> {
        let assigned = *self.names.get(name)?;
        (self.by_id.get(assigned.lane)?.first()? <= assigned.last).then_some(assigned)
    }

    /// The lane of the event `seq` with these names: a new lane, or the lanes of the names, merged.
    pub fn join(&mut self, names: &[LaneName], seq: Seq) -> LaneId {
        let lane = self.merge_all(names).unwrap_or_else(|| self.by_id.insert(Lane::named_by(names.len())));
        for name in names {
            self.assign(*name, lane, seq);
        }
        lane
    }

    /// Merges the lanes of these names, if there are any. `name` is assigned to the result as long as these names are.
    pub fn link(&mut self, names: &[LaneName], name: LaneName) {
        let assigned = names.iter().filter_map(|name| self.assignment(name));
        let Some(last) = assigned.map(|assigned| assigned.last).max() else { return };
        let all: Vec<LaneName> = names.iter().copied().chain([name]).collect();
        if let Some(lane) = self.merge_all(&all) {
            self.assign(name, lane, last);
        }
    }

    /// Assigns `name` to the lane of the unit in flight of `head`, and merges the lane with the one that had the name. Returns whether this
    /// unit is the only one in flight in the lane, and no event waits before it.
    pub fn assign_in_flight(&mut self, head: Seq, name: LaneName) -> bool {
        let Some(own) = self.in_flight.get(&head).copied() else { return true };
        let lane = self.find(&name).map_or(own, |other| self.merge(own, other));
        self.assign(name, lane, head);
        let lane = &self.by_id[lane];
        lane.in_flight.len() == 1 && lane.first() == Some(head)
    }

    fn merge_all(&mut self, names: &[LaneName]) -> Option<LaneId> {
        let mut merged: Option<LaneId> = None;
        for name in names {
            let Some(found) = self.find(name) else { continue };
            merged = Some(merged.map_or(found, |lane| self.merge(lane, found)));
        }
        merged
    }

    /// Assigns `name` to `lane`; `seq` has that name.
    pub fn assign(&mut self, name: LaneName, lane: LaneId, seq: Seq) {
        if let Some(assigned) = self.names.get_mut(&name).filter(|assigned| assigned.lane == lane) {
            assigned.last = assigned.last.max(seq);
            return;
        }
        self.make_room(lane, 1);
        self.names.insert(name, Assignment { lane, last: seq });
        self.by_id[lane].names.push(name);
    }

    /// Makes room for `more` names. Drops names that are no longer assigned to the lane before its list grows.
    fn make_room(&mut self, id: LaneId, more: usize) {
        let lane = &mut self.by_id[id];
        if lane.names.len() + more <= lane.names.capacity().max(FEW_NAMES) {
            return;
        }
        let first = lane.first();
        lane.names.sort_unstable();
        lane.names.dedup();
        let names = &mut self.names;
        lane.names.retain(|name| match names.get(name) {
            Some(assigned) if assigned.lane == id && first.is_some_and(|first| assigned.last < first) => {
                names.remove(name);
                false
            }
            assigned => assigned.is_some_and(|assigned| assigned.lane == id),
        });
        // At least half of the list is free afterwards, so the cost of a pass is constant per name.
        lane.names.reserve_exact(lane.names.len().max(more));
    }

    /// Merges two lanes, and returns the number of the result.
    fn merge(&mut self, one: LaneId, other: LaneId) -> LaneId {
        if one == other {
            return one;
        }
        let fewer = |id: LaneId| self.by_id[id].names.len();
        let (from, into) = if fewer(one) < fewer(other) { (one, other) } else { (other, one) };
        self.unlist_head(from);
        self.unlist_head(into);
        self.make_room(into, self.by_id[from].names.len());
        let mut less = self.by_id.remove(from);
        for name in &less.names {
            if let Some(assigned) = self.names.get_mut(name).filter(|assigned| assigned.lane == from) {
                assigned.lane = into;
            }
        }
        for head in &less.in_flight {
            self.in_flight.insert(*head, into);
        }
        let lane = &mut self.by_id[into];
        if lane.head().is_none_or(|head| less.head().is_some_and(|other| other < head)) {
            lane.runnable_from = less.runnable_from;
        }
        lane.waiting.append(&mut less.waiting); // the shorter is appended to the longer
        lane.in_flight.append(&mut less.in_flight);
        lane.names.append(&mut less.names);
        self.list_head(into);
        into
    }

    fn unlist_head(&mut self, lane: LaneId) {
        if let Some(key) = self.by_id[lane].listed_as() {
            self.heads.remove(&key);
        }
    }

    fn list_head(&mut self, lane: LaneId) {
        if let Some(key) = self.by_id[lane].listed_as() {
            self.heads.insert(key, lane);
        }
    }

    /// Adds the event `seq` to the end of `lane`. Returns whether an earlier event blocks it. If not, it is the head of the lane, and may
    /// run from `runnable_from` on.
    pub fn push(&mut self, id: LaneId, seq: Seq, runnable_from: Timestamp) -> bool {
        let lane = &mut self.by_id[id];
        let blocked = lane.first().is_some();
        lane.waiting.push(Reverse(seq));
        if !blocked {
            lane.runnable_from = runnable_from;
            self.list_head(id);
        }
        blocked
    }

    /// Takes the head that has been runnable for the longest time. It is in flight from now on.
    pub fn pop(&mut self, now: Timestamp) -> Option<(LaneId, Seq)> {
        self.pop_where(now, |_| true)
    }

    /// Like [`pop`](Self::pop), of the heads that `may` permits. The effort grows with the number of those that it does not.
    pub fn pop_where(&mut self, now: Timestamp, may: impl Fn(Seq) -> bool) -> Option<(LaneId, Seq)> {
        let mut runnable = self.heads.range(..=(now, Seq(i64::MAX)));
        let (key, id) = runnable.find(|((_, head), _)| may(*head)).map(|(key, id)| (*key, *id))?;
        self.heads.remove(&key);
        let (_, head) = key;
        let lane = &mut self.by_id[id];
        lane.waiting.pop();
        lane.in_flight.push(head);
        self.in_flight.insert(head, id);
        Some((id, head))
    }

    /// Takes the next pending event of `lane`, if `may` permits it.
    pub fn pop_next(&mut self, lane: LaneId, may: impl FnOnce(Seq) -> bool) -> Option<Seq> {
        let waiting = &mut self.by_id[lane].waiting;
        let next = waiting.peek().map(|next| next.0).filter(|next| may(*next))?;
        waiting.pop();
        Some(next)
    }

    /// The unit of `head` is no longer in flight, and the events `back` are pending in its lane again. The next head of the lane may run
    /// from `runnable_from` on.
    pub fn end(&mut self, head: Seq, back: &[Seq], runnable_from: impl Fn(Seq) -> Timestamp) {
        let Some(id) = self.in_flight.remove(&head) else { return };
        let lane = &mut self.by_id[id];
        lane.in_flight.retain(|other| *other != head);
        lane.waiting.extend(back.iter().copied().map(Reverse));
        match lane.head() {
            None if lane.in_flight.is_empty() => return self.free(id),
            Some(head) => lane.runnable_from = runnable_from(head),
            None => {}
        }
        self.list_head(id);
    }

    fn free(&mut self, id: LaneId) {
        for name in self.by_id.remove(id).names {
            if self.names.get(&name).is_some_and(|assigned| assigned.lane == id) {
                self.names.remove(&name);
            }
        }
    }

    /// The number of heads that may run at `now`; counted up to `limit`.
    pub fn runnable(&self, now: Timestamp, limit: usize) -> usize {
        self.heads.range(..=(now, Seq(i64::MAX))).take(limit).count()
    }

    /// The next moment after `now` from which a head may run.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Bound::Excluded((now, Seq(i64::MAX))), Bound::Unbounded);
        self.heads.range(later).next().map(|((moment, _), _)| *moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserKey;

    fn name(number: i64) -> LaneName {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        LaneName::LaneKey(LaneKey::User(UserKey::Email(bytes)))
    }

    #[test]
    fn a_lane_that_never_runs_empty_keeps_the_names_of_loaded_events_and_few_others() {
        type NamesOf = fn(i64) -> Vec<LaneName>;
        const ALL: i64 = -1;
        const LOADED: i64 = 20;
        let shapes: [(&str, NamesOf); 2] = [
            ("a new e-mail and that of the event before", |seq| vec![name(ALL), name(seq), name(seq - 1)]),
            ("every other event has a lane of its own before it is merged", |seq| match seq % 2 {
                1 => vec![name(seq)],
                _ => vec![name(ALL), name(seq - 1)],
            }),
        ];
        for (shape, names) in shapes {
            let (mut lanes, now) = (Lanes::default(), Timestamp(0));
            for seq in 1..=10_000 {
                let lane = lanes.join(&names(seq), Seq(seq));
                lanes.push(lane, Seq(seq), now);
                for loaded in (seq - LOADED).max(1)..=seq {
                    let found: Vec<_> = names(loaded).iter().map(|name| lanes.find(name)).collect();
                    assert!(
                        found[0].is_some() && found.iter().all(|lane| *lane == found[0]),
                        "{shape}: {loaded} of {seq}"
                    );
                }
                if seq > LOADED {
                    let (_, head) = lanes.pop(now).expect("runnable");
                    assert_eq!(head, Seq(seq - LOADED), "{shape}");
                    lanes.end(head, &[], |_| now);
                }
                assert!(lanes.names.len() <= 2 * FEW_NAMES, "{shape}: {}", lanes.names.len());
            }
        }
    }

    #[test]
    fn a_lane_stays_while_any_of_its_events_is_in_flight() {
        let (mut lanes, now) = (Lanes::default(), Timestamp(0));
        for seq in [1, 2] {
            let lane = lanes.join(&[name(seq)], Seq(seq));
            lanes.push(lane, Seq(seq), now);
            assert_eq!(lanes.pop(now), Some((lane, Seq(seq))));
        }
        lanes.link(&[name(1), name(2)], name(3));
        lanes.end(Seq(1), &[], |_| now);
        let lane = lanes.join(&[name(2)], Seq(3));
        assert!(lanes.push(lane, Seq(3), now), "the second one is in flight");
        assert_eq!(lanes.pop(now), None);
        lanes.end(Seq(2), &[], |_| now);
        assert_eq!(lanes.pop(now), Some((lane, Seq(3))));
    }

    #[test]
    fn an_empty_lane_leaves_nothing_behind() {
        let mut lanes = Lanes::default();
        for seq in 1..=9 {
            let lane = lanes.join(&[name(seq % 3), name(seq % 2)], Seq(seq));
            lanes.push(lane, Seq(seq), Timestamp(seq));
        }
        while let Some((_, head)) = lanes.pop(Timestamp(9)) {
            lanes.end(head, &[], |_| Timestamp(9));
        }
        assert!(
            lanes.names.is_empty() && lanes.by_id.is_empty() && lanes.heads.is_empty() && lanes.in_flight.is_empty()
        );
    }
}
