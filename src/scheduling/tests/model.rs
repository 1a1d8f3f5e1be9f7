//! A naive model of the scheduler: a list of events, which each question walks through.
//!
//! Every event has the number of its user. An event that joins users gives its own number to all events of these users. A head is a waiting
//! event whose user has no event in flight and no event that waits before it.

use crate::domain::{AffiliateKey, LaneKey, Seq, Timestamp, UserKey};
use crate::scheduling::{End, Entry, Unit};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
struct ModelEvent {
    user: usize,
    attempted: bool,
    due: Option<Timestamp>,
    /// Its marked followers.
    followers: Option<Vec<Seq>>,
    /// The head that it is marked to follow.
    marked_by: Option<Seq>,
    /// The head of the unit in flight it belongs to.
    in_flight: Option<Seq>,
    /// Since when it is a head that may run, or from when on.
    runnable_from: Option<Timestamp>,
}

/// What the scheduler knows, as lists.
#[derive(Debug, Default)]
pub struct Model {
    pub position: Seq,
    events: BTreeMap<Seq, ModelEvent>,
    /// The user to whom a key leads, and the last event with this key.
    keys: BTreeMap<LaneKey, (usize, Seq)>,
    /// The units in flight, with all their followers, fed or not.
    units: BTreeMap<Seq, Vec<Seq>>,
    users: usize,
}

impl Model {
    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn feed(&mut self, entries: &[Entry], now: Timestamp) -> Vec<Seq> {
        entries.iter().filter(|entry| self.feed_one(entry, now)).map(|entry| entry.seq).collect()
    }

    /// Whether it is blocked.
    fn feed_one(&mut self, entry: &Entry, now: Timestamp) -> bool {
        let seq = entry.seq;
        self.position = seq;
        let head = self.head_that_marks(seq);
        let joined: BTreeSet<usize> = entry
            .lane_keys
            .iter()
            .filter_map(|key| self.leads_to(*key))
            .chain(head.map(|head| self.events[&head].user))
            .collect();
        let user = self.unite(&joined);
        for key in &entry.lane_keys {
            self.keys.insert(*key, (user, seq));
        }
        let blocked = self.events.values().any(|event| event.user == user);
        let is_own = head.is_none();
        let followers: Vec<Seq> =
            entry.followers.iter().copied().filter(|follower| *follower > seq && is_own).collect();
        self.events.insert(
            seq,
            ModelEvent {
                user,
                attempted: entry.attempted && is_own,
                due: entry.retry.filter(|_| is_own).map(|retry| retry.due(now)),
                followers: (!followers.is_empty()).then_some(followers),
                marked_by: head,
                in_flight: head.filter(|head| self.units.contains_key(head)),
                runnable_from: None,
            },
        );
        self.refresh(Some(now));
        blocked
    }

    /// The loaded head that the event, which is being fed, is marked to follow.
    fn head_that_marks(&self, follower: Seq) -> Option<Seq> {
        let in_flight = self.units.iter().find(|(_, followers)| followers.contains(&follower)).map(|(head, _)| *head);
        let marks =
            |event: &ModelEvent| event.followers.as_ref().is_some_and(|followers| followers.contains(&follower));
        let waiting = self.events.iter().find(|(_, event)| event.in_flight.is_none() && marks(event));
        in_flight.or(waiting.map(|(head, _)| *head))
    }

    /// The user to whom `key` leads. The last event with this key, or an earlier event of this user, is in the list.
    fn leads_to(&self, key: LaneKey) -> Option<usize> {
        let (user, last) = *self.keys.get(&key)?;
        self.events.iter().any(|(seq, event)| event.user == user && *seq <= last).then_some(user)
    }

    /// These users are one from now on.
    fn unite(&mut self, users: &BTreeSet<usize>) -> usize {
        self.users += 1;
        let one = self.users;
        for event in self.events.values_mut().filter(|event| users.contains(&event.user)) {
            event.user = one;
        }
        for (user, _) in self.keys.values_mut().filter(|(user, _)| users.contains(user)) {
            *user = one;
        }
        one
    }

    pub fn link(&mut self, keys: &[UserKey], affiliate: AffiliateKey) {
        let keys: Vec<LaneKey> = keys.iter().copied().map(LaneKey::User).collect();
        let led = keys.iter().filter(|key| self.leads_to(**key).is_some());
        let Some(last) = led.map(|key| self.keys[key].1).max() else { return };
        let affiliate = LaneKey::Affiliate(affiliate);
        let before = self.leads_to(affiliate).map(|_| self.keys[&affiliate].1);
        let users = keys.iter().chain([&affiliate]).filter_map(|key| self.leads_to(*key)).collect();
        let user = self.unite(&users);
        self.keys.insert(affiliate, (user, before.map_or(last, |before| before.max(last))));
        self.refresh(None);
    }

