//! Promise 11: sealed API keys are kept as they are passed in, one for each account.

use super::engine::{TestStore, every};
use refersion_destination::domain::{AccountName, SealedApiKey};
use refersion_destination::store::StoreError;

fn sealed(account: &str, blob: &[u8]) -> SealedApiKey {
    SealedApiKey { account: AccountName::from(account.to_owned()), blob: blob.to_vec() }
}

async fn kept(store: &TestStore) -> Vec<SealedApiKey> {
    let mut kept = store.store().kept_api_keys().await.expect("kept");
    kept.sort_by(|a, b| a.account.cmp(&b.account));
    kept
}

#[tokio::test]
async fn a_kept_key_is_there_after_a_restart_and_the_later_one_of_an_account_counts() {
    every(async |store| {
        assert_eq!(kept(store).await, []);
        let (a, b) = (sealed("a", b"\0 one"), sealed("b", b"two"));
        store.store().keep_api_keys(vec![a.clone(), b]).await.expect("kept");
        let other = sealed("b", b"three");
        store.store().keep_api_keys(vec![other.clone()]).await.expect("kept");
        store.reopen().await;
        assert_eq!(kept(store).await, [a, other]);
        store.store().close().await;
        assert_eq!(store.store().keep_api_keys(vec![sealed("c", b"")]).await, Err(StoreError::Closed));
    })
    .await;
}

#[tokio::test]
async fn a_removed_key_is_gone_after_a_restart_and_the_others_stay() {
    every(async |store| {
        let (a, b) = (sealed("a", b"one"), sealed("b", b"two"));
        store.store().keep_api_keys(vec![a.clone(), b.clone()]).await.expect("kept");
        let remove = async |name: &str| store.store().remove_api_key(&AccountName::from(name.to_owned())).await;
        assert_eq!((remove("b").await, remove("b").await, remove("c").await), (Ok(true), Ok(false), Ok(false)));
        store.reopen().await;
        assert_eq!(kept(store).await, std::slice::from_ref(&a));
        store.store().keep_api_keys(vec![b.clone()]).await.expect("kept");
        assert_eq!(kept(store).await, [a, b], "it may come again");
    })
    .await;
}

#[tokio::test]
async fn all_api_keys_that_are_handed_in_together_are_kept_or_none() {
    let (store, outside) = TestStore::sqlite();
    store.store().keep_api_keys(vec![sealed("a", b"1"), sealed("b", b"1")]).await.expect("kept");
    let before = kept(&store).await;
    let no_b =
        "CREATE TRIGGER no_b BEFORE UPDATE ON sealed_keys WHEN new.account = 'b' BEGIN SELECT raise(FAIL, 'no'); END";
    outside.connection().execute_batch(no_b).expect("made");
    let failed = store.store().keep_api_keys(vec![sealed("a", b"2"), sealed("b", b"2"), sealed("c", b"2")]).await;
    assert!(matches!(failed, Err(StoreError::Fatal(_))), "{failed:?}");
    assert_eq!(kept(&store).await, before);
}
