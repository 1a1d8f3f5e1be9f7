//! A connection: a task that keeps a session open and runs jobs in it, one after the other.
//!
//! In: requests, which are committed in groups (group commit), and single jobs of any kind. Out: their results. Requests that arrive while
//! a group waits for its locks join it; requests that arrive while it is being committed form the next group. If a group fails for good,
//! each of its requests is committed in a separate transaction, so that a bad request fails alone. Invariants: a job's result is sent after
//! its commit; when the session breaks, the jobs that were sent to it fail, and PostgreSQL may have committed them; no job waits for an
//! unreachable server: after the first failed attempt to reconnect, jobs fail at once until an attempt succeeds; no caller waits longer
//! than [`Committer::answer_timeout`] for a silent server. Deliberately absent: the content of a request ([`Committer`]), and repeating a
//! request.

use super::accounts::Locked;
use super::committer::Committer;
use super::connect::Connector;
use super::connection_health::ConnectionHealth;
use super::error::{JobError, breaks_session, store_error, text};
use super::session::Session;
use crate::store::{Commit, StoreError};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// The waits between two attempts to connect: each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The handle of the task. When it is dropped, the task ends after the jobs that were sent.
pub struct Connection<C: Committer> {
    messages: UnboundedSender<ConnectionMessage<C>>,
    health: Arc<ConnectionHealth>,
    answer_timeout: Option<Duration>,
}

/// Requests, and the receivers of their results.
struct Group<C: Committer> {
    requests: Vec<C::Request>,
    replies: Vec<ResultSender<C>>,
}

type ResultSender<C> = oneshot::Sender<Result<<C as Committer>::Output, StoreError>>;
type Alone = Box<dyn for<'s> FnOnce(&'s Session) -> BoxFuture<'s, Option<Error>> + Send>;

enum ConnectionMessage<C: Committer> {
    Grouped(C::Request, ResultSender<C>),
    Alone(Alone),
    Close,
}

impl<C: Committer> Connection<C> {
    /// Starts the task with an open session. `name` is the name of the connection in the logs.
    pub fn start(name: &'static str, connector: Arc<Connector>, session: Session, committer: Arc<C>) -> Self {
        let (messages, inbox) = unbounded_channel();
        let (health, answer_timeout) = (Arc::new(ConnectionHealth::new(name)), committer.answer_timeout());
        let task = Task { connector, committer, inbox, health: Arc::clone(&health), next: None };
        tokio::spawn(task.run(session));
        Self { messages, health, answer_timeout }
    }

    /// Commits a request.
    pub async fn commit(&self, request: C::Request) -> Result<C::Output, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(ConnectionMessage::Grouped(request, reply))?;
        let answer = async { answer.await.unwrap_or_else(|_| Err(self.lost())) };
        let Some(limit) = self.answer_timeout else { return answer.await };
        timeout(limit, answer).await.unwrap_or_else(|_| {
            let silent = format!("PostgreSQL did not answer within {limit:?}");
            self.health.set(silent.clone());
            Err(StoreError::Transient(silent))
        })
    }

    /// Runs `work` in the session, outside of any transaction.
    pub async fn run<T, E, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: Into<JobError> + 'static,
        W: for<'s> FnOnce(&'s Session) -> BoxFuture<'s, Result<T, E>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Alone = Box::new(move |session| {
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
        self.send(ConnectionMessage::Alone(job))?;
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

    /// The error of the last job or attempt to connect, if it failed.
    pub fn failure(&self) -> Option<String> {
        self.health.failure()
    }

    /// The number of sessions so far.
    pub fn sessions(&self) -> u64 {
        self.health.sessions()
    }

    /// Whether the task has ended.
    pub fn is_closed(&self) -> bool {
        self.messages.is_closed()
    }

    /// Finishes all jobs that were sent and ends the task.
    pub async fn close(&self) {
        let _ = self.send(ConnectionMessage::Close); // Err: it has ended already
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
        StoreError::Transient(self.failure().unwrap_or_else(|| "the connection to PostgreSQL broke".to_owned()))
    }
}

impl<C: Committer> std::fmt::Debug for Connection<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("health", &self.health).finish_non_exhaustive()
    }
}

struct Task<C: Committer> {
    connector: Arc<Connector>,
    committer: Arc<C>,
    inbox: UnboundedReceiver<ConnectionMessage<C>>,
    health: Arc<ConnectionHealth>,
    /// A message that was received while a group was gathered, and does not belong to it.
    next: Option<ConnectionMessage<C>>,
}

/// How the task continues.
enum NextSession {
    /// With the same session.
    Same,
    /// With another session, because this one broke.
    Reconnect,
    /// It ends.
    End,
}

impl<C: Committer> Task<C> {
    async fn run(mut self, first: Session) {
        let mut session = first;
        loop {
            match self.serve(&session).await {
                NextSession::Same => {}
                NextSession::End => return,
                NextSession::Reconnect => {
                    drop(session);
                    let Some(another) = self.reconnect().await else { return };
                    session = another;
                }
            }
        }
    }

