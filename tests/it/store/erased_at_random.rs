//! Promise 9, for bodies that cannot be compressed, of all sizes, that end in any order and in every way: nothing of an erased body is
//! in the files. And what erased bodies leave behind is removed, whatever is still pending between them.
//!
//! A body consists of pieces of eight bytes, each of which names its body and is in no other one; so 15 bytes of a body anywhere in a file
//! are recognised.

use super::engine::{
    LATE, Sqlite, TestStore, accepted, dead, done, done_with, erase, hand_back, progress, retry, unit,
};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use refersion_destination::domain::{Seq, Timestamp};
use refersion_destination::store::{AffiliateChanges, NewEvent, Settlement};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::JoinSet;

const MARK: [u8; 2] = [0xa5, 0x5a];
const BITS: u64 = (1 << 48) - 1;
/// Any odd number can be divided by again.
const FACTOR: u64 = 0x5bd1_e995_a3b7;

fn inverse(factor: u64) -> u64 {
    (0..6).fold(factor, |inverse, _| inverse.wrapping_mul(2_u64.wrapping_sub(factor.wrapping_mul(inverse))))
}

/// The body with this number, of so many bytes, rounded up.
fn body(number: u64, length: usize) -> Vec<u8> {
    let piece = |n: u64| {
        let scattered = (number << 20 | n).wrapping_mul(FACTOR) & BITS;
        [&MARK[..], &scattered.to_le_bytes()[..6]].concat()
    };
    (0..length.div_ceil(8) as u64).flat_map(piece).collect()
}

/// The numbers of the bodies below `end` of which there is a piece on disk.
fn found(outside: &Sqlite, end: u64) -> BTreeSet<u64> {
    let (bytes, inverse) = (outside.bytes_on_disk(), inverse(FACTOR));
    let pieces = bytes.windows(8).filter(|window| window[..2] == MARK);
    let value = |piece: &[u8]| {
        let scattered = piece[2..].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        inverse.wrapping_mul(scattered) & BITS
    };
    let numbers = pieces.map(value).filter(|value| value & 0xf_ffff < 5_000).map(|value| value >> 20);
    numbers.filter(|number| (1..end).contains(number)).collect()
}

