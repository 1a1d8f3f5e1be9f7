//! A connection: the handle of a task ([`ConnectionTask`]) that keeps a session open and runs jobs in it.
//!
//! In: requests, which are committed in groups (group commit), jobs of autocommit statements, and jobs of any kind. Out: their results.
//! Invariants: a job's result is sent after its commit; a job that was sent to a session that broke fails, and PostgreSQL may have committed
//! it; no caller waits longer than [`Committer::answer_timeout`] for a silent server. Deliberately absent: the content of a request
//! ([`Committer`]), and repeating a request.

use super::committer::Committer;
use super::connect::Connector;
use super::connection_health::ConnectionHealth;
use super::connection_message::{ConnectionMessage, Job, OrderedMessage, PipelinedJob};
use super::connection_task::ConnectionTask;
use super::error::{JobError, store_error};
use super::session::Session;
use crate::store::StoreError;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_util::sync::CancellationToken;

/// The handle of the task. When it is dropped, the task ends after the jobs that were sent.
pub struct Connection<C: Committer> {
    messages: UnboundedSender<ConnectionMessage<C>>,
    health: Arc<ConnectionHealth>,
    answer_timeout: Option<Duration>,
}

impl<C: Committer> Connection<C> {
    /// Starts the task with an open session. `name` is the name of the connection in the logs.
    pub fn start(name: &'static str, connector: Arc<Connector>, session: Session, committer: Arc<C>) -> Self {
        let (messages, inbox) = unbounded_channel();
        let (health, answer_timeout) = (Arc::new(ConnectionHealth::new(name)), committer.answer_timeout());
        tokio::spawn(ConnectionTask::new(connector, committer, inbox, Arc::clone(&health)).run(session));
        Self { messages, health, answer_timeout }
    }

    /// Commits a request.
    pub async fn commit(&self, request: C::Request) -> Result<C::Output, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(ConnectionMessage::Ordered(OrderedMessage::Grouped(request, reply)))?;
        let answer = async { answer.await.unwrap_or_else(|_| Err(self.lost())) };
        let Some(limit) = self.answer_timeout else { return answer.await };
        timeout(limit, answer).await.unwrap_or_else(|_| {
            // The last failure, if there was one, says more: for instance, that the wait for a lock ended.
            Err(StoreError::Transient(self.health.failure().unwrap_or_else(|| {
                let silent = format!("PostgreSQL did not answer within {limit:?}");
                self.health.set(silent.clone());
                silent
            })))
        })
    }

    /// Runs `work`, whose statements are all outside of transactions (autocommit), beside all other such work that waits meanwhile, and
    /// maybe before jobs that were sent earlier.
    pub async fn pipelined<T, E, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: Into<JobError> + 'static,
        W: for<'s> FnOnce(&'s Session) -> BoxFuture<'s, Result<T, E>> + Send + 'static,
    {
        let abandoned = CancellationToken::new();
        let _cancel_at_end = abandoned.clone().drop_guard();
        self.result_of(work, |job| ConnectionMessage::Pipelined(PipelinedJob { job, abandoned })).await
    }

    /// Runs `work` in the session while nothing else runs there, outside of any transaction.
    pub async fn run<T, E, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: Into<JobError> + 'static,
        W: for<'s> FnOnce(&'s Session) -> BoxFuture<'s, Result<T, E>> + Send + 'static,
    {
        self.result_of(work, |job| ConnectionMessage::Ordered(OrderedMessage::Alone(job))).await
    }

    async fn result_of<T, E, W>(
        &self,
        work: W,
        message: impl FnOnce(Job) -> ConnectionMessage<C> + Send,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: Into<JobError> + 'static,
        W: for<'s> FnOnce(&'s Session) -> BoxFuture<'s, Result<T, E>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            Box::pin(async move {
                let (result, error) = match work(session).await.map_err(Into::into) {
                    Ok(done) => (Ok(done), None),
                    Err(JobError::Refused(error)) => (Err(error), None),
                    Err(JobError::Failed(error)) => (Err(store_error(&error)), Some(error)),
                };
                let _ = reply.send(result); // Err: the caller has stopped waiting
                error
            })
        });
        self.send(message(job))?;
        answer.await.unwrap_or_else(|_| Err(self.lost()))
    }

    /// Runs `work` in a separate transaction: committed if it succeeds, rolled back if the job fails.
    pub async fn transaction<T, E, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: From<Error> + Into<JobError> + Send + 'static,
        W: for<'s> FnOnce(&'s Session) -> BoxFuture<'s, Result<T, E>> + Send + 'static,
    {
        self.run(move |session| Box::pin(session.transaction(work(session)))).await
    }

    /// The health of the connection.
    pub fn health(&self) -> &Arc<ConnectionHealth> {
        &self.health
    }

    /// Whether the task has ended.
    pub fn is_closed(&self) -> bool {
        self.messages.is_closed()
    }

    /// Finishes all jobs that were sent and ends the task; if the session has ended, they fail.
    pub async fn close(&self) {
        let _ = self.send(ConnectionMessage::Ordered(OrderedMessage::Close)); // Err: it has ended already
        self.closed().await;
    }

    /// Returns when the task has ended.
    pub async fn closed(&self) {
        self.messages.closed().await;
    }

    fn send(&self, message: ConnectionMessage<C>) -> Result<(), StoreError> {
        self.messages.send(message).map_err(|_| StoreError::Closed)
    }

    /// The error for a job that was dropped without a result.
    fn lost(&self) -> StoreError {
        if self.is_closed() {
            return StoreError::Closed;
        }
        StoreError::Transient(self.health.failure().unwrap_or_else(|| "the connection to PostgreSQL broke".to_owned()))
    }
}

impl<C: Committer> std::fmt::Debug for Connection<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("health", &self.health).finish_non_exhaustive()
    }
}
