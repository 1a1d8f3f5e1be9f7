//! Damaged rows and pages: the damaged part is named, never replaced by a default, and the event can still be ended.

use super::engine::{Sqlite, TestStore, accepted, dead_of, done, every, hand_back, name, progress, retry, unit};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::store::{AffiliateChanges, NewEvent};
use std::os::unix::fs::FileExt;

const PAGE: usize = 4096;

/// A body that takes several pages by itself.
fn long_body(n: u8) -> Vec<u8> {
    let noise = (0..4_000_u32).flat_map(|i| (i ^ (u32::from(n) << 13)).wrapping_mul(2_654_435_761).to_be_bytes());
    noise.collect()
}

async fn append_long(store: &TestStore, n: u8) -> refersion_destination::domain::Seq {
    let event = NewEvent { body: long_body(n), ..store.event(&n.to_string(), &[&n.to_string()], 0) };
    accepted(store.try_append(event).await)
}

/// Closes the store, overwrites the head of the page in the middle of this body, and opens the store again.
async fn damage_page_of(store: &mut TestStore, outside: &Sqlite, body: &[u8]) {
    store.store().close().await;
    let (bytes, middle) = (std::fs::read(outside.path()).expect("the file"), &body[body.len() / 2..][..16]);
    let at = bytes.windows(middle.len()).position(|window| window == middle).expect("the body is in the file");
    damage_page(outside, at / PAGE);
    store.reopen().await;
}

/// Overwrites the head of a page, counted from 0.
fn damage_page(outside: &Sqlite, page: usize) {
    let file = std::fs::OpenOptions::new().write(true).open(outside.path()).expect("the file opens");
    file.write_all_at(&[0xff; 4], (page * PAGE) as u64).expect("damaged");
}

fn damage(outside: &Sqlite, sql: &str) {
    assert_eq!(outside.connection().execute(sql, []).expect("damaged"), 1, "{sql}");
}

#[tokio::test]
async fn a_damaged_column_is_named_and_the_event_can_be_ended_as_corrupt() {
    let table = [
        ("UPDATE bodies SET body = x'0120000000ff'", "bodies.body"),
        ("UPDATE bodies SET body = 7", "bodies.body"),
        ("DELETE FROM bodies", "bodies.body"),
        ("UPDATE attempts SET progress = '{'", "attempts.progress"),
        ("UPDATE attempts SET progress = x'ff'", "attempts.progress"),
        ("UPDATE attempts SET failures = -1", "attempts.failures"),
        ("UPDATE attempts SET failing_for = 'long'", "attempts.failing_for"),
        ("UPDATE log SET keys = x'09'", "log.keys"),
        ("UPDATE log SET id = x'00'", "log.id"),
    ];
    for (sql, part) in table {
        let (mut store, outside) = TestStore::sqlite();
        let a = store.append(&format!("a {}", "body ".repeat(100)), &["u1"]).await;
        store.settle(a, retry(5)).await;
        damage(&outside, sql);
        store.reopen().await;
        assert_eq!(store.entries().await.len(), 1, "{sql}: it is read, so that somebody begins it");
        assert_eq!(name(&store.begin(a).await), format!("damaged: {part}"), "{sql}");
        store.settle(a, dead_of(OutcomeCode::Corrupt, 9)).await;
        assert_eq!(store.counts(), (0, 1), "{sql}");
        let letter = store.store().dead_letter(a.0).await;
        if part != "log.id" {
            assert_eq!(letter.expect("read").expect("kept").code, "corrupt", "{sql}");
        }
    }
}

#[tokio::test]
async fn a_damaged_event_delays_no_other() {
    let (store, outside) = TestStore::sqlite();
    let [a, b] = [store.append("a", &["u1"]).await, store.append("b", &["u2"]).await];
    damage(&outside, &format!("UPDATE bodies SET body = x'0120000000ff' WHERE seq = {a}"));
    let begun = store.begin_units(&[unit(&[a]), unit(&[b])]).await;
    assert_eq!(begun.iter().map(name).collect::<Vec<_>>(), ["damaged: bodies.body", "b"]);
}

#[tokio::test]
async fn a_damaged_follower_is_left_out() {
    let (store, outside) = TestStore::sqlite();
    let [a, b, c] =
        [store.append("a", &["u1"]).await, store.append("b", &["u1"]).await, store.append("c", &["u1"]).await];
    damage(&outside, &format!("UPDATE bodies SET body = x'0120000000ff' WHERE seq = {b}"));
    let begun = store.begin_units(&[unit(&[a, b, c])]).await.remove(0);
    assert!(begun.followers.iter().all(|follower| follower.seq != b));
    assert_eq!(store.counts(), (3, 0));
}

