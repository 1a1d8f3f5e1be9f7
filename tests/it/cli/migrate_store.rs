//! `migrate-store` and `migrate`: they print their counts, refuse stores that they cannot move, and leave a store on which the operators'
//! commands work.

use super::{Ran, run};
use crate::support::{API_KEY, postgres};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, EventId, Timestamp, UserKey};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{
    AffiliateChanges, Appended, EventLog as _, Maintenance as _, NewEvent, Settlement, SqliteStore, StoreLimits,
};
use std::path::Path;

/// A file with a pending event and a dead letter.
async fn fill(file: &Path) {
    let store = SqliteStore::open(file, StoreLimits::default()).expect("opens");
    let event = |n: u8| NewEvent {
        account: AccountName::main(),
        id: EventId([n; 16]),
        former_id: None,
        user_keys: vec![UserKey::UserId([n; 16])],
        known_users_only: None,
        source: None,
        body: br#"{"type":"identify"}"#.to_vec(),
        received_at: Timestamp(0),
    };
    let appended = store.append(vec![event(1), event(2)]).await.expect("appended");
    let [Appended::Accepted { seq, .. }, _] = appended[..] else { panic!("{appended:?}") };
    let dead = Settlement::Dead { outcome: OutcomeCode::Rejected, reason: "for a test".to_owned(), at: Timestamp(0) };
    let (account, changes) = (AccountName::main(), AffiliateChanges::default());
    store.settle(&account, &Unit::of(seq), dead, changes).await.expect("settled");
    store.close().await;
}

fn sqlite(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

async fn migrate(from: &str, to: &str) -> Ran {
    run(&["migrate-store", "--from", from, "--to", to], &[], "").await
}

const MOVED: &str = "           1 accounts
           2 log
           1 bodies
           0 attempts
           0 affiliates
           0 links
           1 dead_letters
           1 dead_keys
           0 deleted_users
           0 sealed_keys
           0 remembered_traits
           1 pending of main
moved and compared; set STORE_URL to the new store
";

#[tokio::test]
async fn a_store_is_moved_and_its_counts_are_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (folder.path().join("old.db"), folder.path().join("new.db"));
    fill(&old).await;
    let moved = migrate(&sqlite(&old), &sqlite(&new)).await;
    assert_eq!((moved.code, &*moved.out, &*moved.err), (Some(0), MOVED, ""));
    let again = migrate(&sqlite(&old), &sqlite(&new)).await;
    assert_eq!(again.code, Some(1));
    let reported = "refersion-destination: --to: the store cannot do this: the target is not empty (1 accounts, ";
    assert!(again.err.starts_with(reported) && again.err.ends_with("; nothing was moved\n"), "{}", again.err);
}

/// Else a mistyped path would be a new store, which is moved with success.
#[tokio::test]
async fn a_store_that_does_not_exist_is_empty_or_is_its_own_target_is_not_moved() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, absent, new) = (folder.path().join("old.db"), folder.path().join("a/b.db"), folder.path().join("new.db"));
    let refused = async |from: &Path, to: &Path| {
        let ran = migrate(&sqlite(from), &sqlite(to)).await;
        assert_eq!((ran.code, &*ran.out), (Some(1), ""));
        let reported = ran
            .err
            .strip_prefix("refersion-destination: ")
            .and_then(|reported| reported.strip_suffix("; nothing was moved\n"));
        reported.unwrap_or_else(|| panic!("{}", ran.err)).to_owned()
    };
    assert_eq!(refused(&absent, &new).await, format!("--from: there is no store at {}", absent.display()));
    assert!(!folder.path().join("a").exists() && !new.exists());
    SqliteStore::open(&old, StoreLimits::default()).expect("opens").close().await;
    assert_eq!(refused(&old, &new).await, "--from: this store is empty");
    assert_eq!(refused(&old, &folder.path().join("./old.db")).await, "--to: this is the store of --from");
}

#[tokio::test]
async fn a_store_is_moved_to_postgresql_where_the_operators_commands_find_it_and_back() {
    let Some(url) = postgres::new_schema() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new, secret) = (folder.path().join("old.db"), folder.path().join("new.db"), folder.path().join("url"));
    std::fs::write(&secret, format!("{url}\n")).expect("written");
    fill(&old).await;
    let in_file = format!("@{}", secret.display());
    let settings = [("STORE_URL_FILE", secret.to_str().expect("text")), ("REFERSION_API_KEY", API_KEY)];
    let made = run(&["migrate"], &settings, "").await;
    assert_eq!((made.code, &*made.out), (Some(0), "the store has the tables of this release\n"), "{}", made.err);
    let moved = migrate(&sqlite(&old), &in_file).await;
    assert_eq!((moved.code, &*moved.out, &*moved.err), (Some(0), MOVED, ""));
    let shown = run(&["dead-letters", "show", "1", "--json"], &settings, "").await;
    assert!(shown.code == Some(0) && shown.out.contains("for a test"), "{}{}", shown.out, shown.err);
    let back = migrate(&in_file, &sqlite(&new)).await;
    assert_eq!((back.code, &*back.out, &*back.err), (Some(0), MOVED, ""));
    let replayed = run(&["dead-letters", "replay", "1"], &settings, "").await;
    let reported =
        replayed.out.starts_with("1: pending again as ") && replayed.out.ends_with("\nreplayed 1 dead letter\n");
    assert!(replayed.code == Some(0) && reported, "{}{}", replayed.out, replayed.err);
}

#[tokio::test]
async fn a_store_that_cannot_be_moved_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.db");
    fill(&file).await;
    let store = SqliteStore::open(&file, StoreLimits::default()).expect("opens");
    let (from, nowhere) = (sqlite(&file), format!("@{}", folder.path().join("absent").display()));
    let target = sqlite(&folder.path().join("new.db"));
    for (from, to, code, reported) in [
        (&*from, &*target, 1, "is in use by another process of this service"),
        (&*from, "mysql://root:hunter2@db/x", 2, "found a URL of the scheme \"mysql\", expected sqlite://"),
        (&*from, &*nowhere, 2, "cannot read "),
        (
            &*from,
            "postgres://u:hunter2@127.0.0.1:1/x?connect_timeout=1",
            1,
            "cannot connect to PostgreSQL at 127.0.0.1",
        ),
        (&*from, "postgres://u:hunter2@127.0.0.1:1/x?sslmode=maybe", 1, "sslmode=maybe is not known"),
    ] {
        if to.starts_with("postgres") {
            store.close().await;
        }
        let refused = migrate(from, to).await;
        assert!(
            refused.code == Some(code) && refused.err.contains(reported),
            "{to}: {:?} {}",
            refused.code,
            refused.err
        );
        assert!(!refused.err.contains("hunter2"), "{}", refused.err);
    }
}
