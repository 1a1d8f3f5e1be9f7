//! What the queue does costs the same at any backlog: measured by SQLite's own counters, statement by statement.

use super::writer::Store;
use super::{claim, erase, letters, open, record, seen, settle};
use crate::delivery::{Known, Origin, Progress, Stage};
use crate::domain::{AccountName, AffiliateCode, EventId, Fingerprint, HashKey, Timestamp, UserKey};
use crate::queue::{Attempt, Change, Claimed, Filter, NewEvent, Remember, Replay, Settlement};
use rusqlite::StatementStatus::{AutoIndex, FullscanStep, Sort, VmStep};
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What one run of a statement may take, in steps of SQLite's machine: reading the fifty that come with a head takes 1,767, walking
/// the tables below many thousands.
const MANY: i32 = 2_000;
const BACKLOG: u32 = 3_000;

/// Per statement: the steps of its dearest run, and whether it ever walked a table, sorted, or made up an index.
#[derive(Clone, Default)]
struct Meter(Arc<Mutex<BTreeMap<String, (i32, bool)>>>);

impl Meter {
    fn watch(&self, store: &mut Store) {
        let meter = self.clone();
        let mut total: BTreeMap<String, i32> = BTreeMap::new();
        let note = move |event: TraceEvent<'_>| {
            let TraceEvent::Profile(statement, _) = event else { return };
            let sql = statement.sql().into_owned();
            let walked = [FullscanStep, Sort, AutoIndex].into_iter().any(|counter| statement.get_status(counter) > 0);
            let all = statement.get_status(VmStep);
            let steps = all - total.insert(sql.clone(), all).unwrap_or(0).min(all);
            let mut dearest = meter.0.lock().expect("one thread");
            let entry = dearest.entry(sql).or_default();
            *entry = (entry.0.max(steps), entry.1 || walked);
        };
        store.connection.flush_prepared_statement_cache(); // their counters begin anew
        store.connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(note)).expect("watched");
    }

    fn dear(&self) -> Vec<(String, (i32, bool))> {
        let dearest = self.0.lock().expect("one thread");
        assert!(dearest.len() > 20, "the test sees the statements");
        let dear = dearest.iter().filter(|(_, (steps, walked))| *walked || *steps > MANY);
        dear.map(|(sql, cost)| (sql.clone(), *cost)).collect()
    }
}

fn key(n: u32) -> [u8; 16] {
    std::array::from_fn(|i| n.wrapping_mul(2_654_435_761).to_be_bytes()[i % 4] ^ n.to_le_bytes()[(i / 4) % 4])
}

fn event(n: u32, users: &[u32]) -> NewEvent {
    NewEvent {
        account: AccountName::main(),
        id: EventId(key(n)),
        keys: users.iter().zip([UserKey::UserId, UserKey::Email]).map(|(user, kind)| kind(key(*user))).collect(),
        only_if_known: false,
        body: b"{}".to_vec(),
        received_at: Timestamp(n.into()),
    }
}

fn fill(store: &mut Store, hash: &HashKey) {
    store.connection.execute_batch("BEGIN").expect("begun");
    for n in 0..2 * BACKLOG {
        record::record(store, hash, &event(n, &[n, n])).expect("recorded");
    }
    for n in 2 * BACKLOG..3 * BACKLOG {
        let own = NewEvent { received_at: Timestamp(0), ..event(n, &[n]) };
        record::record(store, hash, &own).expect("a line of its own");
        record::record(store, hash, &event(n + BACKLOG, &[n, 0])).expect("which becomes one with a long one");
    }
    let now = Timestamp(i64::from(BACKLOG) / 2);
    // The long line's head is not settled, and is the first to be claimed again.
    let claimed = claim::claim(store, &AccountName::main(), 1_000, now, Timestamp(0)).expect("claimed");
    for Claimed { ticket, keys, .. } in claimed.events.into_iter().skip(1) {
        let dead = Settlement::Dead { code: "dead", reason: String::new(), at: now };
        let known = known(&format!("{:?}", ticket.id));
        let change = Change { remember: Some(Remember { known, keys }), ..Change::default() };
        settle::settle(store, &ticket, &dead, &change).expect("no failure").expect("settled");
    }
    store.recent.keep(&store.connection).expect("kept");
    while store.recent.tidy(&store.connection).expect("in their places") {}
    store.connection.execute_batch("COMMIT").expect("committed");
    store.recent.committed();
}

fn known(code: &str) -> Known {
    let sent = Fingerprint::default();
    Known { code: AffiliateCode(code.to_owned()), id: None, origin: Origin::Found, sent }
}

