//! Random histories: whatever is done in whatever order, every engine answers as the naive [`model`](super::model) does.
//!
//! `PROPTEST_CASES` asks for more histories than the default run has time for.

use super::deeds::{Deed, Keys, New, deed};
use super::engine::{LEASE, Store, every, names, progress};
use super::model::{Brought, End, Lease, Model, Said};
use proptest::collection::vec;
use proptest::test_runner::{Config, TestRunner};
use refersion_destination::delivery::{Progress, Stage};
use refersion_destination::domain::Timestamp;
use refersion_destination::queue::{
    Attempt, Change, Claimed, Filter, NewEvent, Place, QueueError, Recorded, Settlement, Ticket,
};
use std::collections::{BTreeMap, BTreeSet};

/// A queue and its model side by side.
struct Pair<'a> {
    store: &'a mut Store,
    model: Model,
    now: i64,
    /// Every ticket given, the last one first.
    given: Vec<Given>,
    /// Everything that ever was a dead letter, by its place: its id, and the event's name.
    letters: BTreeMap<usize, (i64, usize)>,
}

/// What a claim gave: for the queue and for the model.
#[derive(Clone)]
struct Given {
    ticket: Ticket,
    lease: Lease,
    behind: Vec<(Place, usize)>,
}

impl Pair<'_> {
    async fn carry_out(&mut self, deed: &Deed) {
        match deed {
            Deed::Record(events) => self.record(events).await,
            Deed::Claim { limit } => drop(self.claim(*limit).await),
            Deed::Die { limit } => self.die(*limit).await,
            Deed::Settle { which, end, pages } => self.settle(*which, *end, *pages).await,
            Deed::SettleWith { which, behind } => self.settle_with(*which, *behind).await,
            Deed::Checkpoint { which, pages } => self.checkpoint(*which, *pages).await,
            Deed::Wait(time) => self.now += time,
            Deed::Reopen => self.reopen().await,
            Deed::Tidy { window } => self.tidy(self.now - window).await,
            Deed::SendAgain { which, users } => self.send_again(*which, users).await,
            Deed::Replay(letters) => self.replay(letters).await,
            Deed::Discard(letters) => self.discard(letters).await,
            Deed::Forget(users) => self.forget(users).await,
        }
        self.compare().await;
    }

    /// What is there, seen from outside.
    async fn compare(&mut self) {
        assert_eq!(self.store.depth().await, self.model.depth());
        let found = self.store.queue().dead_letters(&Filter::default(), 0, 1_000).await.expect("a page").letters;
        let expected = self.model.letters();
        let event = |name: usize| self.store.id(&name.to_string()).to_string();
        assert_eq!(
            found.iter().map(|letter| (letter.event.clone(), letter.erased)).collect::<Vec<_>>(),
            expected.iter().map(|letter| (event(letter.name), letter.erased)).collect::<Vec<_>>()
        );
        for (found, expected) in found.iter().zip(expected) {
            let (id, _) = *self.letters.entry(expected.place).or_insert((found.id, expected.name));
            assert_eq!(id, found.id, "an id stays with its letter");
        }
        let ids: BTreeSet<_> = self.letters.values().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), self.letters.len(), "an id is given once");
    }

    /// A ticket does not outlive its process. Those of events that still wait are kept, to see them refused; the place of
    /// one that has left may be given again.
    async fn reopen(&mut self) {
        self.store.reopen().await;
        self.model.reopen();
        self.given.retain(|given| self.model.waits(given.lease));
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
            let Brought { name, behind, .. } = brought(claimed);
            let places = behind.into_iter().map(|name| self.model.place(name));
            let behind = claimed.behind.iter().map(|behind| behind.place).zip(places).collect();
            self.given.insert(0, Given { ticket: claimed.ticket.clone(), lease: self.model.lease(name), behind });
        }
        batch.events
    }

    async fn die(&mut self, limit: usize) {
        for which in 0..self.claim(limit).await.len() {
            self.settle(which, End::Dead, 0).await;
        }
    }

    async fn settle(&mut self, which: usize, end: End, pages: u32) {
        let Some(Given { ticket, lease, .. }) = self.given.get(which) else { return };
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
        let Some(given) = self.given.get(which) else { return };
        let (behind, places): (Vec<_>, Vec<_>) = given.behind.iter().copied().take(behind).unzip();
        let settled = self.store.settle(&given.ticket, Settlement::DoneWith { behind }).await;
        assert_eq!(settled, held(self.model.settle_with(given.lease, &places)));
    }

    async fn checkpoint(&mut self, which: usize, pages: u32) {
        let Some(Given { ticket, lease, .. }) = self.given.get(which) else { return };
        let until = self.now + LEASE;
        let queue = self.store.queue();
        let written = queue.checkpoint(ticket, &progress(pages), Change::default(), Timestamp(until)).await;
        assert_eq!(written, held(self.model.checkpoint(*lease, pages, until)));
    }

    /// The id and the place of what is, or was, a dead letter, the latest first; or of what never was any.
    fn letter(&self, which: usize) -> (i64, usize) {
        let which = which % (self.letters.len() + 1);
        self.letters.iter().rev().nth(which).map_or((i64::MAX, usize::MAX), |(place, (id, _))| (*id, *place))
    }

    async fn tidy(&mut self, before: i64) {
        self.store.tidy(before).await;
        self.model.tidy(before);
    }

    async fn send_again(&mut self, which: usize, users: &Keys) {
        let Some((_, name)) = self.letters.values().rev().cycle().nth(which).copied() else { return };
        self.tidy(self.now).await;
        self.record(&[New { name, keys: users.clone(), only_if_known: false, delay: 0 }]).await;
    }

    async fn replay(&mut self, letters: &[usize]) {
        let letters: Vec<_> = letters.iter().map(|which| self.letter(*which)).collect();
        let ids: Vec<_> = letters.iter().map(|(id, _)| *id).collect();
        let replayed = self.store.queue().replay(&ids).await.expect("replayed");
        let in_order = BTreeSet::from_iter(letters).into_iter();
        let expected: Vec<_> = in_order.map(|(id, place)| (id, self.model.replay(place))).collect();
        assert_eq!(replayed, expected);
    }

    async fn discard(&mut self, letters: &[usize]) {
        let letters: Vec<_> = letters.iter().map(|which| self.letter(*which)).collect();
        let ids: Vec<_> = letters.iter().map(|(id, _)| *id).collect();
        let discarded = self.store.queue().discard(&ids).await.expect("discarded");
        let expected = letters.into_iter().filter(|(_, place)| self.model.discard(*place)).map(|(id, _)| id);
        assert_eq!(discarded, expected.collect::<Vec<_>>());
    }

    async fn forget(&mut self, users: &Keys) {
        let keys = self.store.keys(&users.iter().copied().collect::<Vec<_>>());
        let forgotten = self.store.queue().forget(&keys, Timestamp(self.now)).await.expect("forgotten");
        assert_eq!(forgotten, self.model.forget(users));
    }

    /// In the end everything can be carried out, in the same order, and then nothing is left.
    async fn drain(&mut self) {
        while self.model.depth().0 > 0 {
            self.now = self.now.max(self.model.last_moment());
            let claimed = self.claim(1_000).await;
            assert!(!claimed.is_empty(), "nothing is claimable, and something waits");
            for _ in claimed {
                self.settle(0, End::Done, 0).await;
                self.given.remove(0);
            }
        }
        self.compare().await;
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
                Pair { store, model: Model::default(), now: 10, given: Vec::new(), letters: BTreeMap::new() };
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
