//! Every operation of the engine costs the same at any backlog: measured by SQLite's own counters, statement by statement.

use super::open;
use super::write_tx::WriteTx;
use super::writer::SqliteFile;
use super::{affiliates, append, begin, compact, dead_letters, erase, key_blocks, older_ids, read, settle};
use crate::delivery::{AffiliateRecord, Origin, OutcomeCode, Progress, Stage};
use crate::domain::{AccountName, AffiliateCode, EventId, HashKey, SentAttributes, Seq, Timestamp, UserKey};
use crate::scheduling::Unit;
use crate::store::{
    AffiliateChanges, DeadLetterFilter, FailedAttempt, KnownUsersOnly, NewEvent, PageStart, ReadUpTo, Remember, Replay,
    Retention, Settlement, user_keys,
};
use parking_lot::Mutex;
use rusqlite::StatementStatus::{AutoIndex, FullscanStep, Sort, VmStep};
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What one run of a statement may take, in steps of SQLite's machine: a page of 20 dead letters takes the most; walking a table
/// below takes many thousands.
const MAX_STEPS: i32 = 2_000;
const ACCOUNTS: u32 = 1_000;
const BACKLOG: u32 = 9_000;

/// Per statement: the steps of its longest run, and whether it ever scanned a table, sorted, or made an automatic index.
#[derive(Clone, Default)]
struct StepMeter(Arc<Mutex<BTreeMap<String, (i32, bool)>>>);

impl StepMeter {
    fn watch(&self, store: &mut SqliteFile) {
        let meter = self.clone();
        let mut total: BTreeMap<String, i32> = BTreeMap::new();
        let note = move |event: TraceEvent<'_>| {
            let TraceEvent::Profile(statement, _) = event else { return };
            let sql = statement.sql().into_owned();
            let scanned = [FullscanStep, Sort, AutoIndex].into_iter().any(|counter| statement.get_status(counter) > 0);
            let all = statement.get_status(VmStep);
            let steps = all - total.insert(sql.clone(), all).unwrap_or(0).min(all);
            let mut longest = meter.0.lock();
            let entry = longest.entry(sql).or_default();
            *entry = (entry.0.max(steps), entry.1 || scanned);
        };
        store.connection.flush_prepared_statement_cache(); // their counters begin at zero
        store.connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(note)).expect("watched");
    }

    fn beyond(&self, max: i32) -> Vec<(String, (i32, bool))> {
        let longest = self.0.lock();
        assert!(longest.len() > 1, "the test sees the statements");
        let beyond = longest.iter().filter(|(_, (steps, scanned))| *scanned || *steps > max);
        beyond.map(|(sql, cost)| (sql.clone(), *cost)).collect()
    }
}

fn key(n: u32) -> [u8; 16] {
    let bytes = n.wrapping_mul(2_654_435_761).to_be_bytes();
    std::array::from_fn(|i| bytes[i % 4] ^ n.to_le_bytes()[(i / 4) % 4])
}

fn event(n: u32, account: &AccountName) -> NewEvent {
    NewEvent {
        account: account.clone(),
        id: EventId(key(n)),
        former_id: None,
        user_keys: vec![UserKey::UserId(key(n)), UserKey::Email(key(n))],
        known_users_only: None,
        source: None,
        body: b"{}".to_vec(),
        received_at: Timestamp(n.into()),
    }
}

fn account(n: u32) -> AccountName {
    AccountName::from(format!("account {n}"))
}

fn remember(n: u32) -> AffiliateChanges {
    let mut sent = SentAttributes::default();
    sent.record_taken_email(&HashKey::new(&[0; 32]), "taken@x.io");
    let known = AffiliateRecord { code: AffiliateCode(format!("code {n}")), id: None, origin: Origin::Found, sent };
    let remember = Some(Remember { known, user_keys: vec![UserKey::UserId(key(n)), UserKey::Email(key(n))] });
    AffiliateChanges { remember, ..AffiliateChanges::default() }
}

fn dead() -> Settlement {
    Settlement::Dead { outcome: OutcomeCode::Rejected, reason: "no".to_owned(), at: Timestamp(9) }
}

fn settled(tx: &mut WriteTx<'_>, unit: Unit, settlement: Settlement, changes: AffiliateChanges) {
    settle::settle(tx, &AccountName::main(), &unit, &settlement, &changes, settle::RowCleanup::Erase).expect("settled");
}

