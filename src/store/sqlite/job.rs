//! A job of the writer: work in a transaction, and somebody who waits for its result.
//!
//! Invariant: the result is sent once, after the work (with all that it holds) was dropped, so that what is bound to the end of
//! the work is over for whoever learns of it.

use super::error::JobError;
use super::state::Tx;
use crate::store::StoreError;
use tokio::sync::oneshot;

/// Work for the writer, whatever its result.
pub trait Job: Send {
    /// Runs it within the current transaction. May be called again after that was rolled back.
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;

    /// The transaction has committed, or failed for this reason: sends the result.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A closure as a job.
pub struct Call<T, F> {
    work: F,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Call<T, F> {
    /// Sends the result of `work` to `reply`.
    pub fn new(work: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work, result: None, reply }
    }
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, JobError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        self.result = Some(match (self.work)(tx) {
            Ok(done) => Ok(done),
            Err(JobError::Refused(refusal)) => Err(refusal),
            Err(JobError::Failed(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { work, result, reply } = *self;
        drop(work);
        // Err: nobody waits for the answer any more.
        let _ = reply.send(committed.and_then(|()| result.unwrap_or(Err(StoreError::Closed))));
    }
}
