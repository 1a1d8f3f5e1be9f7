//! Random histories of an account: the scheduler decides as the naive model does, and breaks none of its invariants.
//!
//! The history is that of a log in a store: waiting events, marked ones, and retries. A crash does not change the log; the scheduler reads
//! it again.

use super::model::Model;
use super::{affiliate, user};
use crate::domain::{AffiliateKey, EventId, LaneKey, Seq, Timestamp, UserKey};
use crate::scheduling::{End, Entry, RetryWait, Scheduler, Unit};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Far behind every retry of a history.
const LONG: i64 = 1_000_000;

#[derive(Clone, Debug)]
enum HistoryStep {
    Append(Vec<UserKey>),
    Read(usize),
    /// Feeds the entries that were read before, and links again the keys that were linked since.
    Feed,
    Next(usize),
    /// Of a unit in flight, the followers whose bits are set are marked.
    Mark(usize, u8),
    End(usize, Ending),
    Link(Vec<UserKey>, AffiliateKey),
    /// A unit in flight is about this affiliate.
    Join(usize, AffiliateKey),
    /// Waiting entries leave the log; the scheduler learns so when they are to be begun.
    Forget(Vec<usize>),
    Tick(i64),
    Crash,
}

/// How a unit ends; the bits say which of its followers share the head's end, or stay marked.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Settle(u8),
    Retry(u64, u8),
    HandBack(u8),
    Interrupt(Option<u64>),
}

/// A row of the log.
#[derive(Clone, Debug, Default)]
struct Row {
    keys: Vec<UserKey>,
    attempted: bool,
    followers: Vec<Seq>,
    retry: Option<RetryWait>,
}

#[derive(Default)]
struct World {
    scheduler: Scheduler,
    model: Model,
    log: BTreeMap<Seq, Row>,
    /// Entries that were read and not fed yet, and what was linked since.
    read: Vec<Entry>,
    linked: Vec<(Vec<UserKey>, AffiliateKey)>,
    links: BTreeMap<UserKey, AffiliateKey>,
    in_flight: BTreeMap<Seq, Unit>,
    last: i64,
    now: Timestamp,
}

impl World {
    fn act(&mut self, step: HistoryStep) {
        match step {
            HistoryStep::Append(keys) => {
                self.last += 1;
                self.log.insert(Seq(self.last), Row { keys, ..Row::default() });
            }
            HistoryStep::Read(limit) => self.read(limit),
            HistoryStep::Feed => self.feed(),
            HistoryStep::Next(max_followers) => {
                self.next(max_followers);
            }
            HistoryStep::Mark(which, bits) => self.mark(which, bits),
            HistoryStep::End(which, ending) => {
                if let Some(unit) = self.pick(which) {
                    self.end(&unit, ending);
                }
            }
            HistoryStep::Link(keys, affiliate) => self.link(&keys, affiliate),
            HistoryStep::Join(which, affiliate) => self.join_affiliate(which, affiliate),
            HistoryStep::Forget(which) => self.forget(&which),
            HistoryStep::Tick(wait) => self.now.0 += wait,
            HistoryStep::Crash => {
                (self.scheduler, self.model) = (Scheduler::default(), Model::default());
                (self.in_flight, self.read) = (BTreeMap::new(), Vec::new());
            }
        }
    }

    fn read(&mut self, limit: usize) {
        if self.read.is_empty() {
            let above = self.log.range(Seq(self.scheduler.position().0 + 1)..).take(limit);
            self.read = above.map(|(seq, row)| self.entry(*seq, row)).collect();
            self.linked.clear();
        }
    }

    fn feed(&mut self) {
        let entries = std::mem::take(&mut self.read);
        let blocked = self.model.feed(&entries, self.now);
        assert_eq!(self.scheduler.feed(entries, self.now), blocked);
        for (keys, affiliate) in std::mem::take(&mut self.linked) {
            self.link(&keys, affiliate);
        }
    }

    fn entry(&self, seq: Seq, row: &Row) -> Entry {
        let links = row.keys.iter().filter_map(|key| self.links.get(key).copied().map(LaneKey::Affiliate));
        let keys = row.keys.iter().copied().map(LaneKey::User).chain(links).collect();
        let attempted = row.attempted || self.log.values().any(|row| row.followers.contains(&seq));
        Entry {
            seq,
            id: EventId([0; 16]),
            lane_keys: keys,
            attempted,
            followers: row.followers.clone(),
            retry: row.retry,
        }
    }

