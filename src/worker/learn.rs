//! Learning the account's affiliates from Refersion's list: it is read page by page, behind deliveries, and the links of a page are stored
//! together with the progress.
//!
//! In: `DELIVERY_LEARN`, or the request of an operator. Out: known affiliates. Invariants: one page is asked for at a time, within the
//! limits of the account, and while deliveries run never with the last permit; no answer has an effect on the account's health or on a
//! delivery: a list that cannot be read is logged once, and requested again after a growing wait; reading continues where it was
//! interrupted. Deliberately absent: learning from a page ([`affiliate_list`]), and the decision which affiliates are known already, which
//! the store makes.

use super::health::HeldPermit;
use super::{FOREVER, Worker, WorkerInner};
use crate::account_signals::{AffiliateLearning, AffiliateListStatus, LearningError};
use crate::delivery::{Learn, ListPage, ListProgress, TransientFailure};
use crate::domain::{AffiliateCode, AffiliateKey, Timestamp, UserKey};
use crate::refersion::SendGuard;
use crate::scheduling::{BackgroundThrottle, Backoff, BreakerState, NoPermit};
use crate::store::{Lease, Remember, StoreError, affiliate_list};
use async_trait::async_trait;
use std::sync::Weak;
use std::time::{Duration, Instant};

/// Keys that lead to one affiliate.
pub(super) type Link = (Vec<UserKey>, AffiliateKey);

/// The waits after pages that could not be read.
const AFTER_FAILURE: Backoff = Backoff { min: Duration::from_secs(60), max: Duration::from_hours(24) };

/// The progress of learning the account's affiliates.
#[derive(Debug, Default)]
pub(super) struct Learning {
    /// The number of the lease under which the progress was read from the store; `None` before that.
    restored: Option<u64>,
    progress: ListProgress,
    /// The number of affiliates that this reading has added.
    added: usize,
    throttle: BackgroundThrottle,
    /// An operator asked for the list: it is read now, from its first page on if it was read before.
    is_requested: bool,
    /// No page is asked for before.
    not_before: Timestamp,
    /// The number of failures in a row.
    failures: u32,
    /// Why the last one could not.
    failure: Option<String>,
}

/// The worker of an account, as long as there is one, for the operators' API.
#[derive(Debug)]
pub(super) struct WeakWorker(pub(super) Weak<WorkerInner>);

impl Learning {
    /// Continues from `progress` under `lease`, unless it was restored under this lease already.
    fn restore(&mut self, lease: &Lease, progress: ListProgress) {
        let restored = Some(lease.number());
        if self.restored != restored {
            *self = Self { restored, progress, ..Self::default() };
        }
    }

    fn is_due(&self, learn: Learn, now: Timestamp) -> bool {
        self.restored.is_some() && (self.is_requested || self.progress.is_due(learn, now)) && self.not_before <= now
    }
}

impl WeakWorker {
    /// The worker; if there is none any more, another process may deliver for the account.
    fn worker(&self) -> Result<Worker, LearningError> {
        self.0.upgrade().map(Worker).ok_or(LearningError::NotOwner)
    }
}

#[async_trait]
impl AffiliateLearning for WeakWorker {
    /// Reads the list now, with any `DELIVERY_LEARN`: from the page where it was interrupted, or from its first page on.
    async fn start_learning(&self) -> Result<(), LearningError> {
        let worker = self.worker()?;
        let lease = worker.0.store.lease(&worker.0.settings.account).filter(|_| !worker.is_leaving());
        let lease = lease.ok_or(LearningError::NotOwner)?;
        if worker.health().snapshot().state != BreakerState::Closed {
            return Err(LearningError::Paused);
        }
        let progress = worker.saved_progress().await?;
        {
            let mut learning = worker.0.learning.lock();
            learning.restore(&lease, progress);
            (learning.is_requested, learning.not_before, learning.failures) = (true, Timestamp::default(), 0);
            learning.failure = None;
            learning.throttle.hurry();
        }
        worker.wake();
        Ok(())
    }

    async fn learning(&self) -> Result<AffiliateListStatus, LearningError> {
        let worker = self.worker()?;
        let saved = worker.saved_progress().await?;
        let learning = worker.0.learning.lock();
        let progress = if learning.restored.is_some() { &learning.progress } else { &saved };
        Ok(AffiliateListStatus {
            reading: learning.is_due(worker.delivery().learn, worker.now()),
            read: progress.seen,
            total: progress.total,
            completed_at: progress.completed_at,
            failure: learning.failure.clone(),
        })
    }
}

impl Worker {
    /// Reads the progress from the store, once for each lease.
    pub(super) async fn restore_learning(&self, lease: &Lease) {
        if self.delivery().learn == Learn::Off || self.0.learning.lock().restored == Some(lease.number()) {
            return;
        }
        // Err: it is read when the run loop begins the next time.
        if let Ok(progress) = self.saved_progress().await {
            self.0.learning.lock().restore(lease, progress);
        }
    }

    async fn saved_progress(&self) -> Result<ListProgress, LearningError> {
        let progress = affiliate_list::list_progress(&*self.0.store, &self.0.settings.account).await;
        progress.map_err(|error| LearningError::Store(error.to_string()))
    }

