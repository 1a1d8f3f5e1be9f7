//! The pipelined jobs of a connection: each has only autocommit statements, so they need no order among themselves.
//!
//! In: jobs. Out: their results. The statements of many jobs are sent at once (pipelining): a thousand accounts wait for a few round trips
//! and not for thousands. Invariants: a job whose caller stopped waiting before it began is dropped; a server that answers statements,
//! however slowly, is not given up for the number of jobs. Deliberately absent: the time at which they run ([`super::connection_task`]).

use super::connection_message::PipelinedJob;
use super::error::breaks_session;
use super::session::Session;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::Error;

/// The most jobs that run at once. Sixteen took two to ten times as long for 50 accounts.
const MAX_AT_ONCE: usize = 64;

/// The pipelined jobs that wait.
#[derive(Default)]
pub struct PipelinedJobs(Vec<PipelinedJob>);

impl PipelinedJobs {
    /// Adds a job.
    pub fn push(&mut self, job: PipelinedJob) {
        self.0.push(job);
    }

    /// Drops the jobs whose callers stopped waiting. Whether there is none, or none any more.
    pub fn is_empty(&mut self) -> bool {
        self.0.retain(|job| !job.abandoned.is_cancelled());
        self.0.is_empty()
    }

    /// Runs the first jobs at once. Returns a failure, if there is one. Err: the server answered nothing for so long.
    pub async fn run(&mut self, session: &Session, silence: Duration) -> Result<Option<Error>, ()> {
        let first = self.0.len().min(MAX_AT_ONCE);
        let mut jobs: FuturesUnordered<_> = self.0.drain(..first).map(|one| (one.job)(session)).collect();
        let mut failed: Vec<Error> = Vec::new();
        loop {
            let answered = session.answered();
            match timeout(silence, jobs.next()).await {
                Ok(Some(error)) => failed.extend(error),
                Ok(None) => return Ok(failed.into_iter().max_by_key(breaks_session)),
                Err(_) if session.answered() == answered => return Err(()),
                Err(_) => {}
            }
        }
    }
}
