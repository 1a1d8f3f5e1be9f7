//! The task of a connection: keeps a session open and runs jobs in it.
//!
//! In: messages. Out: results. It runs pipelined jobs that wait, up to a number, and then the next of the other jobs, and so on. A pipelined
//! job may run before jobs that were sent earlier, so a caller that needs an order waits for each result. Requests that arrive while a group
//! waits for its locks join it; requests that arrive while it is being committed form the next group. Invariants: no pipelined job runs
//! while a transaction is open; other jobs run one after the other, in their order; no job waits for an unreachable server: after the first
//! failed attempt to reconnect, jobs fail at once until an attempt succeeds. Deliberately absent: the callers ([`super::connection`]),
//! pipelining ([`super::connection_pipelined`]), and the commit of a group ([`super::group_commit`]).

use super::committer::Committer;
use super::connect::Connector;
use super::connection_health::ConnectionHealth;
use super::connection_message::{ConnectionMessage, OrderedMessage, ResultSender};
use super::connection_pipelined::PipelinedJobs;
use super::error::{breaks_session, is_full_disk, store_error, text};
use super::group_commit::Group;
use super::session::Session;
use crate::store::StoreError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use tokio_postgres::Error;

/// The waits between two attempts to connect: each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// See the head of this file.
pub struct ConnectionTask<C: Committer> {
    connector: Arc<Connector>,
    committer: Arc<C>,
    inbox: UnboundedReceiver<ConnectionMessage<C>>,
    health: Arc<ConnectionHealth>,
    /// The pipelined jobs that wait.
    pipelined: PipelinedJobs,
    /// The other messages that wait, in their order.
    waiting: VecDeque<OrderedMessage<C>>,
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

impl<C: Committer> ConnectionTask<C> {
    /// A task that receives its jobs from `inbox`.
    pub fn new(
        connector: Arc<Connector>,
        committer: Arc<C>,
        inbox: UnboundedReceiver<ConnectionMessage<C>>,
        health: Arc<ConnectionHealth>,
    ) -> Self {
        Self { connector, committer, inbox, health, pipelined: PipelinedJobs::default(), waiting: VecDeque::new() }
    }

    /// Runs the jobs that it receives, beginning in this session, until the connection is closed.
    pub async fn run(mut self, first: Session) {
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

    /// Runs the pipelined jobs that wait, and the next job or group; waits for a message if there is none.
    async fn serve(&mut self, session: &Session) -> NextSession {
        self.receive();
        if self.pipelined.is_empty() && self.waiting.is_empty() {
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.sort(message),
                    None => return NextSession::End,
                },
                () = session.ended() => return NextSession::Reconnect,
            }
            self.receive();
        }
        // If the session is known to have ended, the jobs wait for the next one.
        if !session.has_ended() && !self.pipelined.is_empty() {
            let failed = self.pipelined.run(session, self.committer.deadline()).await;
            if !self.may_continue(session, failed) {
                return NextSession::Reconnect;
            }
        }
        if session.has_ended() && !matches!(self.waiting.front(), Some(OrderedMessage::Close)) {
            return NextSession::Reconnect;
        }
        let failed = match self.waiting.pop_front() {
            None => return NextSession::Same,
            Some(OrderedMessage::Close) => return NextSession::End,
            Some(message) if self.is_abandoned(&message) => return NextSession::Same,
            Some(OrderedMessage::Alone(job)) => timeout(self.committer.deadline(), job(session)).await.map_err(|_| ()),
            Some(OrderedMessage::Grouped(request, reply)) => self.commit_with_others(session, request, reply).await,
        };
        if self.may_continue(session, failed) { NextSession::Same } else { NextSession::Reconnect }
    }

    /// Receives the messages that have arrived.
    fn receive(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            self.sort(message);
        }
    }

    fn sort(&mut self, message: ConnectionMessage<C>) {
        match message {
            ConnectionMessage::Pipelined(job) => self.pipelined.push(job),
            ConnectionMessage::Ordered(message) => self.waiting.push_back(message),
        }
    }

    /// Publishes the result of a job, and returns whether the session can be used further.
    fn may_continue(&self, session: &Session, failed: Result<Option<Error>, ()>) -> bool {
        match failed {
            Ok(None) => {
                self.health.clear();
                true
            }
            Ok(Some(error)) => {
                let broken = breaks_session(&error) || session.has_ended();
                if is_full_disk(&error) {
                    self.health.set_full_disk(text(&error));
                } else if broken || matches!(store_error(&error), StoreError::Transient(_)) {
                    self.health.set(text(&error));
                }
                !broken
            }
            Err(()) => {
                self.health.set("PostgreSQL did not answer in time".to_owned());
                false
            }
        }
    }

    /// Whether its caller stopped waiting before it began. The caller got an error, so the message is dropped.
    fn is_abandoned(&self, message: &OrderedMessage<C>) -> bool {
        self.committer.answer_timeout().is_some()
            && matches!(message, OrderedMessage::Grouped(_, reply) if reply.is_closed())
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
        timeout(deadline, group.commit(&committer, session, begun, began)).await.map_err(|_| ())
    }

    /// Adds the waiting requests, up to the first job that may not be committed together with the others.
    fn gather(&mut self, group: &mut Group<C>, joins: impl Fn(&[C::Request], &C::Request) -> bool) {
        self.receive();
        while let Some(message) = self.waiting.pop_front() {
            match message {
                message if self.is_abandoned(&message) => {}
                OrderedMessage::Grouped(request, reply) if joins(&group.requests, &request) => {
                    group.requests.push(request);
                    group.replies.push(reply);
                }
                other => return self.waiting.push_front(other),
            }
        }
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
                    self.health.another_session();
                    return Some(session);
                }
                Err(error) => self.health.set(error.to_string()),
            }
            let is_closed = self.waiting.iter().any(|message| matches!(message, OrderedMessage::Close));
            (self.pipelined, self.waiting) = Default::default(); // they fail
            if is_closed {
                return None;
            }
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
                    None | Some(ConnectionMessage::Ordered(OrderedMessage::Close)) => return None,
                    Some(job) => drop(job),
                },
            }
        }
    }
}
