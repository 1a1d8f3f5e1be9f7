//! A migrated store of version 9, that of release 0.6.0, where the body of a dead letter was in its own row.

use super::engine::{LATE, Sqlite, TestStore, done, name, retry};
use refersion_destination::domain::{Seq, Timestamp};
use refersion_destination::store::Replay;

/// Gives `dead_letters` and `bodies` the columns and the rows that they had in version 9.
pub const AS_VERSION_9: &str = "
    ALTER TABLE dead_letters RENAME TO letters;
    CREATE TABLE dead_letters (
        seq         INTEGER PRIMARY KEY,
        account     INTEGER NOT NULL,
        id          BLOB    NOT NULL,
        code        TEXT    NOT NULL,
        reason      TEXT    NOT NULL,
        failures    INTEGER NOT NULL,
        received_at INTEGER NOT NULL,
        died_at     INTEGER NOT NULL,
        body        BLOB,
        keys        BLOB,
        history     TEXT
    );
    INSERT INTO dead_letters
        SELECT seq, account, id, code, reason, failures, received_at, died_at,
            iif(erased, NULL, (SELECT body FROM bodies WHERE bodies.seq = letters.seq)), keys, history
        FROM letters;
    DROP TABLE letters;
    DELETE FROM bodies WHERE seq NOT IN (SELECT seq FROM log WHERE outcome IS NULL);
    DROP INDEX bodies_moved;
    ALTER TABLE bodies DROP COLUMN event;
    PRAGMA user_version = 9;";

#[tokio::test]
async fn bodies_of_pending_events_and_of_dead_letters_are_carried_over_and_can_be_erased_then() {
    let file = Sqlite::new();
    let store = TestStore::on(&file);
    let marked = |name: &str| format!("{name} {}", "0123456789abcdef/?".repeat(5));
    let [dead, pending, erased] = [marked("dead"), marked("pending"), marked("erased")];
    let letter = store.die(&dead, &["u1"]).await;
    let first = store.append(&pending, &["u2"]).await;
    store.settle(first, retry(0)).await;
    let gone = store.die(&erased, &["u3"]).await;
    store.store().forget(&store.account, &store.keys(&["u3"]), Timestamp(7)).await.expect("forgotten");
    store.append("last", &["u2"]).await;
    store.store().close().await;
    drop(store);
    file.connection().execute_batch(AS_VERSION_9).expect("as that release left it");
    assert!(file.holds(&dead) && file.holds(&pending), "the test can see them");

    let mut store = TestStore::on(&file);
    for _ in 0..2 {
        assert_eq!((store.names().await, store.counts()), (vec![pending.clone(), "last".to_owned()], (2, 2)));
        let kept = store.store().dead_letter(letter.0).await.expect("read").expect("kept");
        assert_eq!((kept.body.as_deref(), kept.erased, kept.history.len()), (Some(&*dead), false, 1));
        assert!(store.store().dead_letter(gone.0).await.expect("read").expect("kept").erased);
        store.reopen().await;
    }
    assert_eq!(store.replay(&[letter, gone]).await, [(letter.0, Replay::Replayed), (gone.0, Replay::Erased)]);
    let again = Seq(gone.0 + 2);
    assert_eq!(name(&store.begin(again).await), dead);
    store.settle(again, done()).await;
    store.settle(first, done()).await;
    store.compact(LATE).await;
    assert!(!file.holds(&dead[..24]) && !file.holds(&pending[..24]));
    assert_eq!(store.names().await, ["last"]);
}
