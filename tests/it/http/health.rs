//! Health, on both listeners.

use super::{decent, doors};
use crate::support::service::Service;
use crate::support::{Answer, http};
use refersion_destination::notice::Notice;
use refersion_destination::queue::Queue;
use refersion_destination::queue::SqliteQueue;
use std::sync::Arc;

async fn ask(url: &str) -> Answer {
    decent_health(Answer::to(http().get(url)).await)
}

/// A probe is not Segment: it is not told when to come again.
fn decent_health(mut answer: Answer) -> Answer {
    if answer.status == 503 {
        assert!(answer.headers.insert("retry-after", "0".parse().expect("a value")).is_none());
    }
    decent(answer)
}

#[tokio::test]
async fn health_is_answered_on_both_listeners_without_credentials() {
    let service = Service::start(&[]).await;
    for root in [service.url(""), format!("http://{}", service.addresses.ops)] {
        assert_eq!(ask(&format!("{root}/healthz")).await.brief(), "200 ok");
        let ready = ask(&format!("{root}/readyz")).await;
        assert_eq!(ready.brief(), "200 ready");
        assert_eq!((&ready.json()["waiting"], &ready.json()["dead_letters"]), (&0.into(), &0.into()));
        let head = Answer::to(http().head(format!("{root}/readyz"))).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
    }
}

#[tokio::test]
async fn who_is_about_to_stop_is_alive_but_not_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let queue = Arc::new(SqliteQueue::open(&folder.path().join("store.db"), 10).expect("opens"));
    let notice = Notice::default();
    let address = doors(queue, &notice).await;
    assert_eq!(ask(&format!("http://{address}/readyz")).await.brief(), "200 ready");
    notice.drain();
    let unready = ask(&format!("http://{address}/readyz")).await;
    assert_eq!(
        (unready.brief().as_str(), unready.message().as_str()),
        ("503 unready", "draining: the service is about to stop")
    );
    assert_eq!(ask(&format!("http://{address}/healthz")).await.brief(), "200 ok");
}

#[tokio::test]
async fn who_cannot_write_is_alive_but_not_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let queue = Arc::new(SqliteQueue::open(&folder.path().join("store.db"), 10).expect("opens"));
    let address = doors(Arc::clone(&queue) as Arc<dyn Queue>, &Notice::default()).await;
    queue.close().await;
    let unready = ask(&format!("http://{address}/readyz")).await;
    let why = "the store cannot be written: the store is closed";
    assert_eq!((unready.brief().as_str(), unready.message().as_str()), ("503 unready", why));
    assert_eq!(ask(&format!("http://{address}/healthz")).await.brief(), "200 ok");
}
