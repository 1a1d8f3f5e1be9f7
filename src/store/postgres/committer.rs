//! What a connection commits in groups, and how long it waits for that.
//!
//! Implemented by what appends and by what settles ([`super::append`], [`super::settle`]). Deliberately absent: the connection, which
//! gathers the groups ([`super::connection`]).

use super::session::Session;
use crate::store::{CommitObserver, StoreError};
use async_trait::async_trait;
use std::time::Duration;
use tokio_postgres::Error;

/// A job may take so long, waits for locks included, unless its connection says otherwise ([`Committer::deadline`]); then its session
/// is given up. The server gives up earlier.
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

    /// How long the caller of a request waits for its answer, from when it sent it; then it fails, and may be committed all the same.
    /// `None`: until there is one.
    fn answer_timeout(&self) -> Option<Duration> {
        None
    }

    /// How long a transaction may wait for its locks, how long it may take then, and how long a single job may take. To be longer than
    /// what the server allows: only a server that is silent is given up.
    fn deadline(&self) -> Duration {
        DEADLINE
    }

    /// Whether `next` may be committed together with `group`.
    fn joins(&self, group: &[Self::Request], next: &Self::Request) -> bool;

    /// Begins the transaction of a group, and waits for the locks that it needs. Without this, nothing has begun before
    /// [`Committer::commit`].
    async fn begin(&self, session: &Session, group: &[Self::Request]) -> Result<(), Error> {
        let _ = (session, group);
        Ok(())
    }

    /// Whether `next` may be committed together with `group`, whose transaction was begun with its requests `begun_with`: it needs no
    /// further lock.
    fn joins_begun(&self, begun_with: &[Self::Request], group: &[Self::Request], next: &Self::Request) -> bool {
        let _ = (begun_with, group, next);
        false
    }

    /// Commits a group in one transaction: one result per request. Err: the transaction failed, none was carried out.
    async fn commit(
        &self,
        session: &Session,
        group: &[Self::Request],
    ) -> Result<Vec<Result<Self::Output, StoreError>>, Error>;
}
