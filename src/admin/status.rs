//! The service at a glance: whether it is ready, its pending events and dead letters, and the states of its accounts.

use super::Admin;
use super::directory::AccountState;
use super::extract::Answer;
use crate::domain::Timestamp;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The service at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServiceStatus {
    /// The release.
    pub version: String,
    /// When it was started, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub started_at: Timestamp,
    /// The service's clock, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub now: Timestamp,
    /// Whether it takes requests, as `/readyz` says.
    pub ready: bool,
    /// The same in words; if it does not, why.
    pub message: String,
    /// Pending events of all accounts.
    pub pending: u64,
    /// Dead letters of all accounts.
    pub dead_letters: u64,
    /// The accounts by their states.
    pub accounts: AccountCounts,
}

/// How many accounts have a worker, by their states.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct AccountCounts {
    /// Those whose events are delivered.
    pub running: usize,
    /// Those whose deliveries pause.
    pub paused: usize,
    /// Those whose API key Refersion refuses.
    pub halted: usize,
}

/// Show the service at a glance
#[utoipa::path(get, path = "/api/v1/status", tag = "status", operation_id = "show_status",
    responses((status = 200, description = "The status", body = ServiceStatus)))]
pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Answer<ServiceStatus> {
    let (now, configured, store) = (admin.clock.now(), admin.accounts.configured(), admin.store.status());
    let readiness = admin.readiness(&configured);
    let mut accounts = AccountCounts::default();
    for account in configured.iter().chain(&admin.accounts.unconfigured().unwrap_or_default()) {
        match account.state(now) {
            AccountState::Running => accounts.running += 1,
            AccountState::Paused => accounts.paused += 1,
            AccountState::Halted => accounts.halted += 1,
            AccountState::NoWorker => {}
        }
    }
    Ok(Json(ServiceStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: admin.started_at,
        now,
        ready: readiness.is_ready(),
        message: readiness.message().to_owned(),
        pending: store.pending,
        dead_letters: store.dead,
        accounts,
    }))
}