    /// Whether pages are left to read now, so that the run loop continues without events.
    pub(super) fn is_learning(&self) -> bool {
        let is_closed = self.health().snapshot().state == BreakerState::Closed;
        is_closed && self.0.learning.lock().is_due(self.delivery().learn, self.now())
    }

    /// The permission to ask for a page of the list now, beside the deliveries, if any run; and the progress, which says which page is next.
    /// Err: how long to wait before looking again, if nothing happens before.
    pub(super) fn next_page(&self, deliveries_run: bool) -> Result<(HeldPermit, ListProgress), Duration> {
        let (now, begun) = (self.now(), self.0.dispatcher.lock().begun);
        let mut learning = self.0.learning.lock();
        if !learning.is_due(self.delivery().learn, now) {
            return Err(FOREVER);
        }
        let health = self.health().snapshot();
        if health.state != BreakerState::Closed {
            if std::mem::take(&mut learning.is_requested) {
                learning.failure = Some(LearningError::Paused.to_string());
            }
            return Err(FOREVER);
        }
        let wait = learning.throttle.wait(now, begun, deliveries_run);
        if !wait.is_zero() {
            return Err(wait);
        }
        if deliveries_run && health.in_flight + 1 >= health.concurrency_limit {
            return Err(FOREVER); // until a request has ended
        }
        if !self.may_send() {
            return Err(FOREVER); // until the lease is renewed
        }
        match self.try_acquire() {
            Ok(permit) => {
                let mut dispatcher = self.0.dispatcher.lock();
                dispatcher.begun += 1;
                learning.throttle.on_begin(dispatcher.begun);
                Ok((permit, learning.progress.clone()))
            }
            Err(NoPermit::NotBefore(at)) => Err(at.since(now)),
            Err(NoPermit::Busy | NoPermit::Open(_) | NoPermit::Halted(_) | NoPermit::ProbeDue) => Err(FOREVER),
        }
    }

    async fn learn(&self, before: &ListProgress, page: &ListPage) -> Result<Vec<Link>, StoreError> {
        let account = &self.0.settings.account;
        let (after, added) = affiliate_list::remember_page(&*self.0.store, account, before, page, self.now()).await?;
        let mut learning = self.0.learning.lock();
        learning.added += added.len();
        (learning.failures, learning.failure) = (0, None);
        if after.is_complete() {
            let (affiliates, added) = (after.seen, std::mem::take(&mut learning.added));
            learning.throttle = BackgroundThrottle::default();
            learning.is_requested = false;
            tracing::info!(%account, affiliates, added, "Refersion's list of affiliates was read; events find them by e-mail without a search");
        }
        learning.progress = after;
        Ok(added.iter().map(|one| self.link_of(one)).collect())
    }

    /// The link of an affiliate that was remembered.
    pub(super) fn link_of(&self, Remember { known, user_keys }: &Remember) -> Link {
        (user_keys.clone(), self.affiliate_key(&known.code))
    }

    pub(super) fn affiliate_key(&self, code: &AffiliateCode) -> AffiliateKey {
        AffiliateKey(self.0.store.hash_key().affiliate(self.0.settings.account.as_str(), &code.0))
    }

    /// The page could not be read, and is requested again later.
    pub(super) fn on_page_failed(&self, TransientFailure { what, retry_after }: TransientFailure) {
        let (account, now) = (&self.0.settings.account, self.now());
        let mut learning = self.0.learning.lock();
        learning.failures = learning.failures.saturating_add(1);
        (learning.is_requested, learning.throttle) = (false, BackgroundThrottle::default());
        let wait = AFTER_FAILURE.wait(learning.failures, rand::random(), retry_after).max(AFTER_FAILURE.min);
        learning.not_before = now.after(wait);
        if learning.failures == 1 {
            tracing::warn!(%account, ?wait, "{what}; affiliates are not learned from Refersion's list for now, which delays no event");
        } else {
            tracing::debug!(%account, ?wait, "{what}");
        }
        learning.failure = Some(what);
    }
}

/// Requests the page that follows `progress`, and stores the affiliates on it. Returns the new links.
pub(super) async fn read_page(worker: Worker, permit: HeldPermit, progress: ListProgress) -> Vec<Link> {
    let (account, may_send) = (&worker.0.settings.account, worker.clone());
    let (page, began) = (progress.page, Instant::now());
    let reply = worker.0.settings.client.list(page, &SendGuard::new(move || may_send.may_send())).await;
    let Some(reply) = reply else {
        permit.cancel();
        return Vec::new();
    };
    let took = began.elapsed();
    tracing::debug!(%account, page, ?took, "called Refersion for its list");
    worker.0.settings.meter.page_requested(reply.is_ok(), took);
    drop(permit); // before the store is waited for
    let page = match reply {
        Ok(page) => page,
        Err(failure) => {
            worker.on_page_failed(failure);
            return Vec::new();
        }
    };
    match worker.learn(&progress, &page).await {
        Ok(links) => return links,
        Err(StoreError::NotOwner | StoreError::Closed) => {} // the run loop ends
        Err(error) => worker.on_page_failed(TransientFailure::new(error.to_string())),
    }
    Vec::new()
}
