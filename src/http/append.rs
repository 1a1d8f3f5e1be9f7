//! Appending events to the log, whether or not their sender still waits.
//!
//! In go events, out comes what became of them. Invariant: once begun it goes on to its end, and the worker is woken for what was
//! appended. It runs in its request's task as long as the sender waits, and in a task of its own if the sender hangs up.
//! Deliberately absent: transactions and group commit, which are the store's.

use super::AccountEndpoint;
use super::answer::Answer;
use crate::failpoint;
use crate::store::{Appended, NewEvent, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// Appends events and wakes the worker, even if their sender hangs up meanwhile.
pub(super) async fn append(endpoint: &AccountEndpoint, events: Vec<NewEvent>) -> Result<Vec<Appended>, Answer> {
    let (store, wake) = (Arc::clone(&endpoint.store), Arc::clone(&endpoint.wake_worker));
    let appending = Appending(Some(Box::pin(async move {
        failpoint::step("http::appending");
        let appended = store.append(events).await;
        failpoint::step("http::appended");
        wake();
        appended
    })));
    appending.await
}

type Outcome = Result<Vec<Appended>, Answer>;
type Work = Pin<Box<dyn Future<Output = Result<Vec<Appended>, StoreError>> + Send>>;

/// An append under way; dropped before its end, it goes on without its request.
struct Appending(Option<Work>);

impl Future for Appending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        // Taken out, so that a panic leaves nothing to go on with.
        let Some(mut appending) = self.0.take() else { return Poll::Ready(Err(Answer::Bug)) };
        match catch_unwind(AssertUnwindSafe(|| appending.as_mut().poll(context))) {
            Ok(Poll::Ready(appended)) => Poll::Ready(appended.map_err(Answer::from)),
            Ok(Poll::Pending) => {
                self.0 = Some(appending);
                Poll::Pending
            }
            Err(_) => Poll::Ready(Err(Answer::Bug)),
        }
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        // Without a runtime the process is about to end: what was handed to the store is appended all the same.
        if let (Some(appending), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(appending);
        }
    }
}
