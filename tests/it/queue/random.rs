//! Random histories: whatever is done in whatever order, every engine answers as the naive [`model`](super::model) does.
//!
//! `PROPTEST_CASES` asks for more histories than the default run has time for.

use super::engine::{LEASE, Store, every, names, progress};
use super::model::{Brought, End, Lease, Model, Said};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use refersion_destination::delivery::{Progress, Stage};
use refersion_destination::domain::Timestamp;
use refersion_destination::queue::{
    Attempt, Change, Claimed, NewEvent, Place, QueueError, Recorded, Settlement, Ticket,
};
use std::collections::{BTreeMap, BTreeSet};

const USERS: [&str; 4] = ["u1", "u2", "u3", "u4"];
const ADDRESSES: [&str; 4] = ["a@x.io", "b@x.io", "c@x.io", "d@x.io"];

/// One thing done to a queue. Numbers stand for a choice among what there is at that time.
#[derive(Clone, Debug)]
enum Deed {
    Record(Vec<New>),
    Claim { limit: usize },
    Settle { which: usize, end: End, pages: u32 },
    SettleWith { which: usize, behind: usize },
    Checkpoint { which: usize, pages: u32 },
    Wait(i64),
    Reopen,
    Tidy { window: i64 },
}

#[derive(Clone, Debug)]
struct New {
    name: usize,
    keys: BTreeSet<&'static str>,
    only_if_known: bool,
    delay: i64,
}

fn new() -> impl Strategy<Value = New> {
    let user = prop::option::of(prop::sample::select(&USERS[..]));
    let address = prop::option::of(prop::sample::select(&ADDRESSES[..]));
    (0..40_usize, user, address, prop::bool::weighted(0.1), 0..3_i64).prop_map(
        |(name, user, address, only_if_known, delay)| {
            let keys: BTreeSet<_> = user.into_iter().chain(address).collect();
            let keys = if keys.is_empty() { BTreeSet::from([USERS[0]]) } else { keys };
            New { name, keys, only_if_known, delay }
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Done),
        1 => Just(End::Dead),
        2 => Just(End::HandBack),
        2 => (0..2 * LEASE).prop_map(|at| End::Retry { at }),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => vec(new(), 1..4).prop_map(Deed::Record),
        6 => (1..4_usize).prop_map(|limit| Deed::Claim { limit }),
        8 => (0..8_usize, end(), 0..9_u32).prop_map(|(which, end, pages)| Deed::Settle { which, end, pages }),
        3 => (0..8_usize, 0..4_usize).prop_map(|(which, behind)| Deed::SettleWith { which, behind }),
        1 => (0..8_usize, 0..9_u32).prop_map(|(which, pages)| Deed::Checkpoint { which, pages }),
        3 => (1..2 * LEASE).prop_map(Deed::Wait),
        1 => Just(Deed::Reopen),
        1 => (0..3 * LEASE).prop_map(|window| Deed::Tidy { window }),
    ]
}

/// A queue and its model side by side.
struct Pair<'a> {
    store: &'a mut Store,
    model: Model,
    now: i64,
    /// Every ticket ever given, the last one first.
    tickets: Vec<(Ticket, Lease)>,
    /// What was brought with each of them.
    behind: BTreeMap<(i64, i64), Vec<(Place, usize)>>,
}

