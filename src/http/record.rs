//! Recording what was taken in, whether or not its sender waits for it.
//!
//! In go events, out comes what became of them. Invariant: once begun it goes on to its end, and the worker hears of what was
//! recorded. It is part of its request as long as somebody waits, which costs nothing, and a task of its own from then on.

use super::Door;
use super::answer::Answer;
use crate::failpoint;
use crate::queue::{NewEvent, QueueError, Recorded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// Records events and tells the worker, even if their sender hangs up meanwhile.
pub(super) async fn record(door: &Door, events: Vec<NewEvent>) -> Result<Vec<Recorded>, Answer> {
    let (queue, notice) = (Arc::clone(&door.queue), door.notice.clone());
    let recording = Recording(Some(Box::pin(async move {
        failpoint::step("http::recording");
        let recorded = queue.record(events).await;
        failpoint::step("http::recorded");
        notice.recorded();
        recorded
    })));
    recording.await
}

type Outcome = Result<Vec<Recorded>, Answer>;
type Work = Pin<Box<dyn Future<Output = Result<Vec<Recorded>, QueueError>> + Send>>;

/// What is being recorded; dropped before its end, it goes on without its request.
struct Recording(Option<Work>);

impl Future for Recording {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        // Taken out, so that a panic leaves nothing to go on with.
        let Some(mut recording) = self.0.take() else { return Poll::Ready(Err(Answer::Bug)) };
        match catch_unwind(AssertUnwindSafe(|| recording.as_mut().poll(context))) {
            Ok(Poll::Ready(recorded)) => Poll::Ready(recorded.map_err(Answer::from)),
            Ok(Poll::Pending) => {
                self.0 = Some(recording);
                Poll::Pending
            }
            Err(_) => Poll::Ready(Err(Answer::Bug)),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Without a runtime the process is about to end: what was handed to the queue is recorded all the same.
        if let (Some(recording), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(recording);
        }
    }
}
