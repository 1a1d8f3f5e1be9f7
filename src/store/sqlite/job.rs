//! A job of the writer: a closure that runs in a transaction, and a caller that waits for its result.
//!
//! Invariant: the result is sent once, after the commit and after the closure was dropped; a guard in the result is held until
//! then.

use super::write_tx::WriteTx;
use crate::store::StoreError;
use tokio::sync::oneshot;

/// A job of any result type.
pub trait Job: Send {
    /// Runs the job within the current transaction. May be called again after a rollback. Err: the caller must roll back the writes of the
    /// job. A refusal before any write is a result, no error.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), StoreError>;

    /// Sends the result: the transaction has committed, or failed for this reason.
    fn reply(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A closure as a job.
pub struct ClosureJob<T, F> {
    work: F,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> ClosureJob<T, F> {
    /// A job that sends the result of `work` to `reply`.
    pub fn new(work: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work, result: None, reply }
    }
}

impl<T, F> Job for ClosureJob<T, F>
where
    T: Send,
    F: FnMut(&mut WriteTx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
        self.result = None; // guards in the result of an earlier run are released before they are taken again
        match (self.work)(tx) {
            Err(failed @ (StoreError::Transient(_) | StoreError::Corrupt(_) | StoreError::Fatal(_))) => Err(failed),
            result => {
                self.result = Some(result);
                Ok(())
            }
        }
    }

    fn reply(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { work, result, reply } = *self;
        drop(work);
        // Err: the caller has stopped waiting.
        let _ = reply.send(committed.and_then(|()| result.unwrap_or(Err(StoreError::Closed))));
    }
}
