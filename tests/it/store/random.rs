//! Random histories: for any operations in any order, every engine answers as the naive [`model`](super::model) does.
//!
//! `PROPTEST_CASES` asks for more histories than the default run has time for.

use super::engine::{TestStore, dead_of, done_with, every, name, progress, retry_with, unit};
use super::model::{Answer, End, Keys, Model};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use refersion_destination::delivery::{OutcomeCode, Progress, Stage};
use refersion_destination::domain::{Seq, Timestamp};
use refersion_destination::scheduling::Entry;
use refersion_destination::store::{
    AffiliateChanges, Appended, DeadLetterFilter, KnownUsersOnly, NewEvent, PageStart, Retention, Settlement,
    StoreError,
};
use std::collections::{BTreeMap, BTreeSet};

const USERS: [&str; 4] = ["u1", "u2", "u3", "u4"];
const ADDRESSES: [&str; 4] = ["a@x.io", "b@x.io", "c@x.io", "d@x.io"];

/// One thing done to a store. Numbers stand for a choice among what there is at that time.
#[derive(Clone, Debug)]
enum Action {
    Append(Vec<New>),
    Begin(Choice),
    Release(Choice),
    Save(Choice, u32),
    Settle(Choice, End, u32),
    Wait(i64),
    Reopen,
    Compact { window: i64 },
    Replay(Vec<usize>),
    Discard(Vec<usize>),
    Forget(Keys),
}

/// An event to append.
#[derive(Clone, Debug)]
struct New {
    name: usize,
    keys: Keys,
    known_users_only: bool,
}

/// A head, by its place among all events that ever were, and how many of those that waited behind it are its followers.
#[derive(Clone, Debug)]
struct Choice {
    head: usize,
    followers: usize,
}

fn users() -> impl Strategy<Value = Keys> {
    let user = prop::option::of(prop::sample::select(&USERS[..]));
    let address = prop::option::of(prop::sample::select(&ADDRESSES[..]));
    (user, address).prop_map(|(user, address)| {
        let keys: Keys = user.into_iter().chain(address).collect();
        if keys.is_empty() { Keys::from([USERS[0]]) } else { keys }
    })
}

fn new() -> impl Strategy<Value = New> {
    let new = |(name, keys, known_users_only)| New { name, keys, known_users_only };
    (0..30_usize, users(), prop::bool::weighted(0.2)).prop_map(new)
}

fn choice() -> impl Strategy<Value = Choice> {
    (0..8_usize, 0..3_usize).prop_map(|(head, followers)| Choice { head, followers })
}

fn action() -> impl Strategy<Value = Action> {
    let end = prop_oneof![3 => Just(End::Done), 2 => Just(End::Dead), 2 => Just(End::Retry), 1 => Just(End::HandBack)];
    let letters = || vec(0..5_usize, 1..4);
    prop_oneof![
        8 => vec(new(), 1..4).prop_map(Action::Append),
        5 => choice().prop_map(Action::Begin),
        1 => choice().prop_map(Action::Release),
        4 => (choice(), 0..9_u32).prop_map(|(choice, page)| Action::Save(choice, page)),
        8 => (choice(), end, 0..9_u32).prop_map(|(choice, end, page)| Action::Settle(choice, end, page)),
        3 => (1..2_000_i64).prop_map(Action::Wait),
        2 => Just(Action::Reopen),
        2 => (0..3_000_i64).prop_map(|window| Action::Compact { window }),
        3 => letters().prop_map(Action::Replay),
        1 => letters().prop_map(Action::Discard),
        1 => users().prop_map(Action::Forget),
    ]
}

/// A store and its model side by side.
struct Pair<'a> {
    store: &'a mut TestStore,
    model: Model,
    now: i64,
    /// Every seq ever given, and whose it is.
    given: BTreeMap<Seq, usize>,
}