    /// Runs the next job or group.
    async fn serve(&mut self, session: &Session) -> NextSession {
        let message = if let Some(message) = self.next.take() {
            Some(message)
        } else {
            tokio::select! {
                message = self.inbox.recv() => message,
                () = session.ended() => return NextSession::Reconnect,
            }
        };
        let failed = match message {
            None | Some(ConnectionMessage::Close) => return NextSession::End,
            // The session is known to have ended: the job waits for the next one.
            Some(message) if session.has_ended() => {
                self.next = Some(message);
                return NextSession::Reconnect;
            }
            Some(message) if self.is_abandoned(&message) => return NextSession::Same,
            Some(ConnectionMessage::Alone(job)) => {
                timeout(self.committer.deadline(), job(session)).await.map_err(|_| ())
            }
            Some(ConnectionMessage::Grouped(request, reply)) => self.commit_with_others(session, request, reply).await,
        };
        match failed {
            Ok(None) => {
                self.health.clear();
                NextSession::Same
            }
            Ok(Some(error)) => {
                let broken = breaks_session(&error) || session.has_ended();
                if broken || matches!(store_error(&error), StoreError::Transient(_)) {
                    self.health.set(text(&error));
                }
                if broken { NextSession::Reconnect } else { NextSession::Same }
            }
            Err(()) => {
                self.health.set("PostgreSQL did not answer in time".to_owned());
                NextSession::Reconnect
            }
        }
    }

    /// Whether its caller stopped waiting before it began. The caller got an error, so the message is dropped.
    fn is_abandoned(&self, message: &ConnectionMessage<C>) -> bool {
        self.committer.answer_timeout().is_some()
            && matches!(message, ConnectionMessage::Grouped(_, reply) if reply.is_closed())
    }

    /// Commits a request together with waiting ones: those that arrived before the transaction began, then those that arrived while it
    /// waited for locks. Err: it took too long.
    async fn commit_with_others(
        &mut self,
        session: &Session,
        request: C::Request,
        reply: ResultSender<C>,
    ) -> Result<Option<Error>, ()> {
        let (committer, deadline) = (Arc::clone(&self.committer), self.committer.deadline());
        let mut group = Group { requests: vec![request], replies: vec![reply] };
        self.gather(&mut group, |requests, next| committer.joins(requests, next));
        let began = Instant::now();
        let begun = timeout(deadline, committer.begin(session, &group.requests)).await.map_err(|_| ())?;
        if let Ok(locked) = &begun {
            self.gather(&mut group, |requests, next| committer.joins_begun(locked, requests, next));
        }
        let commit = Self::commit(&committer, session, group, (begun, began));
        timeout(deadline, commit).await.map_err(|_| ())
    }

    /// Adds the waiting requests, up to the first one that may not be committed together with the others.
    fn gather(&mut self, group: &mut Group<C>, joins: impl Fn(&[C::Request], &C::Request) -> bool) {
        while self.next.is_none() {
            match self.inbox.try_recv() {
                Ok(message) if self.is_abandoned(&message) => {}
                Ok(ConnectionMessage::Grouped(request, reply)) if joins(&group.requests, &request) => {
                    group.requests.push(request);
                    group.replies.push(reply);
                }
                Ok(other) => self.next = Some(other),
                Err(_) => return,
            }
        }
    }

    /// Commits a group whose transaction has begun, and replies. If it failed for good, each of its requests is committed alone. Returns
    /// the last failure.
    async fn commit(
        committer: &C,
        session: &Session,
        group: Group<C>,
        (begun, began): (Result<Locked, Error>, Instant),
    ) -> Option<Error> {
        let Group { requests, replies } = group;
        let mut failed = match Self::commit_begun(committer, session, begun, &requests).await {
            Ok(answers) => {
                committer.observer().committed(Commit { requests: requests.len(), took: began.elapsed() });
                for (reply, answer) in replies.into_iter().zip(answers) {
                    let _ = reply.send(answer); // Err: the caller has stopped waiting
                }
                return None;
            }
            Err(error) => error,
        };
        // The right to one table may be missing, which only some requests need.
        let lacks_right = |error: &Error| error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        let is_lasting = |error: &Error| {
            matches!(store_error(error), StoreError::Transient(_)) && !lacks_right(error) || session.has_ended()
        };
        let alone = requests.len() == 1;
        for (request, reply) in requests.into_iter().zip(replies) {
            let answer = if alone || is_lasting(&failed) {
                Err(store_error(&failed))
            } else {
                let request = [request];
                let begun = committer.begin(session, &request).await;
                match Self::commit_begun(committer, session, begun, &request).await {
                    Ok(mut answers) => answers.pop().unwrap_or(Err(StoreError::Closed)),
                    Err(error) => {
                        failed = error;
                        Err(store_error(&failed))
                    }
                }
            };
            let _ = reply.send(answer); // Err: the caller has stopped waiting
        }
        Some(failed)
    }

    /// Commits a group if its transaction has begun. Err: it has not, or it is rolled back; no request took effect.
    async fn commit_begun(
        committer: &C,
        session: &Session,
        begun: Result<Locked, Error>,
        requests: &[C::Request],
    ) -> Result<Vec<Result<C::Output, StoreError>>, Error> {
        let committed = committer.commit(session, &begun?, requests).await;
        if committed.is_err() {
            session.roll_back().await;
        }
        committed
    }

    /// Connects again, however long that takes. Jobs wait for the first attempt; after it has failed, every job fails. `None`: the
    /// connection was closed.
    async fn reconnect(&mut self) -> Option<Session> {
        let connector = Arc::clone(&self.connector);
        let mut connected = connector.connect().await;
        let mut wait = FIRST_WAIT;
        loop {
            match connected {
                Ok(session) => {
                    self.health.clear();
                    self.health.another_session();
                    return Some(session);
                }
                Err(error) => self.health.set(error.to_string()),
            }
            self.next = None; // it fails
            self.fail_jobs_until(sleep(wait)).await?;
            connected = self.fail_jobs_until(connector.connect()).await?;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Makes every job fail with the reason until `done`. `None`: the connection was closed.
    async fn fail_jobs_until<T>(&mut self, done: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(done);
        loop {
            tokio::select! {
                biased;
                done = &mut done => return Some(done),
                message = self.inbox.recv() => match message {
                    None | Some(ConnectionMessage::Close) => return None,
                    Some(job) => drop(job),
                },
            }
        }
    }
}
