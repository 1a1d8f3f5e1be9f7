//! What the store does to an answer: a queue of the test's own that fails, panics, or takes its time.

use super::{doors, post};
use crate::support::{API_KEY, Answer, basic, http, identify, within};
use async_trait::async_trait;
use refersion_destination::delivery::Progress;
use refersion_destination::domain::{AccountName, HashKey, SealedKey, Timestamp, UserKey};
use refersion_destination::notice::Notice;
use refersion_destination::queue::{
    Batch, Change, DeadLetter, Depth, Filter, Forgotten, NewEvent, Page, Queue, QueueError, Recorded, Replay,
    Settlement, Ticket,
};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What recording comes to.
#[derive(Clone, Copy)]
enum Records {
    Well,
    Error(fn() -> QueueError),
    Nothing,
    Never,
}

/// A queue of which only the front is there.
struct Stub {
    hash: HashKey,
    records: Records,
    /// One permit lets one recording through; `begun` says that one has come so far.
    gate: Semaphore,
    begun: Semaphore,
}

impl Stub {
    fn new(records: Records, permits: usize) -> Arc<Self> {
        Arc::new(Self {
            hash: HashKey::new(&[7; 32]),
            records,
            gate: Semaphore::new(permits),
            begun: Semaphore::new(0),
        })
    }
}

#[async_trait]
impl Queue for Stub {
    fn hash_key(&self) -> &HashKey {
        &self.hash
    }

    async fn record(&self, events: Vec<NewEvent>) -> Result<Vec<Recorded>, QueueError> {
        self.begun.add_permits(1);
        self.gate.acquire().await.expect("open").forget();
        match self.records {
            Records::Well => Ok(events.iter().map(|_| Recorded::Accepted { behind: true, waiting: 0 }).collect()),
            Records::Error(error) => Err(error()),
            Records::Nothing => Ok(Vec::new()),
            Records::Never => panic!("a bug"),
        }
    }

    async fn claim(&self, _: &AccountName, _: usize, _: Timestamp, _: Duration) -> Result<Batch, QueueError> {
        Err(QueueError::Closed)
    }

    async fn checkpoint(&self, _: &Ticket, _: &Progress, _: Change, _: Timestamp) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }

    async fn settle(&self, _: &Ticket, _: Settlement, _: Change) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }

    async fn mend(&self, _: Timestamp) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        panic!("a bug")
    }

    async fn dead_letters(&self, _: &Filter, _: i64, _: usize) -> Result<Page, QueueError> {
        Err(QueueError::Closed)
    }

    async fn dead_letter(&self, _: i64) -> Result<Option<DeadLetter>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn replay(&self, _: &[i64]) -> Result<Vec<(i64, Replay)>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn discard(&self, _: &[i64]) -> Result<Vec<i64>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn forget(&self, _: &[UserKey], _: Timestamp) -> Result<Forgotten, QueueError> {
        Err(QueueError::Closed)
    }

    async fn keep_keys(&self, _: Vec<SealedKey>) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }

    async fn kept_keys(&self) -> Result<Vec<SealedKey>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn tidy(&self, _: Timestamp) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }

    async fn close(&self) {}
}

async fn send(address: SocketAddr, body: String) -> Answer {
    post(&format!("http://{address}/segment"), &[("Authorization", &basic(API_KEY))], body).await
}

#[tokio::test]
async fn what_cannot_be_recorded_is_to_be_sent_again() {
    let one = identify("1", "jo", &json!({}));
    let with_junk = json!([5, one]);
    for (records, expected) in [
        (Records::Well, "202 accepted"),
        (
            Records::Error(|| QueueError::Failed("database or disk is full: peter@example.com".into())),
            "503 unavailable",
        ),
        (Records::Error(|| QueueError::Closed), "503 unavailable"),
        (Records::Error(|| QueueError::Full(5)), "429 backlog_full"),
        (Records::Nothing, "500 error"),
        (Records::Never, "500 error"),
    ] {
        let address = doors(Stub::new(records, Semaphore::MAX_PERMITS), &Notice::default()).await;
        for body in [&one, &with_junk] {
            assert_eq!(send(address, body.to_string()).await.brief(), expected, "{body}");
        }
    }
}

#[tokio::test]
async fn a_bug_is_a_500_and_not_a_dropped_connection() {
    let address = doors(Stub::new(Records::Never, 9), &Notice::default()).await;
    let answer = Answer::to(http().get(format!("http://{address}/readyz"))).await;
    assert_eq!(answer.brief(), "500 error");
    let answer = send(address, identify("1", "jo", &json!({})).to_string()).await;
    assert_eq!(answer.brief(), "500 error");
    assert!(answer.message().contains("send the event again"));
}

#[tokio::test]
async fn who_is_about_to_stop_takes_nothing_in() {
    let (stub, notice) = (Stub::new(Records::Well, 9), Notice::default());
    let address = doors(stub.clone(), &notice).await;
    notice.drain();
    for body in [identify("1", "jo", &json!({})).to_string(), "[]".to_owned(), "{".to_owned()] {
        let answer = send(address, body).await;
        assert_eq!(answer.brief(), "503 unavailable");
        assert_eq!(answer.message(), "this service is about to stop: send the event again");
    }
    assert_eq!(stub.begun.available_permits(), 0);
}

/// Whoever hangs up does not take back what is being recorded, and the worker must hear of it.
#[tokio::test]
async fn what_is_recorded_after_its_sender_hung_up_is_taken_up_at_once() {
    let (stub, notice) = (Stub::new(Records::Well, 0), Notice::default());
    let address = doors(stub.clone(), &notice).await;
    for body in [identify("1", "jo", &json!({})), json!([identify("2", "jo", &json!({}))])] {
        let sender = tokio::spawn(send(address, body.to_string()));
        within(stub.begun.acquire()).await.expect("open").forget();
        sender.abort();
        assert!(sender.await.is_err_and(|error| error.is_cancelled()));
        stub.gate.add_permits(1);
        within(notice.until_recorded()).await;
    }
}