/// A store, and which body each event has.
struct History {
    store: TestStore,
    outside: Sqlite,
    chance: StdRng,
    pending: BTreeMap<Seq, u64>,
    dead: BTreeMap<Seq, u64>,
    next: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let (store, outside) = TestStore::sqlite();
        let (pending, dead) = <_>::default();
        Self { store, outside, chance: StdRng::seed_from_u64(seed), pending, dead, next: 1 }
    }

    fn user(number: u64) -> String {
        format!("user{number}")
    }

    async fn append(&mut self, count: usize) {
        let mut events = Vec::new();
        for _ in 0..count {
            let most = if self.chance.random_bool(0.02) { 40_000 } else { 1_500 };
            let (number, length) = (self.next, self.chance.random_range(50..most));
            let body = body(number, length);
            events.push(NewEvent { body, ..self.store.event(&format!("event {number}"), &[&Self::user(number)], 0) });
            self.next += 1;
        }
        let first = self.next - count as u64;
        let appended = self.store.store().append(events).await.expect("appended");
        self.pending.extend(appended.into_iter().map(accepted).zip(first..));
    }

    /// Ends, fails or marks this part of the pending events, in any order, many at once.
    async fn work(&mut self, part: f64) {
        let mut seqs: Vec<Seq> = self.pending.keys().copied().collect();
        seqs.shuffle(&mut self.chance);
        seqs.retain(|_| self.chance.random_bool(part));
        let mut settled = JoinSet::new();
        while let Some(seq) = seqs.pop() {
            let (mut seqs_of_unit, way) = (vec![seq], self.chance.random_range(0..100));
            let settlement: Settlement = match way {
                0..10 => retry(0),
                10..15 => hand_back(),
                15..30 => dead(),
                30..40 => {
                    let followers: Vec<Seq> = seqs.split_off(seqs.len().saturating_sub(2));
                    seqs_of_unit.extend(&followers);
                    done_with(&followers)
                }
                _ => done(),
            };
            if let Settlement::Dead { .. } = settlement {
                self.dead.extend(self.pending.remove(&seq).map(|number| (seq, number)));
            } else if let Settlement::Done { .. } = settlement {
                self.pending.retain(|seq, _| !seqs_of_unit.contains(seq));
            }
            let (log, account, unit) =
                (Arc::clone(self.store.store()), self.store.account.clone(), unit(&seqs_of_unit));
            settled.spawn(async move {
                if way % 3 == 0 {
                    log.save_progress(&account, &unit, &progress(1), AffiliateChanges::default()).await.expect("saved");
                }
                log.settle(&account, &unit, settlement, AffiliateChanges::default()).await.expect("settled");
            });
        }
        settled.join_all().await;
    }

    /// What operators and deletes do: discards, replays, and users that are forgotten.
    async fn operate(&mut self) {
        let letters: Vec<(Seq, u64)> = self.dead.iter().map(|(seq, number)| (*seq, *number)).collect();
        for (seq, number) in letters {
            match self.chance.random_range(0..8) {
                0 => assert_eq!(self.store.store().discard(&[seq.0]).await, Ok(vec![seq.0])),
                1 => {
                    let replayed = self.store.store().replay(&[seq.0]).await.expect("replayed");
                    self.pending.insert(Seq(replayed[0].seq.expect("it is pending again")), number);
                }
                2 => {
                    let keys = self.store.keys(&[&Self::user(number)]);
                    self.store.teach(&format!("delete {number}"), &["of a delete"], erase(keys)).await;
                }
                _ => continue,
            }
            self.dead.remove(&seq);
        }
        let pending: Vec<(Seq, u64)> = self.pending.iter().map(|(seq, number)| (*seq, *number)).collect();
        for (seq, number) in pending.into_iter().filter(|(seq, _)| seq.0 % 61 == 0) {
            let keys = self.store.keys(&[&Self::user(number)]);
            let forgotten = self.store.store().forget(&self.store.account, &keys, Timestamp(7)).await;
            assert_eq!(forgotten.expect("forgotten").events, 1);
            self.pending.remove(&seq);
        }
    }

    /// No piece of an erased body is on disk, and every other body comes back.
    fn check(&self, what: &str) {
        let kept: BTreeSet<u64> = self.pending.values().chain(self.dead.values()).copied().collect();
        let found = found(&self.outside, self.next);
        assert_eq!(
            found.difference(&kept).collect::<Vec<_>>(),
            [&0; 0],
            "{what}: erased bodies of {} so far",
            self.next
        );
        assert_eq!(kept.difference(&found).collect::<Vec<_>>(), [&0; 0], "{what}: the test sees what is there");
    }

    async fn bodies_come_back(&self) {
        for (seq, number) in &self.pending {
            let read = self.store.look_at(*seq).await.body.expect("readable");
            assert!(read == body(*number, read.len()), "{seq}");
        }
        for (seq, number) in &self.dead {
            let letter = self.store.store().dead_letter(seq.0).await.expect("read").expect("kept");
            let shown = letter.body.expect("kept");
            let expected = String::from_utf8_lossy(&body(*number, 64)).into_owned();
            assert!(shown.chars().take(16).eq(expected.chars().take(16)), "{seq}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_erased_body_is_on_disk_after_any_history() {
    let mut history = History::new(1);
    for round in 0..12 {
        history.append(220).await;
        history.work(0.8).await;
        history.operate().await;
        if round % 3 == 1 {
            history.store.compact(LATE).await;
            history.check(&format!("round {round}"));
            history.bodies_come_back().await;
        }
        if round % 5 == 4 {
            history.store.reopen().await;
        }
    }
    history.store.store().close().await;
    history.check("closed");
}

/// Where most of what is around it was erased, a body is moved; and after that it ends as any other.
#[tokio::test]
async fn rows_of_erased_bodies_are_removed_although_pending_ones_are_between_them() {
    let mut history = History::new(2);
    history.append(4_000).await;
    let mut kept = history.pending.split_off(&Seq(0));
    history.pending = kept.extract_if(.., |seq, _| seq.0 % 80 == 0).collect();
    let ended: Vec<Seq> = kept.into_keys().collect();
    history.store.try_settle(&unit(&ended), done_with(&ended[1..])).await.expect("settled");
    let rows = |history: &History| -> (i64, i64) {
        let sql = "SELECT count(*), coalesce(sum(length(body)), 0) FROM bodies";
        history.outside.connection().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("counted")
    };
    assert_eq!(rows(&history).0, 4_000);
    // The process ends between moving and removing.
    let trigger = "CREATE TRIGGER refuse BEFORE DELETE ON bodies BEGIN SELECT RAISE(ABORT, 'refused'); END";
    history.outside.connection().execute_batch(trigger).expect("made");
    let before = refersion_destination::store::Retention::default();
    history.store.store().compact(before).await.expect_err("refused");
    assert!(rows(&history).0 > 4_000, "bodies were moved");
    history.outside.connection().execute_batch("DROP TRIGGER refuse").expect("gone");
    history.store.reopen().await;
    history.bodies_come_back().await;
    history.store.compact(0).await;
    history.check("moved");
    history.bodies_come_back().await;
    let (count, bytes) = rows(&history);
    assert!(count < 400 && bytes < 600_000, "{count} rows, {bytes} bytes, of which 50 have bodies");
    // New events come behind the moved ones, and all of them end.
    history.append(100).await;
    history.store.reopen().await;
    history.bodies_come_back().await;
    for (n, (seq, _)) in std::mem::take(&mut history.pending).into_iter().enumerate() {
        if n % 2 == 0 {
            history.store.settle(seq, done()).await;
        } else {
            history.store.settle(seq, dead()).await;
            assert_eq!(history.store.store().discard(&[seq.0]).await, Ok(vec![seq.0]));
        }
    }
    history.store.compact(LATE).await;
    history.check("all have ended");
    let (count, bytes) = rows(&history);
    assert!(count < 100 && bytes < 100_000, "{count} rows, {bytes} bytes, none of which has a body");
}

#[tokio::test]
async fn an_erased_body_of_a_pending_event_is_damage() {
    let (store, outside) = TestStore::sqlite();
    let a = store.append("a", &["u1"]).await;
    outside.connection().execute("UPDATE bodies SET body = zeroblob(length(body))", []).expect("erased");
    assert_eq!(store.look_at(a).await.body, Err("bodies.body".to_owned()));
}
