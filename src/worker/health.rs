//! What replies mean for the whole account: they move its health, and every move is logged, counted and published here.
//!
//! In go replies, one for each request, and probes of a refused key; out come log lines, metrics and one published snapshot.
//! Invariant: a transition is told once, however many requests in flight found out the same. Deliberately absent: the rules,
//! which are those of [`AccountHealth`].

use super::Worker;
use crate::account_signals::EventOutcome;
use crate::delivery::Reply;
use crate::domain::{ApiKey, Seq};
use crate::refersion::{BuildError, KeyVerification};
use crate::scheduling::{AccountHealth, Cause, Learned, Permit, Probe, Transition};
use std::time::Duration;

impl Worker {
    /// The account's calls are made with `key` from now on, which Refersion takes: so a halt ends.
    pub fn replace_key(&self, key: &ApiKey) -> Result<(), BuildError> {
        self.0.settings.client.replace_key(key)?;
        let transition = self.health().on_new_key(self.now());
        self.tell(transition, None);
        Ok(())
    }

    /// What the reply to a call for the event `seq` means for the account.
    pub(super) fn on_reply(&self, permit: Permit, reply: &Reply, seq: Seq) {
        let (now, chance) = (self.now(), rand::random());
        let (transition, what) = {
            let mut health = self.health();
            match reply {
                Reply::RateLimited { retry_after } => (health.on_rate_limited(permit, now, *retry_after, chance), None),
                Reply::Unavailable { what, retry_after } | Reply::Lost { what, retry_after } => {
                    (health.on_failure(permit, seq, now, *retry_after, chance), Some(what.as_str()))
                }
                Reply::Unauthorized => (health.on_unauthorized(permit, now, chance), None),
                _ => (health.on_success(permit, now), None),
            }
        };
        self.tell(transition, what);
    }

    /// Probes the refused key; says how long to wait before the next step.
    pub(super) async fn probe(&self) -> Duration {
        let proof = tokio::select! {
            proof = self.0.settings.client.verify_key() => proof,
            () = self.0.runtime.shutdown.cancelled() => return Duration::ZERO,
        };
        let (account, meter) = (&self.0.settings.account, &self.0.settings.meter);
        let probe = match &proof {
            KeyVerification::Accepted => Probe::Accepted,
            KeyVerification::Rejected => Probe::Refused,
            KeyVerification::Unknown { retry_after, .. } => Probe::Unknown { retry_after: *retry_after },
        };
        meter.key_probed(probe);
        let probed = self.health().on_probe(probe, self.now(), rand::random());
        match (proof, probed) {
            (KeyVerification::Accepted, _) => {}
            (KeyVerification::Rejected, wait) => {
                tracing::warn!(%account, wait = ?wait.err(), "Refersion still refuses the API key");
            }
            (KeyVerification::Unknown { reason: what, .. }, _) => {
                tracing::warn!(%account, what, "cannot tell whether the API key works");
            }
        }
        match probed {
            Ok(transition) => {
                self.tell(transition, None);
                Duration::ZERO
            }
            Err(wait) => {
                self.publish_health();
                wait
            }
        }
    }

    /// Logs, counts and publishes a move of the account's health; `what` is what Refersion or the network said.
    pub(super) fn tell(&self, transition: Option<Transition>, what: Option<&str>) {
        let Some(transition) = transition else { return };
        let (account, meter) = (&self.0.settings.account, &self.0.settings.meter);
        match transition {
            Transition::Opened { cause: Cause::RateLimited, wait, trips } => {
                meter.breaker_opened(Cause::RateLimited, trips == 1);
                tracing::warn!(%account, ?wait, "Refersion says there are too many calls; the account pauses");
            }
            Transition::Opened { cause, wait, trips } => {
                meter.breaker_opened(cause, trips == 1);
                tracing::warn!(%account, ?wait, what, "Refersion seems to be down; the account pauses");
            }
            Transition::HalfOpened => tracing::info!(%account, "the pause is over; one request goes first"),
            Transition::Closed => {
                meter.resumed();
                tracing::info!(%account, "Refersion takes calls again; deliveries go on");
            }
            Transition::Halted { wait } => {
                meter.halted();
                tracing::error!(%account, ?wait,
                    "Refersion refused the API key; events are kept, and the key is probed until it works");
            }
            Transition::Resumed => {
                meter.resumed();
                tracing::info!(%account, "Refersion takes the API key again; deliveries go on");
            }
        }
        self.publish_health();
        match transition {
            Transition::Opened { .. } => self.0.signals.tell_all(&EventOutcome::Deferred),
            Transition::Halted { .. } => self.0.signals.tell_all(&EventOutcome::KeyRefused),
            Transition::HalfOpened | Transition::Closed | Transition::Resumed => {}
        }
        self.0.changed.notify_one();
    }

    /// Under the lock, so that of two threads the later one publishes what is later.
    fn publish_health(&self) {
        let health = self.health();
        self.0.signals.publish(health.snapshot());
    }

    /// Takes over what an earlier process learned of the account's limits.
    pub(super) async fn restore_health(&self) {
        if super::lock(&self.0.saved_health).is_some() {
            return;
        }
        // Err: it is learned again.
        let saved = self.0.store.health(&self.0.settings.account).await.ok().flatten();
        let learned = saved.as_deref().map(serde_json::from_str::<Learned>).transpose();
        let learned = learned.unwrap_or_else(|error| {
            tracing::error!(account = %self.0.settings.account, %error, "the saved health is corrupt");
            None
        });
        let learned = learned.unwrap_or_default();
        *super::lock(&self.0.saved_health) = Some(learned);
        *self.health() = AccountHealth::new(self.0.settings.limits, learned);
    }

    /// Saves what was learned of the account's limits, if that has changed.
    pub(super) async fn save_health(&self) {
        let learned = self.health().learned();
        {
            let mut saved = super::lock(&self.0.saved_health);
            if saved.is_none_or(|saved| !differs(learned, saved)) {
                return;
            }
            *saved = Some(learned);
        }
        if let Ok(text) = serde_json::to_string(&learned) {
            // Err: it is learned again.
            let _ = self.0.store.save_health(&self.0.settings.account, text).await;
        }
    }
}

/// Whether it is worth saving.
fn differs(learned: Learned, saved: Learned) -> bool {
    let differ = |one: f64, other: f64| (one - other).abs() > 0.05 * other.max(one);
    let (one, other) = (learned.requests_per_second, saved.requests_per_second);
    one.is_some() != other.is_some()
        || differ(one.unwrap_or_default(), other.unwrap_or_default())
        || differ(learned.concurrency, saved.concurrency)
}
