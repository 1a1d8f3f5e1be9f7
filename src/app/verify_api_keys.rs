//! Asks Refersion, after the start and after a reload, whether it accepts the API keys of configured accounts that have nothing to deliver, so
//! that a wrong key is seen before the first event comes.
//!
//! In: workers. Out: a halt of each account whose key is rejected, and its end. Invariants: it runs in the background, so that no start and
//! no event waits for it; one account is asked for after the other, so that thousands of accounts are no burst of calls; an account whose
//! deliveries show whether the key works is not asked for. Deliberately absent: keys that arrive with requests, which are verified before they
//! are stored ([`super::api_key_verification`]).

use crate::worker::{ApiKeyKnown, Worker};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// The pause between two accounts.
const BETWEEN: Duration = Duration::from_millis(100);

/// Asks for each of them on `runtime` until its key is accepted or its deliveries show whether it is; again after `again`, where Refersion
/// rejected the key or did not answer.
pub(super) fn start(mut workers: Vec<Worker>, again: Duration, runtime: &Handle, shutdown: CancellationToken) {
    let ask = async move {
        while !workers.is_empty() {
            let mut rest = Vec::new();
            for worker in workers {
                if worker.verify_idle_api_key().await == ApiKeyKnown::NotYet {
                    rest.push(worker);
                }
                tokio::time::sleep(BETWEEN).await;
            }
            workers = rest;
            tokio::time::sleep(again).await;
        }
    };
    drop(runtime.spawn(async move { shutdown.run_until_cancelled(ask).await }));
}
