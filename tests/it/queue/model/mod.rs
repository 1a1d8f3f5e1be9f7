//! The promises once more, stated naively: a list of events, walked through for every question.
//!
//! An event's place is its number in the order of arrival; none is given twice. What becomes of the dead stands in
//! [`letters`]. Deliberately absent: affiliates, and with them the links that lead to one.

mod letters;

use super::deeds::Keys;
use super::engine::LEASE;
use letters::Letter;
use std::collections::{BTreeMap, BTreeSet};

/// What an event waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free { interrupted: bool },
    Leased { until: i64 },
}

/// An event that waits.
#[derive(Clone, Debug)]
struct Waiting {
    place: usize,
    name: usize,
    keys: Keys,
    /// Events of one user are of one group.
    group: usize,
    received_at: i64,
    not_before: i64,
    state: State,
    claims: u32,
    failures: u32,
    pages: u32,
    /// Something was written down of an attempt.
    tried: bool,
}

impl Waiting {
    fn is_untried(&self) -> bool {
        self.state == State::Free { interrupted: false } && !self.tried
    }

    fn ready_at(&self) -> i64 {
        match self.state {
            State::Free { .. } => self.not_before,
            State::Leased { until } => until,
        }
    }
}

/// The right to settle an event.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    place: usize,
    claim: u32,
}

/// What a claim brings.
#[derive(Debug, PartialEq, Eq)]
pub struct Brought {
    pub name: usize,
    pub interrupted: bool,
    pub failures: u32,
    pub pages: u32,
    pub behind: Vec<usize>,
}

/// What recording says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Accepted { behind: bool, waiting: u64 },
    Duplicate,
    Unknown,
}

/// How a lease ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Done,
    Dead,
    HandBack,
    Retry { at: i64 },
}

/// A queue as a list.
#[derive(Debug, Default)]
pub struct Model {
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    /// Every name recorded and not forgotten, and when it was recorded.
    seen: BTreeMap<usize, i64>,
    dead: Vec<Letter>,
    /// How many places were given so far.
    places: usize,
}

impl Model {
    pub fn depth(&self) -> (u64, u64) {
        (self.waiting.len() as u64, self.dead.len() as u64)
    }

    /// An event joins the groups of all that wait and share a key with it, and makes them one.
    pub fn record(&mut self, name: usize, keys: &Keys, only_if_known: bool, at: i64) -> Said {
        if self.seen.contains_key(&name) {
            return Said::Duplicate;
        }
        let behind = !self.groups_of(keys).is_empty();
        if only_if_known && !behind && !self.keeps_letter_of(keys) {
            return Said::Unknown;
        }
        let waiting = self.waiting.len() as u64;
        self.line_up(name, keys, at);
        Said::Accepted { behind, waiting }
    }

    /// The groups of all that wait and share a key with these.
    fn groups_of(&self, keys: &Keys) -> BTreeSet<usize> {
        let sharing = self.waiting.iter().filter(|event| !event.keys.is_disjoint(keys));
        sharing.map(|event| event.group).collect()
    }

    /// An event waits from now on, behind all others, and its repeats are duplicates.
    fn line_up(&mut self, name: usize, keys: &Keys, at: i64) {
        let joined = self.groups_of(keys);
        self.places += 1;
        let (place, group) = (self.places, self.places);
        for other in self.waiting.iter_mut().filter(|other| joined.contains(&other.group)) {
            other.group = group;
        }
        self.waiting.push(Waiting {
            place,
            name,
            keys: keys.clone(),
            group,
            received_at: at,
            not_before: at,
            state: State::Free { interrupted: false },
            claims: 0,
            failures: 0,
            pages: 0,
            tried: false,
        });
        self.seen.insert(name, at);
    }

    /// Where in the list those stand that have nobody of their group ahead of them.
    fn heads(&self) -> Vec<usize> {
        let ahead = |at: usize| self.waiting[..at].iter().any(|other| other.group == self.waiting[at].group);
        (0..self.waiting.len()).filter(|at| !ahead(*at)).collect()
    }