impl Pair<'_> {
    async fn carry_out(&mut self, action: &Action) {
        match action {
            Action::Append(events) => self.append(events).await,
            Action::Begin(choice) => self.begin(choice).await,
            Action::Release(choice) => {
                let seqs = self.chosen(choice);
                self.store.store().release(&seqs);
                self.model.begin(&seqs, false);
            }
            Action::Save(choice, page) => self.save(choice, *page).await,
            Action::Settle(choice, end, page) => self.settle(choice, *end, *page).await,
            Action::Wait(time) => self.now += time,
            Action::Reopen => {
                self.store.reopen().await;
                self.model.reopen();
            }
            Action::Compact { window } => {
                let before = Timestamp(self.now - window);
                let expired = Retention { events: before, deletions: before, ..Retention::default() };
                self.store.store().compact(expired).await.expect("compacted");
                self.model.compact(before.0);
            }
            Action::Replay(letters) => self.replay(letters).await,
            Action::Discard(letters) => self.discard(letters).await,
            Action::Forget(users) => self.forget(users).await,
        }
        self.compare().await;
    }

    /// What is there, seen from outside.
    async fn compare(&self) {
        let (waiting, letters) = (self.model.waiting(), self.model.letters());
        assert_eq!(self.store.counts(), (waiting.len() as u64, letters.len() as u64));
        let entries = self.store.entries().await;
        let found: Vec<_> = entries
            .iter()
            .map(|Entry { seq, attempted, followers, .. }| (*seq, *attempted, followers.clone()))
            .collect();
        let expected = waiting.iter().map(|row| (row.seq, row.attempted(), self.model.followers(row)));
        assert_eq!(found, expected.collect::<Vec<_>>());
        let found = self
            .store
            .store()
            .dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 1_000)
            .await
            .expect("a page")
            .letters;
        let found: Vec<_> = found.iter().map(|letter| (letter.id, letter.event.clone(), letter.erased)).collect();
        let event = |name: usize| self.store.id(&name.to_string()).to_string();
        let erased = super::model::State::Dead { erased: true };
        let expected = letters.iter().map(|row| (row.seq.0, event(row.name), row.state == erased));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    async fn append(&mut self, events: &[New]) {
        let event = |New { name, keys, known_users_only }: &New| {
            let users: Vec<_> = keys.iter().copied().collect();
            NewEvent {
                known_users_only: known_users_only.then(|| deletes(self.deleted_at(*name))),
                ..self.store.event(&name.to_string(), &users, self.now)
            }
        };
        let answers = self.store.store().append(events.iter().map(event).collect()).await.expect("appended");
        for (New { name, keys, known_users_only }, answer) in events.iter().zip(answers) {
            let expected = self.model.append(*name, keys, *known_users_only);
            match (expected, answer) {
                (
                    Answer::Accepted { waiting } | Answer::AcceptedOrUnknown { waiting },
                    Appended::Accepted { seq, pending: found },
                ) => {
                    assert_eq!(found, waiting);
                    self.push(seq, *name, keys, self.now);
                }
                (Answer::Duplicate, Appended::Duplicate) => {}
                (Answer::UnknownUser | Answer::AcceptedOrUnknown { .. }, Appended::UnknownUser) => {
                    self.model.delete(keys, self.deleted_at(*name), self.now);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The moment of the deletion that this event states.
    fn deleted_at(&self, name: usize) -> i64 {
        self.now - 100 * i64::try_from(name).unwrap_or(0)
    }

    fn push(&mut self, seq: Seq, name: usize, keys: &Keys, received_at: i64) {
        assert!(self.given.last_key_value().is_none_or(|(last, _)| *last < seq), "no seq is given twice");
        self.given.insert(seq, name);
        self.model.push(seq, name, keys, received_at);
    }

    /// The head that is meant, the latest of all seqs first, and its followers; all that waits, if it is among it.
    fn chosen(&self, choice: &Choice) -> Vec<Seq> {
        let Some(head) = self.given.keys().rev().nth(choice.head) else { return vec![Seq(i64::MAX)] };
        let behind = self.model.waiting().into_iter().map(|row| row.seq).filter(|seq| seq > head);
        std::iter::once(*head).chain(behind.take(choice.followers)).collect()
    }

    async fn begin(&mut self, choice: &Choice) {
        let seqs = self.chosen(choice);
        if self.model.in_flight(&seqs) {
            return; // the scheduler gives out nothing twice
        }
        let begun = self.store.begin_units(&[unit(&seqs)]).await;
        let Some(row) = self.model.waiting().into_iter().find(|row| row.seq == seqs[0]).cloned() else {
            assert!(begun.is_empty());
            return;
        };
        let begun = begun.into_iter().next().expect("it waits");
        let page = if let Stage::Searching { page, .. } = begun.progress.stage { page } else { 0 };
        assert_eq!(
            (name(&begun), page, begun.interrupted, begun.failures),
            (row.name.to_string(), row.page, row.begun, row.failures)
        );
        assert_eq!(begun.memory.deleted_at(), self.model.deleted_at(&row.keys).map(Timestamp));
        let group = self.model.followers(&row);
        let brought: Vec<Seq> = begun.followers.iter().map(|follower| follower.seq).collect();
        let expected = if row.followers.is_empty() { seqs[1..].to_vec() } else { group };
        assert_eq!(brought, expected);
        self.model.begin(&begun.seqs().collect::<Vec<_>>(), true);
    }

    async fn save(&mut self, choice: &Choice, page: u32) {
        let seqs = self.chosen(choice);
        let (changes, progress) = (AffiliateChanges::default(), searching(page));
        let saved = self.store.store().save_progress(&self.store.account, &unit(&seqs), &progress, changes).await;
        assert_eq!(saved, waits(self.model.save(&seqs, page)));
    }

    async fn settle(&mut self, choice: &Choice, end: End, page: u32) {
        let seqs = self.chosen(choice);
        let failures = self.model.waiting().into_iter().find(|row| row.seq == seqs[0]).map_or(0, |row| row.failures);
        let settlement = match end {
            End::Done => done_with(&seqs[1..]),
            End::Dead => dead_of(OutcomeCode::Rejected, self.now),
            End::HandBack => Settlement::HandBack { progress: searching(page) },
            End::Retry => {
                let Settlement::Retry { wait, progress, failing_for, attempt, .. } = retry_with(5, searching(page))
                else {
                    panic!("a retry")
                };
                Settlement::Retry { wait, progress, failing_for, attempt, failures: failures + 1 }
            }
        };
        let settled = self.store.try_settle(&unit(&seqs), settlement).await;
        assert_eq!(settled, waits(self.model.settle(&seqs, end, page)));
    }

    /// What is, or was, a dead letter, or never was any.
    fn letters(&self, which: &[usize]) -> Vec<Seq> {
        let letters = self.model.letters();
        let of = |which: &usize| letters.iter().rev().nth(*which).map_or(Seq(i64::MAX), |row| row.seq);
        which.iter().map(of).collect()
    }

    async fn replay(&mut self, which: &[usize]) {
        let letters: BTreeSet<Seq> = self.letters(which).into_iter().collect();
        let replayed = self.store.replay(&letters.iter().rev().copied().collect::<Vec<_>>()).await;
        let mut again = Vec::new();
        let expected: Vec<_> = letters
            .iter()
            .map(|seq| {
                let (replay, row) = self.model.replay(*seq);
                again.extend(row);
                (seq.0, replay)
            })
            .collect();
        assert_eq!(replayed, expected);
        let entries = self.store.entries().await;
        for (entry, row) in entries[entries.len() - again.len()..].iter().zip(again) {
            self.push(entry.seq, row.name, &row.keys, row.received_at);
        }
    }

    async fn discard(&mut self, which: &[usize]) {
        let ids: Vec<i64> = self.letters(which).iter().map(|seq| seq.0).collect();
        let discarded = self.store.store().discard(&ids).await.expect("discarded");
        let expected = ids.into_iter().filter(|id| self.model.discard(Seq(*id)));
        assert_eq!(discarded, expected.collect::<Vec<_>>());
    }

    async fn forget(&mut self, users: &Keys) {
        let keys = self.store.keys(&users.iter().copied().collect::<Vec<_>>());
        let preview = self.store.store().forget_preview(&self.store.account, &keys).await.expect("counted");
        let forgotten =
            self.store.store().forget(&self.store.account, &keys, Timestamp(self.now)).await.expect("forgotten");
        assert_eq!((forgotten, preview), (self.model.forget(users, self.now), forgotten));
    }

    /// In the end everything can be carried out, and then nothing waits; each is a duplicate.
    async fn drain(&mut self) {
        let waiting: Vec<(Seq, usize)> = self.model.waiting().iter().map(|row| (row.seq, row.name)).collect();
        for (seq, number) in &waiting {
            assert_eq!(name(&self.store.begin(*seq).await), number.to_string());
            self.store.settle(*seq, done_with(&[])).await;
            self.model.settle(&[*seq], End::Done, 0);
        }
        self.store.reopen().await;
        self.compare().await;
        for number in 0..30 {
            assert_eq!(self.store.is_duplicate(&number.to_string()).await, self.model.knows(number));
        }
    }
}

/// A delete of this moment, which is appended only if its user may be known.
fn deletes(at: i64) -> KnownUsersOnly {
    KnownUsersOnly { none_pending_up_to: None, deleted_at: Some(Timestamp(at)), if_unknown: OutcomeCode::UnknownUser }
}

/// No progress at all is page 0.
fn searching(page: u32) -> Progress {
    if page == 0 { Progress::default() } else { progress(page) }
}

fn waits(waits: bool) -> Result<(), StoreError> {
    if waits { Ok(()) } else { Err(StoreError::NotPending) }
}

#[test]
fn a_store_agrees_with_the_model() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tested = runner.run(&vec(action(), 1..60), |actions| {
        runtime.block_on(every(async |store| {
            let mut pair = Pair { store, model: Model::default(), now: 10, given: BTreeMap::new() };
            for action in &actions {
                pair.carry_out(action).await;
            }
            pair.drain().await;
        }));
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}