    /// Whether anything was runnable.
    fn next(&mut self, max_followers: usize) -> bool {
        let unit = self.scheduler.next(self.now, max_followers);
        assert_eq!(unit, self.model.next(self.now, max_followers));
        let Some(unit) = unit else { return false };
        if !self.log.contains_key(&unit.head) {
            self.ended(unit.head, End::Settled { followers: Vec::new() });
            return true;
        }
        self.assert_exclusive(&unit);
        self.assert_in_order(&unit);
        self.in_flight.insert(unit.head, unit);
        true
    }

    fn keys(&self, seq: Seq) -> BTreeSet<UserKey> {
        self.log.get(&seq).map(|row| row.keys.iter().copied().collect()).unwrap_or_default()
    }

    /// No key of it, and no event, is one of a unit in flight.
    fn assert_exclusive(&self, unit: &Unit) {
        for (one, other) in
            unit.seqs().flat_map(|seq| self.in_flight.values().flat_map(Unit::seqs).map(move |other| (seq, other)))
        {
            let loaded = one.max(other) <= self.scheduler.position();
            assert!(one != other && (!loaded || self.keys(one).is_disjoint(&self.keys(other))), "{one} beside {other}");
        }
    }

    /// No event that shares a key with the head waits before it; of followers that are not marked none is passed over, and none
    /// was attempted.
    fn assert_in_order(&self, unit: &Unit) {
        let marked = &self.log[&unit.head].followers;
        if !marked.is_empty() {
            assert!(unit.followers.iter().all(|seq| marked.contains(seq) || !self.log.contains_key(seq)));
        }
        let ordered = if marked.is_empty() { unit.seqs().collect() } else { vec![unit.head] };
        for seq in ordered {
            let earlier = self.log.range(..seq).map(|(earlier, _)| *earlier);
            for earlier in earlier.filter(|earlier| unit.seqs().all(|own| own != *earlier)) {
                assert!(self.keys(earlier).is_disjoint(&self.keys(seq)), "{seq} before {earlier}");
            }
            let follows = marked.is_empty() && seq != unit.head && self.log.contains_key(&seq);
            assert!(!follows || !self.entry(seq, &self.log[&seq]).attempted, "{seq} was attempted");
        }
    }

    fn pick(&self, which: usize) -> Option<Unit> {
        self.in_flight.values().nth(which % self.in_flight.len().max(1)).cloned()
    }

    /// The followers whose bits are set, as far as they are in the log.
    fn chosen(&self, unit: &Unit, bits: u8) -> Vec<Seq> {
        let set = unit.followers.iter().enumerate().filter(|(at, _)| bits & (1 << (at % 8)) != 0);
        set.map(|(_, seq)| *seq).filter(|seq| self.log.contains_key(seq)).collect()
    }

    fn mark(&mut self, which: usize, bits: u8) {
        let Some(unit) = self.pick(which) else { return };
        let followers = self.chosen(&unit, bits);
        self.scheduler.mark(unit.head, &followers);
        self.model.mark(unit.head, &followers);
        self.log.insert(unit.head, Row { attempted: true, followers, ..self.log[&unit.head].clone() });
    }

    fn end(&mut self, unit: &Unit, ending: Ending) {
        self.in_flight.remove(&unit.head);
        let mut row = self.log.remove(&unit.head).expect("in the log");
        let end = match ending {
            Ending::Settle(bits) => {
                let followers = self.chosen(unit, bits);
                self.log.retain(|seq, _| !followers.contains(seq));
                return self.ended(unit.head, End::Settled { followers });
            }
            Ending::Retry(wait, bits) => {
                let wait = Duration::from_millis(wait);
                (row.attempted, row.retry) = (true, Some(RetryWait { wait, noted_at: self.now }));
                row.followers = self.chosen(unit, bits);
                End::Pending { due: Some(self.now.after(wait)), followers: row.followers.clone() }
            }
            Ending::HandBack(bits) => {
                row.followers = self.chosen(unit, bits);
                (row.attempted, row.retry) = (true, None);
                End::Pending { due: None, followers: row.followers.clone() }
            }
            Ending::Interrupt(wait) => {
                End::Interrupted { due: wait.map(|wait| self.now.after(Duration::from_millis(wait))) }
            }
        };
        self.log.insert(unit.head, row);
        self.ended(unit.head, end);
    }

    fn ended(&mut self, head: Seq, end: End) {
        self.model.end(head, end.clone(), self.now);
        self.scheduler.end(head, end, self.now);
    }