    pub fn claim(&mut self, limit: usize, now: i64) -> (Vec<Brought>, Option<i64>) {
        let mut ready = self.heads();
        ready.retain(|at| self.waiting[*at].ready_at() <= now);
        ready.sort_by_key(|at| (self.waiting[*at].ready_at(), *at));
        ready.truncate(limit);
        let mut brought = Vec::new();
        for at in ready {
            let behind = self.behind(at);
            let event = &mut self.waiting[at];
            let interrupted = event.state != State::Free { interrupted: false };
            let Waiting { name, failures, pages, .. } = *event;
            brought.push(Brought { name, interrupted, failures, pages, behind });
            event.state = State::Leased { until: now + LEASE };
            event.claims += 1;
        }
        let moments = self.heads().into_iter().map(|at| self.waiting[at].ready_at());
        let next = moments.filter(|moment| *moment > now).min();
        (brought, next)
    }

    /// The names of those behind an event, up to the first that was tried before.
    fn behind(&self, at: usize) -> Vec<usize> {
        let group = self.waiting[at].group;
        let line = self.waiting[at + 1..].iter().filter(|other| other.group == group);
        line.take_while(|other| other.is_untried()).map(|other| other.name).collect()
    }

    /// The lease on an event that was just brought.
    pub fn lease(&self, name: usize) -> Lease {
        let Waiting { place, claims, .. } = *self.named(name);
        Lease { place, claim: claims }
    }

    /// The place of an event that waits.
    pub fn place(&self, name: usize) -> usize {
        self.named(name).place
    }

    fn named(&self, name: usize) -> &Waiting {
        self.waiting.iter().find(|event| event.name == name).expect("it waits")
    }

    /// Whether the event of `lease` still waits, whoever holds it.
    pub fn waits(&self, lease: Lease) -> bool {
        self.waiting.iter().any(|event| event.place == lease.place)
    }

    /// How often the event of `lease` failed.
    pub fn failures(&self, lease: Lease) -> u32 {
        self.held(lease).map_or(0, |at| self.waiting[at].failures)
    }

    fn held(&self, lease: Lease) -> Option<usize> {
        let holds = |event: &Waiting| {
            event.place == lease.place && event.claims == lease.claim && matches!(event.state, State::Leased { .. })
        };
        self.waiting.iter().position(holds)
    }

    /// False: the lease was lost.
    pub fn checkpoint(&mut self, lease: Lease, pages: u32, until: i64) -> bool {
        let Some(at) = self.held(lease) else { return false };
        let event = &mut self.waiting[at];
        (event.pages, event.tried, event.state) = (pages, true, State::Leased { until });
        true
    }

    /// False: the lease was lost.
    pub fn settle(&mut self, lease: Lease, end: End, pages: u32) -> bool {
        let Some(at) = self.held(lease) else { return false };
        let event = &mut self.waiting[at];
        event.state = State::Free { interrupted: false };
        match end {
            End::Done | End::Dead => {
                let left = self.waiting.remove(at);
                self.dead.extend(matches!(end, End::Dead).then(|| Letter::of(left)));
                return true;
            }
            End::HandBack => {}
            End::Retry { at } => {
                event.not_before = at;
                event.failures += 1;
            }
        }
        event.pages = pages;
        event.tried = true;
        true
    }

    /// False: the lease was lost. Of those that were brought along, by their places, whoever waits leaves too.
    pub fn settle_with(&mut self, lease: Lease, behind: &[usize]) -> bool {
        let held = self.settle(lease, End::Done, 0);
        let leaves =
            |event: &Waiting| behind.contains(&event.place) && event.state == State::Free { interrupted: false };
        self.waiting.retain(|event| !(held && leaves(event)));
        held
    }

    pub fn reopen(&mut self) {
        for event in &mut self.waiting {
            if matches!(event.state, State::Leased { .. }) {
                event.state = State::Free { interrupted: true };
            }
        }
    }

    pub fn tidy(&mut self, before: i64) {
        let waits: BTreeSet<usize> = self.waiting.iter().map(|event| event.name).collect();
        self.seen.retain(|name, at| *at >= before || waits.contains(name));
    }

    /// The moment at which everything received so far is claimable, but for what its group holds back.
    pub fn last_moment(&self) -> i64 {
        self.waiting.iter().map(|event| event.ready_at().max(event.received_at)).max().unwrap_or(0)
    }
}
