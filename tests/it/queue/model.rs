//! The promises once more, stated naively: a list of events, walked through for every question.

use super::engine::LEASE;
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
    name: usize,
    keys: BTreeSet<&'static str>,
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
    pub name: usize,
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
    /// The keys of every dead letter.
    dead: Vec<BTreeSet<&'static str>>,
    groups: usize,
}

impl Model {
    pub fn depth(&self) -> (u64, u64) {
        (self.waiting.len() as u64, self.dead.len() as u64)
    }

    /// An event joins the groups of all that wait and share a key with it, and makes them one.
    pub fn record(&mut self, name: usize, keys: &BTreeSet<&'static str>, only_if_known: bool, at: i64) -> Said {
        if self.seen.contains_key(&name) {
            return Said::Duplicate;
        }
        let shares = |other: &&Waiting| !other.keys.is_disjoint(keys);
        let groups: BTreeSet<usize> = self.waiting.iter().filter(shares).map(|other| other.group).collect();
        let kept = self.dead.iter().any(|other| !other.is_disjoint(keys));
        if only_if_known && groups.is_empty() && !kept {
            return Said::Unknown;
        }
        self.groups += 1;
        let group = self.groups;
        for other in self.waiting.iter_mut().filter(|other| groups.contains(&other.group)) {
            other.group = group;
        }
        let said = Said::Accepted { behind: !groups.is_empty(), waiting: self.waiting.len() as u64 };
        let (keys, state) = (keys.clone(), State::Free { interrupted: false });
        let event = Waiting {
            name,
            keys,
            group,
            received_at: at,
            not_before: at,
            state,
            claims: 0,
            failures: 0,
            pages: 0,
            tried: false,
        };
        self.waiting.push(event);
        self.seen.insert(name, at);
        said
    }

    /// The places of all that have nobody of their group ahead of them.
    fn heads(&self) -> Vec<usize> {
        let ahead = |place: usize| self.waiting[..place].iter().any(|other| other.group == self.waiting[place].group);
        (0..self.waiting.len()).filter(|place| !ahead(*place)).collect()
    }

    pub fn claim(&mut self, limit: usize, now: i64) -> (Vec<Brought>, Option<i64>) {
        let mut ready = self.heads();
        ready.retain(|place| self.waiting[*place].ready_at() <= now);
        ready.sort_by_key(|place| (self.waiting[*place].ready_at(), *place));
        ready.truncate(limit);
        let mut brought = Vec::new();
        for place in ready {
            let behind = self.behind(place);
            let event = &mut self.waiting[place];
            let interrupted = event.state != State::Free { interrupted: false };
            let Waiting { name, failures, pages, .. } = *event;
            brought.push(Brought { name, interrupted, failures, pages, behind });
            event.state = State::Leased { until: now + LEASE };
            event.claims += 1;
        }
        let moments = self.heads().into_iter().map(|place| self.waiting[place].ready_at());
        let next = moments.filter(|moment| *moment > now).min();
        (brought, next)
    }

    /// The names of those behind an event, up to the first that was tried before.
    fn behind(&self, place: usize) -> Vec<usize> {
        let group = self.waiting[place].group;
        let line = self.waiting[place + 1..].iter().filter(|other| other.group == group);
        line.take_while(|other| other.is_untried()).map(|other| other.name).collect()
    }

    /// The lease on an event that was just brought.
    pub fn lease(&self, name: usize) -> Lease {
        let event = self.waiting.iter().find(|event| event.name == name).expect("it waits");
        Lease { name, claim: event.claims }
    }

    /// How often the event of `lease` failed.
    pub fn failures(&self, lease: Lease) -> u32 {
        self.held(lease).map_or(0, |place| self.waiting[place].failures)
    }

    fn held(&self, lease: Lease) -> Option<usize> {
        let holds = |event: &Waiting| {
            event.name == lease.name && event.claims == lease.claim && matches!(event.state, State::Leased { .. })
        };
        self.waiting.iter().position(holds)
    }

    /// False: the lease was lost.
    pub fn checkpoint(&mut self, lease: Lease, pages: u32, until: i64) -> bool {
        let Some(place) = self.held(lease) else { return false };
        self.waiting[place].pages = pages;
        self.waiting[place].tried = true;
        self.waiting[place].state = State::Leased { until };
        true
    }

    /// False: the lease was lost.
    pub fn settle(&mut self, lease: Lease, end: End, pages: u32) -> bool {
        let Some(place) = self.held(lease) else { return false };
        let event = &mut self.waiting[place];
        event.state = State::Free { interrupted: false };
        match end {
            End::Done | End::Dead => {
                let left = self.waiting.remove(place);
                self.dead.extend(matches!(end, End::Dead).then_some(left.keys));
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

    /// False: the lease was lost. Of those that were brought along, whoever waits leaves too.
    pub fn settle_with(&mut self, lease: Lease, behind: &[usize]) -> bool {
        let held = self.settle(lease, End::Done, 0);
        let leaves =
            |event: &Waiting| behind.contains(&event.name) && event.state == State::Free { interrupted: false };
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