/// A body that begins like a packed one is none for that.
#[tokio::test]
async fn a_body_of_any_bytes_is_no_damage() {
    every(async |store| {
        for (n, body) in [&b"\x01"[..], b"\x01\x20\0\0\0\xff", b"", b"\0\0"].into_iter().enumerate() {
            let event = NewEvent { body: body.to_vec(), ..store.event(&n.to_string(), &["u1"], 0) };
            let seq = accepted(store.try_append(event).await);
            assert_eq!(store.look_at(seq).await.body.as_deref(), Ok(body));
            store.save(&unit(&[seq]), &progress(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_on_a_damaged_page_becomes_a_dead_letter_and_delays_no_other() {
    let (mut store, outside) = TestStore::sqlite();
    let [a, b] = [append_long(&store, 1).await, append_long(&store, 2).await];
    let c = store.append("c", &["3"]).await;
    damage_page_of(&mut store, &outside, &long_body(1)).await;
    assert_eq!(store.entries().await.len(), 3);
    let begun = store.begin_units(&[unit(&[a]), unit(&[b]), unit(&[c])]).await;
    assert_eq!(name(&begun[0]), "damaged: a page of the file");
    assert_eq!((begun[1].body.as_deref(), name(&begun[2])), (Ok(&long_body(2)[..]), "c".to_owned()));
    store.settle(b, done()).await;
    store.settle(a, dead_of(OutcomeCode::Corrupt, 9)).await;
    store.settle(c, done()).await;
    assert_eq!(store.counts(), (0, 1));
    let letter = store.store().dead_letter(a.0).await.expect("read").expect("kept");
    assert_eq!((letter.code.as_str(), letter.erased), ("corrupt", true));
    store.reopen().await;
    assert_eq!((store.counts(), store.entries().await.len()), ((0, 1), 0));
}

#[tokio::test]
async fn a_follower_on_a_damaged_page_is_left_out() {
    let (mut store, outside) = TestStore::sqlite();
    let [a, b] = [store.append("a", &["u1"]).await, append_long(&store, 1).await];
    damage_page_of(&mut store, &outside, &long_body(1)).await;
    let begun = store.begin_units(&[unit(&[a, b])]).await.remove(0);
    assert_eq!((name(&begun), begun.followers.len()), ("a".to_owned(), 0));
}

#[tokio::test]
async fn a_settlement_that_meets_a_damaged_page_takes_no_other_call_along() {
    let (mut store, outside) = TestStore::sqlite();
    let a = append_long(&store, 1).await;
    damage_page_of(&mut store, &outside, &long_body(1)).await;
    let (unit, changes) = (unit(&[a]), AffiliateChanges::default());
    let settled = store.store().settle(&store.account, &unit, dead_of(OutcomeCode::Corrupt, 9), changes);
    let events = ["b", "c"].map(|name| store.event(name, &[name], 0));
    let [b, c] = events.map(|event| store.store().append(vec![event]));
    let (settled, b, c) = tokio::join!(settled, b, c);
    assert_eq!((settled, b.is_ok(), c.is_ok()), (Ok(()), true, true));
    assert_eq!(store.counts(), (2, 1));
}

#[tokio::test]
async fn an_event_with_attempts_on_a_damaged_page_is_read_and_becomes_a_dead_letter_with_its_body() {
    let (mut store, outside) = TestStore::sqlite();
    let [a, b] = [store.append("a", &["u1"]).await, store.append("b", &["u2"]).await];
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'";
    let root: u16 = outside.connection().query_row(root, [], |row| row.get(0)).expect("a table");
    store.store().close().await;
    damage_page(&outside, usize::from(root) - 1);
    store.reopen().await;
    assert_eq!(store.entries().await.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [a, b]);
    assert_eq!(name(&store.begin(a).await), "damaged: a page of the file");
    store.settle(a, dead_of(OutcomeCode::Corrupt, 9)).await;
    let letter = store.store().dead_letter(a.0).await.expect("read").expect("kept");
    assert_eq!((letter.code.as_str(), letter.body.as_deref()), ("corrupt", Some("a")));
    assert_eq!(store.counts(), (1, 1));
}

#[tokio::test]
async fn a_store_with_a_log_on_a_damaged_page_is_not_opened_and_says_how_to_go_on() {
    let (store, outside) = TestStore::sqlite();
    store.append("a", &["u1"]).await;
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'log'";
    let root: u16 = outside.connection().query_row(root, [], |row| row.get(0)).expect("a table");
    store.store().close().await;
    damage_page(&outside, usize::from(root) - 1);
    let refusal = outside.try_open(1).expect_err("it cannot tell which events it has");
    for part in [&*outside.path().to_string_lossy(), "is damaged", "backup", "`restore`"] {
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[tokio::test]
async fn a_store_without_its_beginning_is_not_opened_and_says_how_to_go_on() {
    let (store, outside) = TestStore::sqlite();
    store.append("a", &["u1"]).await;
    store.store().close().await;
    damage_page(&outside, 0);
    let refusal = outside.try_open(1).expect_err("SQLite does not know it");
    for part in [&*outside.path().to_string_lossy(), "its beginning is damaged", "backup", "`restore`"] {
        assert!(refusal.contains(part), "{refusal}");
    }
}

/// Were its progress replaced by none, calls that may have had their effect would be made again.
#[tokio::test]
async fn a_damaged_event_that_is_handed_back_or_failed_is_still_damaged() {
    for settlement in [hand_back(), retry(5)] {
        let (store, outside) = TestStore::sqlite();
        let a = store.append("a", &["u1"]).await;
        store.settle(a, retry(5)).await;
        damage(&outside, "UPDATE attempts SET progress = '{'");
        store.settle(a, settlement).await;
        assert_eq!(name(&store.begin(a).await), "damaged: attempts.progress");
    }
}