    fn link(&mut self, keys: &[UserKey], affiliate: AffiliateKey) {
        self.links.extend(keys.iter().map(|key| (*key, affiliate)));
        self.linked.push((keys.to_vec(), affiliate));
        self.scheduler.link(keys, affiliate);
        self.model.link(keys, affiliate);
    }

    fn join_affiliate(&mut self, which: usize, affiliate: AffiliateKey) {
        let Some(unit) = self.pick(which) else { return };
        let is_alone = self.scheduler.join_affiliate(unit.head, affiliate);
        assert_eq!(is_alone, self.model.join_affiliate(unit.head, affiliate));
    }

    fn forget(&mut self, which: &[usize]) {
        let in_flight: BTreeSet<Seq> = self.in_flight.values().flat_map(Unit::seqs).collect();
        let waiting: Vec<Seq> = self.log.keys().copied().filter(|seq| !in_flight.contains(seq)).collect();
        let gone: Vec<Seq> = which.iter().filter_map(|at| waiting.get(at % waiting.len().max(1)).copied()).collect();
        self.log.retain(|seq, _| !gone.contains(seq));
        for row in self.log.values_mut() {
            row.followers.retain(|follower| !gone.contains(follower));
        }
    }

    fn compare(&self) {
        assert_eq!(self.scheduler.position(), self.model.position);
        assert_eq!(self.scheduler.len(), self.model.len());
        assert_eq!(self.scheduler.is_empty(), self.model.len() == 0);
        assert_eq!(self.scheduler.runnable(self.now, usize::MAX), self.model.runnable(self.now));
        assert_eq!(self.scheduler.next_due(self.now), self.model.next_due(self.now));
        for key in users() {
            assert_eq!(self.scheduler.has_pending(&[key]), self.model.has_pending(&[key]), "{key:?}");
        }
    }

    /// Everything that is in the log is read, and each ends well once what is before it has: nothing is left.
    fn drain(&mut self) {
        while let Some(unit) = self.pick(0) {
            self.end(&unit, Ending::Settle(0));
        }
        self.feed();
        self.read(usize::MAX);
        self.feed();
        let most = 2 * self.scheduler.len();
        for _ in 0..most {
            self.now.0 += LONG;
            self.next(2);
            self.compare();
            if let Some(unit) = self.pick(0) {
                self.end(&unit, Ending::Settle(u8::MAX));
            }
        }
        assert!(self.scheduler.is_empty() && self.log.is_empty(), "left: {:?}", self.log);
    }
}

fn users() -> Vec<UserKey> {
    ["u1", "u2", "u3", "u4", "a@x", "b@x", "c@x", "d@x"].into_iter().map(user).collect()
}

fn one_user() -> impl Strategy<Value = Vec<UserKey>> {
    let id = || prop::sample::select(users()[..4].to_vec());
    let email = || prop::sample::select(users()[4..].to_vec());
    prop_oneof![
        id().prop_map(|id| vec![id]),
        email().prop_map(|email| vec![email]),
        (id(), email()).prop_map(|(id, email)| vec![id, email]),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        4 => any::<u8>().prop_map(Ending::Settle),
        3 => (0..40u64, any::<u8>()).prop_map(|(wait, bits)| Ending::Retry(wait, bits)),
        1 => any::<u8>().prop_map(Ending::HandBack),
        1 => prop::option::of(0..40u64).prop_map(Ending::Interrupt),
    ]
}

fn step() -> impl Strategy<Value = HistoryStep> {
    let code = prop::sample::select(vec![affiliate("x"), affiliate("y")]);
    prop_oneof![
        8 => one_user().prop_map(HistoryStep::Append),
        4 => (1..6usize).prop_map(HistoryStep::Read),
        4 => Just(HistoryStep::Feed),
        8 => (0..4usize).prop_map(HistoryStep::Next),
        3 => (any::<usize>(), any::<u8>()).prop_map(|(which, bits)| HistoryStep::Mark(which, bits)),
        5 => (any::<usize>(), ending()).prop_map(|(which, ending)| HistoryStep::End(which, ending)),
        1 => (one_user(), code.clone()).prop_map(|(keys, code)| HistoryStep::Link(keys, code)),
        1 => (any::<usize>(), code).prop_map(|(which, code)| HistoryStep::Join(which, code)),
        1 => prop::collection::vec(any::<usize>(), 1..3).prop_map(HistoryStep::Forget),
        3 => (1..30i64).prop_map(HistoryStep::Tick),
        1 => Just(HistoryStep::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_scheduler_agrees_with_the_model_and_loses_nothing(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::default();
        for step in steps {
            world.act(step);
            world.compare();
        }
        world.drain();
    }
}
