//! A row that cannot be read is named, never taken for nothing; the event can still be ended.

use super::engine::{Sqlite, TestStore, dead_of, every, name, progress, retry, unit};
use refersion_destination::delivery::OutcomeCode;

fn damage(outside: &Sqlite, sql: &str) {
    assert_eq!(outside.connection().execute(sql, []).expect("damaged"), 1, "{sql}");
}

#[tokio::test]
async fn what_cannot_be_read_of_an_event_is_named_and_the_event_can_be_ended_as_corrupt() {
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
async fn a_damaged_event_holds_up_nobody_else() {
    let (store, outside) = TestStore::sqlite();
    let [a, b] = [store.append("a", &["u1"]).await, store.append("b", &["u2"]).await];
    damage(&outside, &format!("UPDATE bodies SET body = x'0120000000ff' WHERE seq = {a}"));
    let begun = store.begin_units(&[unit(&[a]), unit(&[b])]).await;
    assert_eq!(begun.iter().map(name).collect::<Vec<_>>(), ["damaged: bodies.body", "b"]);
}

#[tokio::test]
async fn a_damaged_follower_stays_behind() {
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
            let event = refersion_destination::store::NewEvent {
                body: body.to_vec(),
                ..store.event(&n.to_string(), &["u1"], 0)
            };
            let seq = super::engine::accepted(store.try_append(event).await);
            assert_eq!(store.look_at(seq).await.body.as_deref(), Ok(body));
            store.save(&unit(&[seq]), &progress(1)).await;
        }
    })
    .await;
}
