//! How the account stands with Refersion: what replies mean for all its events, and what is told of it.
//!
//! In go replies, one for each request, out come moves of the gate, notices, log lines and counters. Invariant: calls that
//! were under way together and find out the same count once.

use super::Worker;
use crate::delivery::{Reply, Round};
use crate::domain::ApiKey;
use crate::refersion::{BuildError, Proof};
use crate::telemetry::Cause;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Worker {
    /// The account's calls are made with `key` from now on, which Refersion takes: so a halt ends.
    pub fn take_key(&self, key: &ApiKey) -> Result<(), BuildError> {
        self.0.settings.client.take_key(key)?;
        let mut gate = self.gate();
        if gate.is_halted() {
            gate.resume();
            self.0.notice.set_halted(false);
            self.0.settings.meter.goes_on();
            self.0.room.notify_one();
        }
        Ok(())
    }

    /// Asks Refersion whether the key works again; says how long to wait before the next step.
    pub(super) async fn probe(&self) -> Duration {
        let proof = tokio::select! {
            proof = self.0.settings.client.prove() => proof,
            () = self.0.notice.until_draining() => return Duration::ZERO,
        };
        let meter = &self.0.settings.meter;
        match proof {
            Proof::Accepted => {
                self.gate().resume();
                self.0.notice.set_halted(false);
                self.0.notice.set_paused(false);
                meter.goes_on();
                meter.probed("accepted");
                tracing::info!(account = %self.0.settings.account, "Refersion takes the API key again; deliveries go on");
                Duration::ZERO
            }
            Proof::Refused => {
                meter.probed("refused");
                let wait = self.gate().refused(self.now(), rand::random());
                tracing::warn!(account = %self.0.settings.account, ?wait, "Refersion still refuses the API key");
                wait
            }
            Proof::Unknown(what, asked) => {
                meter.probed("unknown");
                tracing::warn!(account = %self.0.settings.account, what, "cannot tell whether the API key works");
                self.gate().probe_later(self.now(), asked, rand::random())
            }
        }
    }

    /// What an answer to a call for the event `seq` means for the account.
    pub(super) fn heard(&self, reply: &Reply, seq: i64, round: Round) {
        let account = &self.0.settings.account;
        match reply {
            Reply::RateLimited { retry_after } => {
                let wait = self.gate().limited(round, self.now(), *retry_after, rand::random());
                self.pause(Cause::RateLimited);
                tracing::warn!(%account, seq, ?wait, "Refersion says there are too many calls; the account pauses");
            }
            Reply::Unavailable { what, retry_after } | Reply::Lost { what, retry_after } => {
                let closed = self.gate().failed(seq, round, self.now(), *retry_after, rand::random());
                if let Some(wait) = closed {
                    self.pause(Cause::Outage);
                    tracing::warn!(%account, ?wait, what, "Refersion seems to be down; the account pauses");
                }
            }
            Reply::Unauthorized => self.halt(),
            _ => self.taken(),
        }
    }

    fn pause(&self, cause: Cause) {
        if !self.0.notice.is_paused() {
            self.0.settings.meter.pauses(cause);
        }
        self.0.notice.set_paused(true);
    }

    /// Refersion took a call: if the gate opens by it, those who wait for that need not wait for the whole delivery.
    fn taken(&self) {
        self.gate().taken();
        if self.0.trying.swap(false, Ordering::Relaxed) {
            self.0.notice.set_paused(false);
            self.0.settings.meter.goes_on();
            self.0.room.notify_one();
        }
    }

    /// Refersion refused the key. All calls under way then find that out; together they are one refusal.
    fn halt(&self) {
        let mut gate = self.gate();
        if gate.is_halted() {
            return;
        }
        let wait = gate.refused(self.now(), rand::random());
        self.0.notice.set_halted(true);
        self.0.settings.meter.halts();
        tracing::error!(account = %self.0.settings.account, ?wait,
            "Refersion refused the API key; events are kept, and the key is probed until it works");
    }
}
