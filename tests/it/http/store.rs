//! Responses when the store fails, panics or is slow: the store is a stub.

use super::{Surroundings, post, router, serve_endpoint};
use crate::fuzz::properties::append_only_store::{Append, AppendOnlyStore};
use crate::support::{API_KEY, Answer, basic, http, identify, within};
use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use futures_util::{FutureExt, StreamExt};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use refersion_destination::domain::{AccountName, EventId, Seq};
use refersion_destination::store::{Appended, EventLog as _, NewEvent, StoreError, StoreStatus};
use serde_json::json;
use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
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

/// Appends as the test says.
struct Stub {
    appends: Appends,
    /// One permit of `may_complete` completes one append; `begun` has a permit for each append that has begun.
    may_complete: Semaphore,
    begun: Semaphore,
}

impl Stub {
    /// A store that appends like this.
    fn store(appends: Appends, permits: usize) -> Arc<AppendOnlyStore<Self>> {
        let (may_complete, begun) = (Semaphore::new(permits), Semaphore::new(0));
        Arc::new(AppendOnlyStore::new(Self { appends, may_complete, begun }))
    }
}

#[async_trait]
impl Append for Stub {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        self.begun.add_permits(1);
        self.may_complete.acquire().await.expect("open").forget();
        match self.appends {
            Appends::Well => Ok(events.iter().map(|_| Appended::Accepted { seq: Seq(1), pending: 9 }).collect()),
            Appends::Repeats => Ok(events.iter().map(|_| Appended::Duplicate).collect()),
            Appends::Error(error) => Err(error()),
            Appends::Nothing => Ok(Vec::new()),
            Appends::Never => panic!("a bug"),
        }
    }

    fn status(&self) -> StoreStatus {
        panic!("a bug")
    }
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
        (Appends::Error(|| StoreError::BacklogFull(5)), "429 backlog_full"),
        (Appends::Error(|| StoreError::ExceedsBacklog(5)), "413 too_large"),
        (Appends::Nothing, "500 error"),
        (Appends::Never, "500 error"),
    ] {
        let address = serve_endpoint(Stub::store(appends, Semaphore::MAX_PERMITS), &Surroundings::default()).await;
        for body in [&one, &with_junk] {
            assert_eq!(send(address, body.to_string()).await.brief(), expected, "{body}");
        }
    }
}

