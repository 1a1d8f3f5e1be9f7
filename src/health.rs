//! Health checks: the answers of `/healthz` (liveness) and `/readyz` (readiness) on both listeners.
//!
//! In: the state that the store and the workers last published. Out: JSON, and the status code of `/readyz`. Invariants: nothing here does
//! I/O, so a flood of requests writes nothing; whether the store can be written is known from its last commit (SQLite) or from the last job
//! or connect of its connections (PostgreSQL), and a probe commits every few seconds. Deliberately absent: the names of accounts, which
//! only operators may read (`admin`).

use crate::account_signals::AccountSignals;
use crate::domain::Timestamp;
use crate::scheduling::BreakerState;
use crate::store::StoreStatus;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// The answer of `/healthz`. It does not depend on the store or on Refersion: an orchestrator restarts the process if this check fails, and
/// a restart repairs neither.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// `ok`
    status: &'static str,
    /// The same in words.
    message: &'static str,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { status: "ok", message: "alive" }
    }
}

/// The answer of `/readyz`. The service is unready while it shuts down and while the store cannot be written. A rejected API key or an
/// outage of Refersion does not make it unready: it still accepts and keeps events.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `ready` or `unready`
    status: &'static str,
    /// The status in words; if the service is not ready, the reason.
    message: String,
    /// The number of pending events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<u64>,
    /// The number of dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<u64>,
    /// The worst state of the configured accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    refersion: Option<&'static str>,
}

impl Readiness {
    /// The readiness of a service with a store of this status and these configured accounts. `draining`: the service is shutting down.
    pub fn new<'a>(
        store: StoreStatus,
        draining: bool,
        accounts: impl Iterator<Item = &'a AccountSignals>,
        now: Timestamp,
    ) -> Self {
        let refersion = refersion_state(accounts, now);
        let unready = |message| Self { status: "unready", message, pending: None, dead_letters: None, refersion: None };
        match store.write_error {
            _ if draining => unready("draining: the service is shutting down".to_owned()),
            Some(error) => unready(format!("the store cannot be written: {error}")),
            None => Self {
                status: "ready",
                message: "events are accepted".to_owned(),
                pending: Some(store.pending),
                dead_letters: Some(store.dead),
                refersion: Some(refersion),
            },
        }
    }

    /// The status code: 200, or 503.
    pub fn code(&self) -> StatusCode {
        if self.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Whether the service is ready.
    pub fn is_ready(&self) -> bool {
        self.status == "ready"
    }

    /// The same in words.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The worst state of these accounts at `now`, in words.
pub fn refersion_state<'a>(accounts: impl Iterator<Item = &'a AccountSignals>, now: Timestamp) -> &'static str {
    let mut worst = "ok";
    for account in accounts {
        match account.state(now) {
            BreakerState::Halted { .. } => return "halted: Refersion rejects the API key",
            BreakerState::Open { .. } | BreakerState::HalfOpen => worst = "paused: too many calls, or an outage",
            BreakerState::Closed => {}
        }
    }
    worst
}
