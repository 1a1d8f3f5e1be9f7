//! The messages to the task of a connection ([`super::connection_task`]): pipelined jobs, and what runs in the order in which it was sent.
//!
//! Deliberately absent: running them.

use super::committer::Committer;
use super::session::Session;
use crate::store::StoreError;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_postgres::Error;
use tokio_util::sync::CancellationToken;

/// Receives the result of a request.
pub type ResultSender<C> = oneshot::Sender<Result<<C as Committer>::Output, StoreError>>;
/// A job: returns PostgreSQL's error, if there was one.
pub type Job = Box<dyn for<'s> FnOnce(&'s Session) -> BoxFuture<'s, Option<Error>> + Send>;

/// What the task is asked for.
pub enum ConnectionMessage<C: Committer> {
    /// A job of autocommit statements. It may run before jobs that were sent earlier.
    Pipelined(PipelinedJob),
    /// What runs in the order in which it was sent.
    Ordered(OrderedMessage<C>),
}

/// A job of autocommit statements, which runs beside other such jobs.
pub struct PipelinedJob {
    /// The statements, outside of any transaction.
    pub job: Job,
    /// Cancelled when the caller has stopped waiting. A job that has not begun by then is dropped.
    pub abandoned: CancellationToken,
}

/// What runs in the order in which it was sent.
pub enum OrderedMessage<C: Committer> {
    /// A request, which is committed together with others.
    Grouped(C::Request, ResultSender<C>),
    /// A job of any kind, beside which nothing runs.
    Alone(Job),
    /// The end, after the jobs that were sent before; if the session has ended by then, they fail.
    Close,
}
