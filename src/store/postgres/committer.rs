//! The trait of requests that a connection commits in groups, with their timeouts.
//!
//! Appending and settling implement it ([`super::append`], [`super::settle`]). Deliberately absent: the connection, which gathers the
//! groups ([`super::connection`]).

use super::accounts::Locked;
use super::session::Session;
use crate::store::{CommitObserver, StoreError};
use async_trait::async_trait;
use std::time::Duration;
use tokio_postgres::Error;

/// How long a job may take, including waits for locks, unless its connection sets another deadline ([`Committer::deadline`]). Then its
/// session is given up. The server cancels earlier.
const DEADLINE: Duration = Duration::from_secs(15);

/// Commits requests of one kind in groups.
#[async_trait]
pub trait Committer: Send + Sync + 'static {
    /// A request.
    type Request: Send + Sync + 'static;
    /// Its result.
    type Output: Send + 'static;

    /// Receives every commit.
    fn observer(&self) -> &CommitObserver;

    /// How long the caller of a request waits for its answer. Then the request fails for the caller, and may be committed nevertheless.
    /// `None`: until there is an answer.
    fn answer_timeout(&self) -> Option<Duration> {
        None
    }

    /// How long a transaction may wait for its locks, how long it may take then, how long a single job may take, and how long
    /// pipelined jobs wait for the next answer to any of them. It must be longer than the timeouts of the server, so that only a silent
    /// server is given up.
    fn deadline(&self) -> Duration {
        DEADLINE
    }

    /// Whether `next` may be committed together with `group`.
    fn joins(&self, group: &[Self::Request], next: &Self::Request) -> bool;

    /// Begins the transaction of a group, and locks the rows of its accounts.
    async fn begin(&self, session: &Session, group: &[Self::Request]) -> Result<Locked, Error>;

    /// Whether `next` may be committed together with `group`, whose transaction was begun, because it needs no further lock.
    fn joins_begun(&self, locked: &Locked, group: &[Self::Request], next: &Self::Request) -> bool;

    /// Commits a group, whose transaction was begun: one result per request. Err: the transaction failed, and is to be
    /// rolled back.
    async fn commit(
        &self,
        session: &Session,
        locked: &Locked,
        group: &[Self::Request],
    ) -> Result<Vec<Result<Self::Output, StoreError>>, Error>;
}
