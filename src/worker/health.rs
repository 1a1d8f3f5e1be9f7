//! The effect of replies on the whole account: they change its health, and this file logs, counts and publishes every transition.
//!
//! In: replies, one for each request, and probes of a rejected key. Out: log lines, metrics and one published snapshot. Invariant:
//! a transition is reported once, however many replies would have caused it. Deliberately absent: the rules, which are those of
//! [`AccountHealth`].

use super::Worker;
use super::run_loop::STORE_PAUSE;
use crate::account_signals::WaitResult;
use crate::delivery::{ApiKeyVerification, Call, Reply, TransientFailure};
use crate::domain::{ApiKey, Seq, Timestamp};
use crate::refersion::{Client, ClientBuildError};
use crate::scheduling::{
    AccountHealth, BreakerState, Cause, HealthSnapshot, LearnedLimits, NoPermit, Permit, SavedHealth, Transition,
};
use crate::store::{Lease, StoreError};
use std::time::Instant;

/// A permit of the account's health. One that is dropped counts as that of a request without a known reply.
pub(super) struct HeldPermit {
    worker: Worker,
    /// Taken once the permit is handed back.
    permit: Option<Permit>,
}

impl HeldPermit {
    /// Applies the reply to `call`, which was made for the event `seq`, to the account's health.
    pub(super) fn on_reply(mut self, call: &Call, reply: &Reply, seq: Seq) {
        let Some(permit) = self.permit.take() else { return };
        let permit = if call.is_write() { permit.for_write() } else { permit };
        let chance = rand::random();
        let (transition, what) = self.worker.change_health(|health, now| match reply {
            Reply::RateLimited { retry_after } => (health.on_rate_limited(permit, now, *retry_after, chance), None),
            Reply::Unavailable(failure) | Reply::Lost(failure) => {
                (health.on_failure(permit, seq, now, failure.retry_after, chance), Some(failure.what.as_str()))
            }
            Reply::Unauthorized => (health.on_unauthorized(permit, now, chance), None),
            _ => (health.on_success(permit, now), None),
        });
        self.worker.on_transition(transition, what);
    }

    /// The request was not sent.
    pub(super) fn cancel(mut self) {
        if let Some(permit) = self.permit.take() {
            self.worker.change_health(|health, now| health.cancel(permit, now));
        }
    }
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.worker.change_health(|health, now| health.abandon(permit, now));
            self.worker.0.changed.notify_one();
        }
    }
}

impl Worker {
    /// The permission to make a request now; or why there is none.
    pub(super) fn try_acquire(&self) -> Result<HeldPermit, NoPermit> {
        let (permit, transition) = self.change_health(AccountHealth::try_acquire)?;
        self.on_transition(transition, None);
        Ok(HeldPermit { worker: self.clone(), permit: Some(permit) })
    }

    /// The account's calls are made through `client` from now on.
    pub fn replace_client(&self, client: Client) {
        self.0.settings.client.replace(client);
    }

    /// The account's calls are made with `key` from now on, which Refersion accepts: so a halt ends.
    pub fn replace_api_key(&self, key: &ApiKey) -> Result<(), ClientBuildError> {
        self.0.settings.client.replace_api_key(key)?;
        self.on_new_api_key();
        Ok(())
    }

    /// The account's calls are made with another key from now on. Refersion may accept it, so a halt ends.
    pub fn on_new_api_key(&self) {
        let transition = self.change_health(AccountHealth::on_new_api_key);
        self.on_transition(transition, None);
    }

    /// Probes the rejected key.
    pub(super) async fn probe(&self) {
        let began = Instant::now();
        let proof = self.0.settings.client.verify_api_key().await;
        let (account, meter) = (&self.0.settings.account, &self.0.settings.meter);
        meter.api_key_probed(&proof, began.elapsed());
        let probed = self.change_health(|health, now| health.on_probe(&proof, now, rand::random()));
        match (proof, probed) {
            (ApiKeyVerification::Accepted, _) => {}
            (ApiKeyVerification::Rejected, wait) => {
                tracing::warn!(%account, wait = ?wait.err(), "Refersion still rejects the API key");
            }
            (ApiKeyVerification::Unknown(TransientFailure { what, .. }), _) => {
                tracing::warn!(%account, what, "cannot tell whether the API key works");
            }
        }
        self.on_transition(probed.ok().flatten(), None);
    }