impl Pair<'_> {
    async fn carry_out(&mut self, deed: &Deed) {
        match deed {
            Deed::Record(events) => self.record(events).await,
            Deed::Claim { limit } => drop(self.claim(*limit).await),
            Deed::Settle { which, end, pages } => self.settle(*which, *end, *pages).await,
            Deed::SettleWith { which, behind } => self.settle_with(*which, *behind).await,
            Deed::Checkpoint { which, pages } => self.checkpoint(*which, *pages).await,
            Deed::Wait(time) => self.now += time,
            Deed::Reopen => {
                self.store.reopen().await;
                self.model.reopen();
            }
            Deed::Tidy { window } => {
                self.store.tidy(self.now - window).await;
                self.model.tidy(self.now - window);
            }
        }
        assert_eq!(self.store.depth().await, self.model.depth());
    }

    async fn record(&mut self, events: &[New]) {
        let mut expected = Vec::new();
        let mut entries = Vec::new();
        for New { name, keys, only_if_known, delay } in events {
            let at = self.now - delay;
            let users: Vec<_> = keys.iter().copied().collect();
            entries.push(NewEvent { only_if_known: *only_if_known, ..self.store.event(&name.to_string(), &users, at) });
            expected.push(self.model.record(*name, keys, *only_if_known, at));
        }
        let recorded = self.store.try_record(entries).await.expect("recorded");
        assert_eq!(recorded.into_iter().map(said).collect::<Vec<_>>(), expected);
    }

    async fn claim(&mut self, limit: usize) -> Vec<Claimed> {
        let batch = self.store.batch(limit, self.now).await;
        let (expected, next) = self.model.claim(limit, self.now);
        assert_eq!(batch.events.iter().map(brought).collect::<Vec<_>>(), expected);
        if batch.events.len() < limit {
            assert_eq!(batch.next.map(|next| next.0), next);
        }
        for claimed in &batch.events {
            let lease = self.model.lease(brought(claimed).name);
            let places = claimed.behind.iter().map(|behind| behind.place).zip(brought(claimed).behind).collect();
            self.behind.insert((claimed.ticket.seq, claimed.ticket.claim), places);
            self.tickets.insert(0, (claimed.ticket.clone(), lease));
        }
        batch.events
    }

    async fn settle(&mut self, which: usize, end: End, pages: u32) {
        let Some((ticket, lease)) = self.tickets.get(which) else { return };
        let progress = progress(pages);
        let settlement = match end {
            End::Done => Settlement::Done,
            End::Dead => Settlement::Dead { code: "dead", reason: String::new(), at: Timestamp(self.now) },
            End::HandBack => Settlement::HandBack { progress },
            End::Retry { at } => {
                let (failing_since, failures) = (Timestamp(0), self.model.failures(*lease) + 1);
                let attempt = Attempt { at: Timestamp(self.now), what: String::new() };
                Settlement::Retry { at: Timestamp(self.now + at), progress, failures, failing_since, attempt }
            }
        };
        let end = if let End::Retry { at } = end { End::Retry { at: self.now + at } } else { end };
        let settled = self.store.settle(ticket, settlement).await;
        assert_eq!(settled, held(self.model.settle(*lease, end, pages)));
    }

    async fn settle_with(&mut self, which: usize, behind: usize) {
        let Some((ticket, lease)) = self.tickets.get(which) else { return };
        let (behind, names): (Vec<_>, Vec<_>) =
            self.behind[&(ticket.seq, ticket.claim)].iter().copied().take(behind).unzip();
        let settled = self.store.settle(ticket, Settlement::DoneWith { behind }).await;
        assert_eq!(settled, held(self.model.settle_with(*lease, &names)));
    }

    async fn checkpoint(&mut self, which: usize, pages: u32) {
        let Some((ticket, lease)) = self.tickets.get(which) else { return };
        let until = self.now + LEASE;
        let queue = self.store.queue();
        let written = queue.checkpoint(ticket, &progress(pages), Change::default(), Timestamp(until)).await;
        assert_eq!(written, held(self.model.checkpoint(*lease, pages, until)));
    }

    /// In the end everything can be carried out, in the same order, and then nothing is left.
    async fn drain(&mut self) {
        while self.model.depth().0 > 0 {
            self.now = self.now.max(self.model.last_moment());
            let claimed = self.claim(1_000).await;
            assert!(!claimed.is_empty(), "nothing is claimable, and something waits");
            for _ in claimed {
                self.settle(0, End::Done, 0).await;
                self.tickets.remove(0);
            }
        }
        assert_eq!(self.store.depth().await, self.model.depth());
        assert_eq!(self.store.batch(9, self.now).await.next, None);
    }
}

fn held(held: bool) -> Result<(), QueueError> {
    if held { Ok(()) } else { Err(QueueError::LeaseLost) }
}

fn said(recorded: Recorded) -> Said {
    match recorded {
        Recorded::Accepted { behind, waiting } => Said::Accepted { behind, waiting },
        Recorded::Duplicate => Said::Duplicate,
        Recorded::UnknownUser => Said::Unknown,
    }
}

fn brought(claimed: &Claimed) -> Brought {
    let name = names(std::slice::from_ref(claimed))[0].parse().expect("a number");
    let pages = match claimed.progress {
        Progress { stage: Stage::Searching { page, .. }, .. } => page,
        _ => 0,
    };
    let number = |body: &[u8]| String::from_utf8_lossy(body).parse().expect("a number");
    let behind = claimed.behind.iter().map(|behind| number(&behind.body)).collect();
    Brought { name, interrupted: claimed.interrupted, failures: claimed.failures, pages, behind }
}

#[test]
fn a_queue_does_what_the_model_does() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let tested = runner.run(&vec(deed(), 1..60), |deeds| {
        runtime.block_on(every(async |store| {
            let mut pair =
                Pair { store, model: Model::default(), now: 10, tickets: Vec::new(), behind: BTreeMap::new() };
            for deed in &deeds {
                pair.carry_out(deed).await;
            }
            pair.drain().await;
        }));
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}
