//! The channel for operators' requests to reload the configuration, from the operators' listener to the task that reloads.
//!
//! In: a request. Out: the differences, or the problems. Invariant: one reload runs at a time; a request that can get no answer any more
//! gets the error that the service shuts down.

use crate::admin::{ReloadConfig, ReloadRefusal};
use crate::config::SettingChange;
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

/// The most requests that wait for the running one.
const MAX_WAITING: usize = 4;

/// The differences, or the problems of the configuration.
pub(super) type ReloadAnswer = Result<Vec<SettingChange>, Vec<String>>;

/// A request.
pub(super) struct ReloadRequest {
    /// Whether only the differences are reported and nothing is taken.
    pub(super) dry_run: bool,
    /// The channel for the answer.
    pub(super) answer: oneshot::Sender<ReloadAnswer>,
}

/// Sends requests.
pub(super) struct ReloadRequests(mpsc::Sender<ReloadRequest>);

impl ReloadRequests {
    /// A sender and a receiver of requests.
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