    /// Logs and counts a transition of the account's health; `what` is the error of Refersion or of the network.
    pub(super) fn on_transition(&self, transition: Option<Transition>, what: Option<&str>) {
        let Some(transition) = transition else { return };
        let (account, meter, signals) = (&self.0.settings.account, &self.0.settings.meter, &self.0.signals);
        match transition {
            Transition::Opened { cause, wait, trips } => {
                if trips == 1 {
                    meter.breaker_opened(cause);
                }
                if cause == Cause::RateLimited {
                    tracing::warn!(%account, ?wait, "Refersion answered 429 (too many calls); the account is paused");
                } else {
                    tracing::warn!(%account, ?wait, what, "Refersion seems to be down; the account is paused");
                }
                signals.send_to_all(&WaitResult::Deferred);
            }
            Transition::HalfOpened => tracing::info!(%account, "the pause is over; one trial request is sent"),
            Transition::Closed => tracing::info!(%account, "Refersion accepts calls again; the account delivers"),
            Transition::Halted { wait } => {
                meter.halted();
                tracing::error!(%account, ?wait,
                    "Refersion rejected the API key; events are kept, and the key is probed until it works");
                signals.send_to_all(&WaitResult::AccountHalted);
            }
            Transition::Resumed => {
                tracing::info!(%account, "Refersion accepts the API key again; the account delivers");
            }
        }
        self.0.changed.notify_one();
    }

    /// Changes the account's health now, and publishes it. Under the lock, so that of two threads the later one publishes the later state.
    pub(super) fn change_health<T>(&self, change: impl FnOnce(&mut AccountHealth, Timestamp) -> T) -> T {
        let mut health = self.health();
        let changed = change(&mut health, self.now());
        self.0.signals.publish(health.snapshot());
        changed
    }

    /// Restores the account's health, once for each lease: all of it at a takeover, if another process may have owned the account. After a
    /// restart of the one process that there is, only the limits: to start again is how an operator ends a pause.
    pub(super) async fn restore_health(&self, lease: &Lease) {
        let number = lease.number();
        if self.0.saved_health.lock().as_ref().is_some_and(|(restored, _)| *restored == number) {
            return self.change_health(|_, _| ()); // published again: at its end, the last run loop published the default
        }
        let account = &self.0.settings.account;
        let saved = match self.read_health().await.as_deref().map(serde_json::from_str) {
            None => SavedHealth::default(),
            Some(Ok(saved)) => saved,
            Some(Err(error)) => {
                tracing::warn!(%account, %error, "cannot read the saved limits of the account; they are learned again");
                SavedHealth::default() // is saved soon, so that the next start does not warn again
            }
        };
        *self.0.saved_health.lock() = Some((number, saved.clone()));
        let limits = self.delivery().limits;
        let state = self.change_health(|health, now| {
            *health = if lease.is_unlimited() {
                AccountHealth::new(limits, saved.learned)
            } else {
                AccountHealth::taken_over(limits, saved, now)
            };
            health.snapshot().state
        });
        if state != BreakerState::Closed {
            tracing::warn!(%account, ?state, "the account was paused or halted before, and still is");
        }
    }

    /// The saved health; an empty one if it can never be read.
    async fn read_health(&self) -> Option<String> {
        loop {
            match self.0.store.health(&self.0.settings.account).await {
                Ok(saved) => return saved,
                Err(StoreError::Transient(_)) if !self.is_stopping() => tokio::time::sleep(STORE_PAUSE).await,
                Err(_) => return None,
            }
        }
    }

    /// Publishes nothing any more: another process delivers for the account from now on, and knows its health. What this process knew must
    /// not be published again, by a reload or by a request for a page that is dropped late; the next lease restores the saved health.
    pub(super) fn unpublish_health(&self, lease: &Lease) {
        if !lease.is_unlimited() {
            *self.0.saved_health.lock() = None; // it is read again, even under the same lease
            *self.health() = AccountHealth::new(self.delivery().limits, LearnedLimits::default());
        }
        self.0.signals.publish(HealthSnapshot::default());
    }

    /// Saves the account's health, if its saved part has changed.
    pub(super) async fn save_health(&self) {
        let health = self.health().saved(self.now());
        if !self.0.saved_health.lock().as_ref().is_some_and(|(_, saved)| health.differs_from(saved)) {
            return;
        }
        let Ok(text) = serde_json::to_string(&health) else { return };
        // Err: it is saved with the next change, or learned again.
        if self.0.store.save_health(&self.0.settings.account, text).await.is_ok()
            && let Some((_, saved)) = &mut *self.0.saved_health.lock()
        {
            *saved = health;
        }
    }
}
