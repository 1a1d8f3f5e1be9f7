//! A job of the writer: a closure that runs in a transaction, and a caller that waits for its result.
//!
//! Invariant: the result is sent once, after the closure and everything it owns was dropped: guards that it holds are released
//! before the caller goes on.

use super::error::JobError;
use super::writer_state::WriteTx;
use crate::store::StoreError;
use tokio::sync::oneshot;

/// A job of any result type.
pub trait Job: Send {
    /// Runs it within the current transaction. May be called again after that was rolled back.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> rusqlite::Result<()>;

    /// The transaction has committed, or failed for this reason: sends the result.
    fn reply(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A closure as a job.
pub struct ClosureJob<T, F> {
    work: F,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> ClosureJob<T, F> {
    /// Sends the result of `work` to `reply`.
    pub fn new(work: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work, result: None, reply }
    }
}

impl<T, F> Job for ClosureJob<T, F>
where
    T: Send,
    F: FnMut(&mut WriteTx<'_>) -> Result<T, JobError> + Send,
{
    fn run(&mut self, tx: &mut WriteTx<'_>) -> rusqlite::Result<()> {
        self.result = Some(match (self.work)(tx) {
            Ok(done) => Ok(done),
            Err(JobError::Refused(refusal)) => Err(refusal),
            Err(JobError::Failed(error)) => return Err(error),
        });
        Ok(())
    }

    fn reply(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { work, result, reply } = *self;
        drop(work);
        // Err: the caller has gone.
        let _ = reply.send(committed.and_then(|()| result.unwrap_or(Err(StoreError::Closed))));
    }
}