    /// The unit in flight of `head` is about this affiliate. Whether it is the only unit in flight of its user, and no event is before it.
    pub fn join_affiliate(&mut self, head: Seq, affiliate: AffiliateKey) -> bool {
        let affiliate = LaneKey::Affiliate(affiliate);
        let last = self.leads_to(affiliate).map_or(head, |_| self.keys[&affiliate].1.max(head));
        let users = self.leads_to(affiliate).into_iter().chain([self.events[&head].user]).collect();
        let user = self.unite(&users);
        self.keys.insert(affiliate, (user, last));
        self.refresh(None);
        let is_first = self.events.iter().all(|(seq, event)| event.user != user || *seq >= head);
        is_first && self.units.keys().filter(|head| self.events[head].user == user).count() == 1
    }

    pub fn has_pending(&self, keys: &[UserKey]) -> bool {
        keys.iter().any(|key| self.leads_to(LaneKey::User(*key)).is_some())
    }

    fn is_head(&self, seq: Seq) -> bool {
        let own = &self.events[&seq];
        let waits_alone = |event: &ModelEvent| event.in_flight.is_none() && event.marked_by.is_none();
        let mut others = self.events.iter().filter(|(other, event)| **other != seq && event.user == own.user);
        waits_alone(own)
            && others.all(|(other, event)| event.in_flight.is_none() && (*other > seq || event.marked_by.is_some()))
    }

    /// Notes which events became heads, and which ones are no longer heads. Without a moment, no event may have become one.
    fn refresh(&mut self, now: Option<Timestamp>) {
        let heads: BTreeSet<Seq> = self.events.keys().copied().filter(|seq| self.is_head(*seq)).collect();
        for (seq, event) in &mut self.events {
            if !heads.contains(seq) {
                event.runnable_from = None;
            } else if event.runnable_from.is_none() {
                let now = now.expect("a link makes no head");
                event.runnable_from = Some(event.due.map_or(now, |due| due.max(now)));
            }
        }
    }

    fn heads(&self) -> BTreeSet<(Timestamp, Seq)> {
        self.events.iter().filter_map(|(seq, event)| Some((event.runnable_from?, *seq))).collect()
    }

    pub fn runnable(&self, now: Timestamp) -> usize {
        self.heads().iter().filter(|(from, _)| *from <= now).count()
    }

    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.heads().iter().map(|(from, _)| *from).find(|from| *from > now)
    }

    pub fn next(&mut self, now: Timestamp, max_followers: usize) -> Option<Unit> {
        let (_, head) = self.heads().into_iter().find(|(from, _)| *from <= now)?;
        let event = self.events[&head].clone();
        let followers: Vec<Seq> = if let Some(followers) = &event.followers {
            followers.iter().copied().filter(|seq| *seq > self.position || self.events.contains_key(seq)).collect()
        } else {
            let waits = |other: &ModelEvent| other.user == event.user && other.marked_by.is_none();
            let behind = self.events.iter().filter(|(seq, other)| **seq > head && waits(other));
            behind.take_while(|(_, other)| !other.attempted).take(max_followers).map(|(seq, _)| *seq).collect()
        };
        self.units.insert(head, followers.clone());
        let unit = Unit { head, followers };
        for seq in unit.seqs() {
            if let Some(event) = self.events.get_mut(&seq) {
                event.in_flight = Some(head);
            }
        }
        self.refresh(Some(now));
        Some(unit)
    }

    pub fn mark(&mut self, head: Seq, followers: &[Seq]) {
        let event = self.events.get_mut(&head).expect("in flight");
        event.attempted = true;
        event.followers = (!followers.is_empty()).then(|| followers.to_vec());
    }

    pub fn end(&mut self, head: Seq, end: End, now: Timestamp) {
        let followers = self.units.remove(&head).expect("in flight");
        let before = self.events[&head].followers.clone();
        let non_empty = |followers: Vec<Seq>| (!followers.is_empty()).then_some(followers);
        let (left, due, saved) = match end {
            End::Settled { followers } => (followers.into_iter().chain([head]).collect(), None, None),
            End::Pending { due, followers } => (vec![], due, Some(non_empty(followers))),
            End::Interrupted { due } => (vec![], due, None),
        };
        self.events.retain(|seq, _| !left.contains(seq));
        if let Some(event) = self.events.get_mut(&head) {
            event.attempted |= saved.is_some() || due.is_some();
            event.followers = saved.unwrap_or(before);
            event.due = due;
            event.in_flight = None;
        }
        let marked = self.events.get(&head).and_then(|event| event.followers.clone()).unwrap_or_default();
        for follower in followers {
            if let Some(event) = self.events.get_mut(&follower) {
                event.in_flight = None;
                event.marked_by = marked.contains(&follower).then_some(head);
            }
        }
        self.refresh(Some(now));
    }
}
