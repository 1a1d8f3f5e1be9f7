//! Requests of operators to read the configuration again, from the operators' listener to the one task that does it.
//!
//! In: a request. Out: what differs, or the problems. Invariant: one reload runs at a time; a request whose answer does not come any more
//! gets the error that the service shuts down.

use crate::admin::{ReloadConfig, ReloadRefusal};
use crate::config::SettingChange;
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

/// So many requests may wait for the one that runs.
const MAX_WAITING: usize = 4;

/// What differs, or the problems of the configuration.
pub(super) type ReloadAnswer = Result<Vec<SettingChange>, Vec<String>>;

/// A request.
pub(super) struct ReloadRequest {
    /// Nothing is to be taken.
    pub(super) dry_run: bool,
    /// Where the answer goes.
    pub(super) answer: oneshot::Sender<ReloadAnswer>,
}

/// Sends requests.
pub(super) struct ReloadRequests(mpsc::Sender<ReloadRequest>);

impl ReloadRequests {
    /// A sender, and where its requests arrive.
    pub(super) fn new() -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), receiver)
    }
}

#[async_trait]
impl ReloadConfig for ReloadRequests {
    async fn reload(&self, dry_run: bool) -> Result<Vec<SettingChange>, ReloadRefusal> {
        let (answer, answered) = oneshot::channel();
        // Err: the task that reloads has ended.
        self.0.send(ReloadRequest { dry_run, answer }).await.map_err(|_| ReloadRefusal::ShuttingDown)?;
        answered.await.map_err(|_| ReloadRefusal::ShuttingDown)?.map_err(ReloadRefusal::Problems)
    }
}
