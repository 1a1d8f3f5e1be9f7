//! Affiliates of Refersion's list: records stay as they are, no deleted user is restored, and the progress of reading is stored with the
//! affiliates of the pages.

use super::engine::{TestStore, accepted, done, erase, every, forget, known, remember, unit};
use refersion_destination::delivery::{AffiliateRecord, Memory, Origin};
use refersion_destination::domain::{AccountName, AffiliateCode, AffiliateStatus, SentAttributes, Timestamp};
use refersion_destination::store::{AffiliateChanges, Remember, Retention};

/// The affiliate `code` as the list shows it, with this e-mail.
fn listed(store: &TestStore, code: &str, email: &str) -> Remember {
    let mut sent = SentAttributes::default();
    sent.record_status(store.store().hash_key(), AffiliateStatus::Pending, Timestamp::OLDEST);
    let known = AffiliateRecord { code: AffiliateCode(code.to_owned()), id: None, origin: Origin::Found, sent };
    Remember { known, user_keys: store.keys(&[email]) }
}

/// Stores a page; returns whom it added.
async fn page(store: &TestStore, affiliates: &[(&str, &str)], progress: &str) -> Vec<String> {
    let affiliates = affiliates.iter().map(|(code, email)| listed(store, code, email)).collect();
    let added = store.store().remember_listed(&store.account, affiliates, progress.to_owned()).await.expect("stored");
    added.into_iter().map(|one| one.known.code.0).collect()
}

async fn memory(store: &TestStore, users: &[&str]) -> Memory {
    let seq = store.append(&format!("{users:?} {}", store.counts().0), users).await;
    let memory = store.begin(seq).await.memory;
    store.settle(seq, done()).await;
    memory
}

/// The affiliate that a key leads to.
async fn code(store: &TestStore, user: &str) -> String {
    let Memory { by_user_id, by_email, .. } = memory(store, &[user]).await;
    by_user_id.or(by_email).map_or_else(|| "nobody".to_owned(), |known| known.code.0)
}

#[tokio::test]
async fn a_page_is_remembered_with_how_far_the_list_was_read() {
    every(async |store| {
        assert_eq!(store.store().list_progress(&store.account).await, Ok(None));
        assert_eq!(page(store, &[("one", "a@x.io"), ("two", "b@x.io")], "page 2").await, ["one", "two"]);
        store.reopen().await;
        let progress = async |account: &AccountName| store.store().list_progress(account).await.expect("read");
        assert_eq!(progress(&store.account).await.as_deref(), Some("page 2"));
        assert_eq!(progress(&AccountName::from("other".to_owned())).await, None);
        let expected = listed(store, "one", "a@x.io").known;
        let found = memory(store, &["u1", "A@x.io"]).await;
        assert_eq!(found, Memory { by_email: Some(expected), ..Memory::default() }, "no userId owns it");
        assert_eq!(page(store, &[], "page 3").await, [""; 0]);
        assert_eq!(progress(&store.account).await.as_deref(), Some("page 3"));
    })
    .await;
}

#[tokio::test]
async fn a_page_that_is_stored_twice_adds_nobody_twice() {
    every(async |store| {
        assert_eq!(page(store, &[("one", "a@x.io")], "1").await, ["one"]);
        assert_eq!(page(store, &[("one", "a@x.io"), ("two", "b@x.io")], "1").await, ["two"]);
    })
    .await;
}

#[tokio::test]
async fn an_affiliate_known_from_an_event_is_not_changed_by_the_list() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "new@x.io"]))).await;
        // The page was read before the event changed the e-mail.
        assert_eq!(page(store, &[("one", "old@x.io"), ("two", "new@x.io")], "1").await, [""; 0]);
        assert_eq!(code(store, "new@x.io").await, "one");
        assert_eq!(code(store, "old@x.io").await, "nobody");
        assert_eq!(memory(store, &["u1"]).await.by_user_id, Some(known("one")));
    })
    .await;
}

#[tokio::test]
async fn an_event_replaces_the_record_from_the_list() {
    every(async |store| {
        page(store, &[("one", "a@x.io")], "1").await;
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "a@x.io"]))).await;
        let both = Memory { by_user_id: Some(known("one")), by_email: Some(known("one")), ..Memory::default() };
        assert_eq!(memory(store, &["u1", "a@x.io"]).await, both);
        assert!(memory(store, &["u2", "a@x.io"]).await.email_has_other_owner);
    })
    .await;
}

#[tokio::test]
async fn a_page_that_was_read_before_a_delete_brings_nobody_back() {
    every(async |store| {
        page(store, &[("one", "a@x.io"), ("two", "b@x.io"), ("three", "c@x.io")], "1").await;
        let delete = async |name: &str, changes: AffiliateChanges| {
            let seq = accepted(store.try_append(store.event(name, &["of a delete"], 20)).await);
            let changes = AffiliateChanges { deleted_at: Some(Timestamp(15)), ..changes };
            store.store().settle(&store.account, &unit(&[seq]), done(), changes).await.expect("settled");
        };
        delete("d1", forget("one")).await;
        delete("d2", erase(store.keys(&["z@x.io"]))).await;
        store.store().forget(&store.account, &store.keys(&["b@x.io"]), Timestamp(30)).await.expect("forgotten");
        let again = [("one", "a@x.io"), ("two", "b@x.io"), ("six", "z@x.io")];
        assert_eq!(page(store, &again, "2").await, [""; 0]);
        // The affiliate was known without its e-mail: it is the same by its code.
        assert_eq!(page(store, &[("one", "other@x.io"), ("two", "another@x.io")], "2").await, [""; 0]);
        assert_eq!([code(store, "a@x.io").await, code(store, "c@x.io").await], ["nobody", "three"]);
        let before = Retention { deletions: Timestamp(21), ..Retention::default() };
        store.store().compact(before).await.expect("compacted");
        assert_eq!(page(store, &again, "3").await, ["one", "six"], "the moments of these are kept no longer");
    })
    .await;
}

#[tokio::test]
async fn a_listed_affiliate_is_known_to_events_for_known_users_and_is_forgotten_like_any_other() {
    use refersion_destination::store::Appended;
    every(async |store| {
        page(store, &[("one", "a@x.io")], "1").await;
        assert!(matches!(store.append_if_known("x", &["a@x.io"]).await, Appended::Accepted { .. }));
        assert_eq!(store.append_if_known("y", &["b@x.io"]).await, Appended::UnknownUser);
        let keys = store.keys(&["a@x.io"]);
        let forgotten = store.store().forget(&store.account, &keys, Timestamp(5)).await.expect("forgotten");
        assert_eq!((forgotten.affiliates, forgotten.links), (1, 1));
    })
    .await;
}