/// If nothing of an array could be stored, all of it comes again: then it is answered, and recorded.
#[tokio::test]
async fn an_event_that_must_be_sent_again_is_not_recorded_as_refused() {
    let with_junk = json!([5, identify("1", "jo", &json!({}))]).to_string();
    for (appends, recorded) in [(Appends::Well, true), (Appends::Error(|| StoreError::BacklogFull(5)), false)] {
        let stub = Stub::store(appends, 9);
        let address = serve_endpoint(stub.clone(), &Surroundings::default()).await;
        send(address, with_junk.clone()).await;
        assert_eq!(stub.recorded.recorded().now_or_never().is_some(), recorded);
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_not_a_dropped_connection() {
    let address = serve_endpoint(Stub::store(Appends::Never, 9), &Surroundings::default()).await;
    let answer = Answer::to(http().get(format!("http://{address}/readyz"))).await;
    assert_eq!(answer.brief(), "500 error");
    let answer = send(address, identify("1", "jo", &json!({})).to_string()).await;
    assert_eq!(answer.brief(), "500 error");
    assert!(answer.message().contains("send the event again"));
}

/// Records the ids of events.
#[derive(Default)]
struct Ids(Mutex<Vec<(EventId, Option<EventId>)>>);

#[async_trait]
impl Append for Ids {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        self.0.lock().expect("no panic").extend(events.iter().map(|event| (event.id, event.former_id)));
        Ok(events.iter().map(|_| Appended::Accepted { seq: Seq(1), pending: 9 }).collect())
    }
}

#[tokio::test]
async fn a_delete_has_an_id_of_its_message_id_and_user_and_the_id_it_had_before() {
    let store = Arc::new(AppendOnlyStore::new(Ids::default()));
    let address = serve_endpoint(store.clone(), &Surroundings::default()).await;
    let delete = |user: &str| json!({"type": "delete", "messageId": "1", "userId": user});
    let without_id = json!({"type": "delete", "userId": "jo"});
    let events = json!([identify("1", "jo", &json!({})), delete("jo"), delete("al"), without_id]);
    send(address, events.to_string()).await;
    let by_message_id = store.hash_key().event_by_message_id(&AccountName::main(), "1");
    let ids = store.inner.0.lock().expect("no panic").clone();
    let former: Vec<_> = ids.iter().map(|(_, former)| *former).collect();
    assert_eq!(former, [None, Some(by_message_id), Some(by_message_id), None]);
    assert_eq!(ids[0].0, by_message_id);
    assert_eq!(ids.iter().map(|(id, _)| *id).collect::<HashSet<_>>().len(), 4);
}

/// An event that arrives in part, and no further: the response comes when the time for the body is over, and not later.
#[tokio::test(start_paused = true)]
async fn a_body_that_takes_too_long_is_a_503_after_15_seconds() {
    let stub = Stub::store(Appends::Well, 9);
    let service = TowerToHyperService::new(router(stub.clone(), &Surroundings::default()));
    let part: Result<&[u8], Infallible> = Ok(br#"{"type":"#);
    let body = Body::from_stream(futures_util::stream::iter([part]).chain(futures_util::stream::pending()));
    let request = Request::post("/segment").header("Authorization", basic(API_KEY)).body(body).expect("a request");
    let begun = tokio::time::Instant::now();
    let response = service.call(request).await.expect("answered");
    assert_eq!(response.status(), 503);
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(stub.inner.begun.available_permits(), 0);
}

#[tokio::test]
async fn a_service_that_shuts_down_accepts_nothing() {
    let (stub, surroundings) = (Stub::store(Appends::Well, 9), Surroundings::default());
    let address = serve_endpoint(stub.clone(), &surroundings).await;
    surroundings.shutdown.cancel();
    for body in [identify("1", "jo", &json!({})).to_string(), "[]".to_owned(), "{".to_owned()] {
        let answer = send(address, body).await;
        assert_eq!(answer.brief(), "503 unavailable");
        assert_eq!(answer.message(), "this service is shutting down: send the event again");
    }
    assert_eq!(stub.inner.begun.available_permits(), 0);
}

/// A client that disconnects does not cancel an append, and the worker is woken for it.
#[tokio::test]
async fn an_event_is_appended_and_wakes_the_worker_although_its_client_disconnected() {
    let (stub, surroundings) = (Stub::store(Appends::Well, 0), Surroundings::default());
    let address = serve_endpoint(stub.clone(), &surroundings).await;
    for body in [identify("1", "jo", &json!({})), json!([identify("2", "jo", &json!({}))])] {
        let sender = tokio::spawn(send(address, body.to_string()));
        within(stub.inner.begun.acquire()).await.expect("open").forget();
        sender.abort();
        assert!(sender.await.is_err_and(|error| error.is_cancelled()));
        stub.inner.may_complete.add_permits(1);
        within(surroundings.woken.notified()).await;
    }
}

#[tokio::test]
async fn the_worker_is_woken_for_accepted_events_and_not_for_repeats() {
    for (appends, answer, woken) in [(Appends::Well, "202 accepted", true), (Appends::Repeats, "200 duplicate", false)]
    {
        let surroundings = Surroundings::default();
        let address = serve_endpoint(Stub::store(appends, 1), &surroundings).await;
        assert_eq!(send(address, identify("1", "jo", &json!({})).to_string()).await.brief(), answer);
        assert_eq!(surroundings.woken.notified().now_or_never().is_some(), woken, "{answer}");
    }
}
