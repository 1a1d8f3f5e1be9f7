//! Responses when the store fails, panics or is slow: the store is a stub.

use super::{Surroundings, post, serve_endpoint};
use crate::support::{API_KEY, Answer, basic, http, identify, within};
use async_trait::async_trait;
use futures_util::FutureExt;
use refersion_destination::delivery::Progress;
use refersion_destination::domain::{AccountName, HashKey, SealedKey, Seq, Timestamp, UserKey};
use refersion_destination::scheduling::{Entry, Unit};
use refersion_destination::store::{
    AffiliateChanges, Appended, Begun, DeadLetter, DeadLetters, EventLog, Filter, Forgotten, KeyVault, Maintenance,
    NewEvent, Page, Replay, Settlement, StoreError, StoreStatus,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The result of an append.
#[derive(Clone, Copy)]
enum Appends {
    Well,
    Repeats,
    Error(fn() -> StoreError),
    Nothing,
    Never,
}

/// A store that can only append.
struct Stub {
    hash: HashKey,
    appends: Appends,
    /// One permit of `gate` completes one append; `begun` has a permit for each append that has begun.
    gate: Semaphore,
    begun: Semaphore,
}

impl Stub {
    fn new(appends: Appends, permits: usize) -> Arc<Self> {
        Arc::new(Self {
            hash: HashKey::new(&[7; 32]),
            appends,
            gate: Semaphore::new(permits),
            begun: Semaphore::new(0),
        })
    }
}

#[async_trait]
impl EventLog for Stub {
    fn hash_key(&self) -> &HashKey {
        &self.hash
    }

    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        self.begun.add_permits(1);
        self.gate.acquire().await.expect("open").forget();
        match self.appends {
            Appends::Well => Ok(events.iter().map(|_| Appended::Accepted { seq: Seq(1), pending: 9 }).collect()),
            Appends::Repeats => Ok(events.iter().map(|_| Appended::Duplicate).collect()),
            Appends::Error(error) => Err(error()),
            Appends::Nothing => Ok(Vec::new()),
            Appends::Never => panic!("a bug"),
        }
    }

    async fn read(&self, _: &AccountName, _: Seq, _: usize) -> Result<Vec<Entry>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn begin(&self, _: &AccountName, _: &[Unit]) -> Result<Vec<Option<Begun>>, StoreError> {
        Err(StoreError::Closed)
    }

    fn release(&self, _: &[Seq]) {}

    async fn save_progress(
        &self,
        _: &AccountName,
        _: &Unit,
        _: &Progress,
        _: AffiliateChanges,
    ) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn settle(&self, _: &AccountName, _: &Unit, _: Settlement, _: AffiliateChanges) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl DeadLetters for Stub {
    async fn dead_letters(&self, _: &Filter, _: i64, _: usize) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }

    async fn dead_letter(&self, _: i64) -> Result<Option<DeadLetter>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn replay(&self, _: &[i64]) -> Result<Vec<(i64, Replay)>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn discard(&self, _: &[i64]) -> Result<Vec<i64>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn forget(&self, _: &[UserKey], _: Timestamp) -> Result<Forgotten, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl KeyVault for Stub {
    async fn keep_keys(&self, _: Vec<SealedKey>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn kept_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Maintenance for Stub {
    fn status(&self) -> StoreStatus {
        panic!("a bug")
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    fn pending(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    async fn health(&self, _: &AccountName) -> Result<Option<String>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn save_health(&self, _: &AccountName, _: String) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn compact(&self, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn closed(&self) {}

    async fn close(&self) {}
}

async fn send(address: SocketAddr, body: String) -> Answer {
    post(&format!("http://{address}/segment"), &[("Authorization", &basic(API_KEY))], body).await
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_must_be_sent_again() {
    let one = identify("1", "jo", &json!({}));
    let with_junk = json!([5, one]);
    for (appends, expected) in [
        (Appends::Well, "202 accepted"),
        (
            Appends::Error(|| StoreError::Transient("database or disk is full: peter@example.com".into())),
            "503 unavailable",
        ),
        (Appends::Error(|| StoreError::Closed), "503 unavailable"),
        (Appends::Error(|| StoreError::Full(5)), "429 backlog_full"),
        (Appends::Nothing, "500 error"),
        (Appends::Never, "500 error"),
    ] {
        let address = serve_endpoint(Stub::new(appends, Semaphore::MAX_PERMITS), &Surroundings::default()).await;
        for body in [&one, &with_junk] {
            assert_eq!(send(address, body.to_string()).await.brief(), expected, "{body}");
        }
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_not_a_dropped_connection() {
    let address = serve_endpoint(Stub::new(Appends::Never, 9), &Surroundings::default()).await;
    let answer = Answer::to(http().get(format!("http://{address}/readyz"))).await;
    assert_eq!(answer.brief(), "500 error");
    let answer = send(address, identify("1", "jo", &json!({})).to_string()).await;
    assert_eq!(answer.brief(), "500 error");
    assert!(answer.message().contains("send the event again"));
}

#[tokio::test]
async fn a_service_that_shuts_down_accepts_nothing() {
    let (stub, surroundings) = (Stub::new(Appends::Well, 9), Surroundings::default());
    let address = serve_endpoint(stub.clone(), &surroundings).await;
    surroundings.shutdown.cancel();
    for body in [identify("1", "jo", &json!({})).to_string(), "[]".to_owned(), "{".to_owned()] {
        let answer = send(address, body).await;
        assert_eq!(answer.brief(), "503 unavailable");
        assert_eq!(answer.message(), "this service is shutting down: send the event again");
    }
    assert_eq!(stub.begun.available_permits(), 0);
}

/// A client that disconnects does not cancel an append, and the worker is woken for it.
#[tokio::test]
async fn an_event_whose_client_disconnected_is_appended_and_wakes_the_worker() {
    let (stub, surroundings) = (Stub::new(Appends::Well, 0), Surroundings::default());
    let address = serve_endpoint(stub.clone(), &surroundings).await;
    for body in [identify("1", "jo", &json!({})), json!([identify("2", "jo", &json!({}))])] {
        let sender = tokio::spawn(send(address, body.to_string()));
        within(stub.begun.acquire()).await.expect("open").forget();
        sender.abort();
        assert!(sender.await.is_err_and(|error| error.is_cancelled()));
        stub.gate.add_permits(1);
        within(surroundings.woken.notified()).await;
    }
}

#[tokio::test]
async fn the_worker_is_woken_for_accepted_events_and_not_for_repeats() {
    for (appends, answer, woken) in [(Appends::Well, "202 accepted", true), (Appends::Repeats, "200 duplicate", false)]
    {
        let surroundings = Surroundings::default();
        let address = serve_endpoint(Stub::new(appends, 1), &surroundings).await;
        assert_eq!(send(address, identify("1", "jo", &json!({})).to_string()).await.brief(), answer);
        assert_eq!(surroundings.woken.notified().now_or_never().is_some(), woken, "{answer}");
    }
}