/// Everything a worker and the webhook do.
fn work(store: &mut Store, hash: &HashKey) {
    let account = AccountName::main();
    let now = Timestamp(i64::from(9 * BACKLOG));
    let new = 10 * BACKLOG;
    record::record(store, hash, &event(2_000, &[1])).expect("a duplicate");
    record::record(store, hash, &event(new, &[new, new])).expect("a new line");
    record::record(store, hash, &event(new + 1, &[new, 0])).expect("behind another");
    record::record(store, hash, &event(new + 2, &[0, BACKLOG + 1])).expect("into a long line");
    record::record(store, hash, &event(new + 3, &[BACKLOG + 2, BACKLOG + 3])).expect("two lines become one");
    let remember = |claimed: &Claimed| Some(Remember { known: known("code"), keys: claimed.keys.clone() });
    let progress = Progress { stage: Stage::CheckEdit, ..Progress::default() };
    let mut along = 0;
    for n in 0..15 {
        let claimed = claim::claim(store, &account, 1, now, now.after(std::time::Duration::from_secs(9)));
        let claimed = claimed.expect("claimed").events.remove(0);
        let forget = vec![AffiliateCode("code".to_owned())];
        let change = Change { remember: remember(&claimed), forget, erase: vec![UserKey::Email(key(1))] };
        settle::checkpoint(store, &claimed.ticket, &progress, &change, now).expect("no failure").expect("written");
        let settlement = match n % 5 {
            0 => Settlement::HandBack { progress: progress.clone() },
            1 => {
                along += claimed.behind.len();
                Settlement::DoneWith { behind: claimed.behind.iter().map(|behind| behind.place).collect() }
            }
            2 => Settlement::Done,
            3 => Settlement::Dead { code: "dead", reason: String::new(), at: now },
            _ => {
                let (progress, attempt) = (progress.clone(), Attempt { at: now, what: String::new() });
                Settlement::Retry { at: now, progress, failures: 1, failing_since: now, attempt }
            }
        };
        settle::settle(store, &claimed.ticket, &settlement, &change).expect("no failure").expect("settled");
    }
    assert!(along >= 50, "many left with their head: {along}");
    claim::claim(store, &account, 1, Timestamp(-1), now).expect("nothing is ready, and a next moment is sought");
    let ids = letters::page(store, &Filter::default(), 0, 20).expect("a page").letters;
    let ids: Vec<_> = ids.iter().filter(|letter| !letter.erased).collect();
    for letter in &ids {
        letters::one(store, letter.id).expect("read");
    }
    assert_eq!(letters::replay(store, hash, ids[0].id).expect("replayed"), Replay::Waits);
    assert!(letters::discard(store, ids[1].id).expect("discarded"));
    assert!(store.recent.users.learn(&store.connection, 100).expect("learned"), "there are more");
    assert!(store.recent.seen.learn(&store.connection, 100).expect("learned"), "there are more");
    let forgotten = erase::forget(store, hash, &[UserKey::Email(key(BACKLOG + 2))], now).expect("forgotten");
    assert_eq!(forgotten.events, 3);
}

#[test]
fn no_statement_walks_a_table_sorts_or_takes_longer_at_a_long_backlog() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (mut store, hash) = open::open(&folder.path().join("queue.db")).expect("opened");
    fill(&mut store, &hash);
    let meter = Meter::default();
    meter.watch(&mut store);
    work(&mut store, &hash);
    assert_eq!(meter.dear(), []);
}

#[test]
fn what_was_leased_is_found_at_opening_without_a_walk() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (mut store, hash) = open::open(&folder.path().join("queue.db")).expect("opened");
    fill(&mut store, &hash);
    let meter = Meter::default();
    meter.watch(&mut store);
    open::free_what_was_leased(&store.connection).expect("freed");
    let dearest = meter.0.lock().expect("one thread");
    assert!(dearest.values().all(|(steps, _)| *steps < MANY), "{dearest:?}");
}

#[test]
fn of_many_ids_a_portion_is_looked_at() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (mut store, hash) = open::open(&folder.path().join("queue.db")).expect("opened");
    fill(&mut store, &hash);
    let meter = Meter::default();
    meter.watch(&mut store);
    assert!(seen::forget(&mut store, Timestamp(1)).expect("forgotten"), "there are more");
    let dearest = meter.0.lock().expect("one thread");
    assert!(dearest.values().all(|(steps, _)| *steps < 11 * 5_000), "{dearest:?}");
}
