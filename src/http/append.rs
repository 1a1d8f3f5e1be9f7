//! Appends events to the event log (the queue of the delivery worker), even if the client disconnects meanwhile.
//!
//! In: events. Out: for each, whether it was appended. Invariant: an append that has begun runs to its end, and then the worker is woken if
//! an event was accepted. It runs in the task of its request, and moves to a separate task when the client disconnects or is answered
//! before, so the usual request needs no second task. Deliberately absent: transactions and group commit, which the store has.

use super::AccountEndpoint;
use super::response::ApiResponse;
use crate::failpoint;
use crate::store::{Appended, NewEvent, StoreError};
use crate::telemetry::traces::{Span, SpanKind, TraceContext};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;

/// The longest time from the receipt to the answer of a request whose API key was verified, whatever the store does. Segment waits 5
/// seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest admission after which an append needs no separate timeout: the store gives an append up after 3 seconds.
const SHORT_ADMISSION: Duration = Duration::from_secs(1);

/// How long a request waits for its append after an admission of this length. `None`: as long as the store itself waits.
pub(super) fn timeout_after(admission: Duration) -> Option<Duration> {
    (admission > SHORT_ADMISSION).then(|| ANSWER_TIMEOUT.saturating_sub(admission))
}

/// Appends `events` and wakes the worker. After the `timeout` the append continues without its caller. Its span belongs to `trace`, and
/// links to the events.
pub(super) async fn append(
    endpoint: &AccountEndpoint,
    events: Vec<NewEvent>,
    trace: Option<TraceContext>,
    timeout: Option<Duration>,
) -> Result<Vec<Appended>, ApiResponse> {
    let (store, wake_worker) = (Arc::clone(&endpoint.store), Arc::clone(&endpoint.wake_worker));
    let meter = endpoint.meter.clone();
    let append = Box::pin(async move {
        failpoint::reach("http::appending");
        let mut span = Span::child_of(trace, "append", SpanKind::Internal);
        if let Some(span) = &mut span {
            span.link(events.iter().map(|event| event.id));
        }
        let appended = store.append(events).await;
        failpoint::reach("http::appended");
        let accepted = |appended: &&Appended| matches!(appended, Appended::Accepted { .. });
        let accepted = appended.iter().flatten().filter(accepted).count();
        end(span, accepted, appended.as_ref().err());
        if accepted > 0 {
            meter.events_appended(accepted);
            wake_worker();
        }
        appended
    });
    let append = CompleteOnDrop(Some(append));
    Ok(match timeout {
        Some(timeout) => tokio::time::timeout(timeout, append).await.map_err(|_| ApiResponse::NotStored)??,
        None => append.await?,
    })
}

fn end(span: Option<Span>, accepted: usize, error: Option<&StoreError>) {
    let Some(mut span) = span else { return };
    span.number("events.accepted", accepted);
    if let Some(error) = error {
        span.fail(error.to_string());
    }
    span.end();
}

type Append = Pin<Box<dyn Future<Output = Result<Vec<Appended>, StoreError>> + Send>>;

/// An append that continues in a separate task if it is dropped before its end.
struct CompleteOnDrop(Option<Append>);

impl Future for CompleteOnDrop {
    type Output = Result<Vec<Appended>, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken out while it is polled: an append that panicked must not continue.
        let Some(mut append) = self.0.take() else { return Poll::Ready(Err(StoreError::Closed)) };
        if let Poll::Ready(appended) = append.as_mut().poll(context) {
            return Poll::Ready(appended);
        }
        self.0 = Some(append);
        Poll::Pending
    }
}

impl Drop for CompleteOnDrop {
    fn drop(&mut self) {
        // Without a runtime the process is ending. The store appends the events that it already has.
        if let (Some(append), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(append);
        }
    }
}