fn transaction<T>(store: &mut SqliteFile, work: impl FnOnce(&mut WriteTx<'_>) -> T) -> T {
    let mut result = None;
    store
        .transaction(|tx| {
            result = Some(work(tx));
            Ok(())
        })
        .expect("committed");
    result.expect("it ran")
}

/// A store with pending events of many accounts, every third of one account; many events of that one are settled or dead.
fn filled(folder: &tempfile::TempDir) -> SqliteFile {
    let mut store = open::open(&folder.path().join("store.db"), 1 << 20).expect("opened");
    let main = AccountName::main();
    transaction(&mut store, |tx| {
        let of = |n: u32| if n % 3 == 1 { main.clone() } else { account(n % ACCOUNTS) };
        let events: Vec<_> = (1..=BACKLOG).map(|n| event(n, &of(n))).collect();
        append::append(tx, &events, u64::MAX).expect("appended");
    });
    transaction(&mut store, |tx| {
        for n in (1..BACKLOG / 2).step_by(3) {
            let settlement = if n % 2 == 0 {
                dead()
            } else {
                Settlement::Done { outcome: OutcomeCode::Created, followers: Vec::new() }
            };
            // No event has the key that is deleted: the number after it is another account's.
            let (erase, deleted_at) = (vec![UserKey::Email(key(n + 1))], Some(Timestamp(n.into())));
            let changes = AffiliateChanges { erase, deleted_at, ..remember(n) };
            settled(tx, Unit::of(Seq(n.into())), settlement, changes);
        }
    });
    store.state.former_ids_below = i64::MAX;
    store
}

/// All operations of a worker, the webhook and operators.
fn work(store: &mut SqliteFile) {
    let main = AccountName::main();
    let entries = read::read(&store.connection, &main, Seq(0), 20).expect("read");
    assert_eq!(entries.len(), 20);
    let unit = |n: usize| Unit { head: entries[n].seq, followers: vec![entries[n + 1].seq] };
    assert_eq!(begin::begin(&store.connection, &main, &[unit(0), unit(2)]).expect("begun").len(), 2);
    let progress = Progress { stage: Stage::CheckEdit, ..Progress::default() };
    transaction(store, |tx| {
        let only = Some(KnownUsersOnly {
            none_pending_up_to: Some(ReadUpTo { lease: 0, seq: Seq(i64::MAX) }),
            deleted_at: Some(Timestamp(9)),
            if_unknown: OutcomeCode::UnknownUser,
        });
        let new = NewEvent { known_users_only: only, former_id: Some(EventId(key(2))), ..event(BACKLOG + 1, &main) };
        append::append(tx, &[event(1, &main), new.clone(), event(BACKLOG + 3, &main)], 10).expect_err("full");
        append::append(tx, &[event(1, &main), new, event(BACKLOG + 2, &account(BACKLOG))], u64::MAX).expect("appended");
        let changes = AffiliateChanges {
            forget: vec![AffiliateCode("code 7".to_owned())],
            erase: vec![UserKey::Email(key(7))],
            deleted_at: Some(Timestamp(9)),
            ..remember(1)
        };
        settle::save_progress(tx, &main, &unit(0), &progress, &changes).expect("saved");
        let followers = vec![(entries[1].seq, OutcomeCode::Updated)];
        let attempt = FailedAttempt { at: Timestamp(1), what: String::new() };
        let (wait, failing_for, failures) = (Duration::ZERO, Duration::ZERO, 1);
        for (n, settlement) in [
            (0, Settlement::Retry { wait, progress: Some(progress.clone()), failures, failing_for, attempt }),
            (0, Settlement::HandBack { progress: progress.clone() }),
            (0, Settlement::HandBack { progress: Progress::default() }),
            (0, Settlement::Done { outcome: OutcomeCode::Updated, followers }),
            (2, dead()),
        ] {
            settled(tx, unit(n), settlement, remember(BACKLOG + 1));
        }
        let ids = BTreeSet::from([entries[2].seq.0]);
        assert_eq!(dead_letters::replay(tx, &ids, u64::MAX).expect("replayed")[0].outcome, Replay::Replayed);
        assert!(dead_letters::discard(tx, Seq(4)).expect("discarded"));
        compact::remove(tx, &[Seq(1), Seq(2)], Timestamp(9)).expect("removed");
        older_ids::insert(tx.connection, &[(1, 1), (2, 2)]).expect("moved");
        tx.has_former_id(EventId(key(2)), &[]).expect("read");
    });
    let own = user_keys::of_affiliate(&store.state.hash, &main, &AffiliateCode("code 13".to_owned()));
    affiliates::recall(&store.connection, &own, &[UserKey::UserId(key(13))]).expect("read").expect("remembered");
    for start in [PageStart::After(0), PageStart::Before(i64::MAX)] {
        dead_letters::page(&store.connection, &DeadLetterFilter::default(), start, 20, 0).expect("a page");
    }
    for account in [None, Some(&main)] {
        assert_eq!(affiliates::email_conflicts(&store.connection, account, 0, 20).expect("read").len(), 20);
    }
    dead_letters::one(&store.connection, 10).expect("read").expect("a dead letter");
}

#[test]
fn no_statement_scans_a_table_sorts_or_takes_longer_at_a_long_backlog() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = filled(&folder);
    let meter = StepMeter::default();
    meter.watch(&mut store);
    work(&mut store);
    assert!(meter.0.lock().len() > 30, "the test sees the statements");
    assert_eq!(meter.beyond(MAX_STEPS), []);
}

#[test]
fn compaction_and_lookup_look_at_portions_of_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = filled(&folder);
    let meter = StepMeter::default();
    meter.watch(&mut store);
    let all = Retention { events: Timestamp(i64::MAX), ..Retention::default() };
    let (removable, examined) = compact::examine(&store.connection, 0, all).expect("examined");
    assert!(examined.next.is_some_and(|next| next < BACKLOG.into()), "there are more");
    assert!(!removable.is_empty());
    assert!(erase::remove_moments(&store.connection, Timestamp(i64::MAX)).expect("removed"), "there are more");
    transaction(&mut store, |tx| while key_blocks::build(tx).expect("built") {});
    let ranges = key_blocks::candidates(&store.connection, &[key(1)]).expect("read");
    assert_eq!(ranges.len(), 2, "the first block, and the rows after the last one");
    for range in ranges {
        key_blocks::examine(&store.connection, &[key(1)], range).expect("read");
    }
    meter.0.lock().retain(|sql, _| !sql.contains("FROM key_blocks ORDER BY last DESC"));
    assert_eq!(meter.beyond(20 * 5_000), []);
}
