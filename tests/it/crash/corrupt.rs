//! Rows that cannot be read any more: the event becomes a dead letter that says so, the log names the row, and the next event
//! of the user is delivered.

use super::{drained, ended};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{identify, within};
use refersion_destination::sandbox::Fault;
use refersion_destination::store::{DeadLetterFilter, DeadLetters as _, PageStart, SqliteStore, StoreLimits};
use serde_json::{Value, json};
use std::path::Path;

/// A word that is in every body, and belongs into no line of the logs.
const PRIVATE: &str = "Markertown";

fn damage(folder: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(folder.join("store.db")).expect("opens");
    assert_eq!(connection.execute(sql, []).expect(sql), 1, "{sql}");
}

/// Two events of one user are pending; an attempt at the first one has failed.
async fn two_wait(refersion: &Refersion, folder: &Path) {
    let hour = Fault::Status { status: 503, body: Value::Null, retry_after: Some(3600) };
    refersion.sandbox.script([hour]);
    let process = Process::start(&refersion.base_url, folder, &[("SERVER_WAIT", "0s")]);
    let filler = "filler ".repeat(100);
    for (id, city) in [("m1", PRIVATE), ("m2", "Oslo")] {
        let event = identify(id, "u1", &json!({"city": city, "filler": filler}));
        assert_eq!(within(process.send(&event)).await.expect("answered").brief(), "202 accepted");
        refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    }
    process.terminate();
    let (code, logged) = ended(process).await;
    assert_eq!(code, Some(0), "{logged}");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_becomes_a_dead_letter_that_says_so_and_the_next_is_delivered() {
    for (sql, part) in [
        ("UPDATE bodies SET body = x'0120000000ff' WHERE seq = 1", "bodies.body"),
        ("UPDATE attempts SET progress = '{Markertown' WHERE seq = 1", "attempts.progress"),
        ("UPDATE log SET keys = x'09' WHERE seq = 1", "log.keys"),
    ] {
        let refersion = Refersion::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        two_wait(&refersion, folder.path()).await;
        damage(folder.path(), sql);
        // The wait of an hour is over, so that the damaged event is the first.
        damage(folder.path(), "UPDATE attempts SET wait = 0 WHERE seq = 1");

        let settings = [("LOG_FILTER", "debug")];
        let process = Process::start(&refersion.base_url, folder.path(), &settings);
        let ready = drained(&process).await;
        process.terminate();
        let (code, logged) = ended(process).await;
        assert_eq!((code, &ready["dead_letters"]), (Some(0), &json!(1)), "{sql}: {logged}");
        let names = |line: &&str| line.contains("ERROR") && line.contains("seq=1") && line.contains(part);
        assert!(logged.lines().any(|line| names(&line)), "{sql}: {logged}");
        assert!(!logged.contains(PRIVATE), "{sql}: {logged}");
        let cities: Vec<_> = refersion.sandbox.affiliates().iter().map(|one| one.field("city").to_owned()).collect();
        assert_eq!(cities, ["Oslo"], "{sql}");

        let store = SqliteStore::open(&folder.path().join("store.db"), StoreLimits::default()).expect("opens");
        let page = store.dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 9).await.expect("a page");
        let letters: Vec<_> = page.letters.iter().map(|letter| (letter.id, letter.code.as_str())).collect();
        assert_eq!(letters, [(1, "corrupt")], "{sql}");
        let again = store.dead_letter(1).await.expect("read").expect("kept");
        assert!(again.reason.contains(part), "{sql}: {}", again.reason);
    }
}

/// The e-mail leads to the affiliate at Refersion alone, and what the store remembers of that one is damaged.
#[tokio::test]
async fn an_event_with_an_unreadable_affiliate_becomes_a_dead_letter_also_if_a_search_found_it() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let run = async |event: &Value| {
        let process = Process::start(&refersion.base_url, folder.path(), &[("SERVER_WAIT", "0s")]);
        assert_eq!(within(process.send(event)).await.expect("answered").brief(), "202 accepted");
        let ready = drained(&process).await;
        process.terminate();
        let (code, logged) = ended(process).await;
        assert_eq!(code, Some(0), "{logged}");
        ready["dead_letters"].clone()
    };
    assert_eq!(run(&identify("m1", "u1", &Value::Null)).await, 0);
    damage(folder.path(), "DELETE FROM links WHERE key >= x'02' AND key < x'03'"); // that of its e-mail
    damage(folder.path(), "UPDATE affiliates SET sent = x'ff'");
    assert_eq!(run(&identify("m2", "u2", &json!({"email": "u1@example.com"}))).await, 1);
    assert_eq!(refersion.operations(), ["new", "new", "search"]);
    let store = SqliteStore::open(&folder.path().join("store.db"), StoreLimits::default()).expect("opens");
    let letter = store
        .dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 9)
        .await
        .expect("a page")
        .letters
        .remove(0);
    assert_eq!(letter.code, "corrupt");
    assert!(letter.reason.contains("affiliates.sent"), "{}", letter.reason);
}
