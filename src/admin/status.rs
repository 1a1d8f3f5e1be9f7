//! The status of the service: its readiness, the pending events, the states of its accounts, and the recent activity.

use super::Admin;
use super::directory::AccountState;
use super::extract::ApiResult;
use crate::domain::Timestamp;
use crate::series::{Activity, BacklogTrend};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The service at a glance.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    /// The release.
    pub version: String,
    /// When it was started, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub started_at: Timestamp,
    /// The service's clock, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub now: Timestamp,
    /// Whether it accepts requests, as in `/readyz`.
    pub ready: bool,
    /// The readiness in words; if it is not ready, the reason.
    pub message: String,
    /// Pending events of all accounts.
    pub pending: u64,
    /// When the oldest of them was received, in milliseconds since 1970; `null` if there is none, or it cannot be read now.
    #[schema(value_type = Option<i64>)]
    pub oldest_pending_at: Option<Timestamp>,
    /// How fast they become fewer (the backlog trend).
    pub drain: BacklogTrend,
    /// Dead letters of all accounts.
    pub dead_letters: u64,
    /// The accounts by their states.
    pub accounts: AccountCounts,
    /// The recent activity of all accounts.
    pub recent: Activity,
}

/// How many accounts have a worker, by their states.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AccountCounts {
    /// Those whose events are delivered.
    pub running: usize,
    /// Those whose deliveries pause.
    pub paused: usize,
    /// Those whose API key Refersion rejects.
    pub halted: usize,
}

/// Show the service at a glance
#[utoipa::path(get, path = "/api/v1/status", tag = "status", operation_id = "show_status",
    responses((status = 200, description = "The status", body = ServiceStatus)))]
pub(super) async fn status(State(admin): State<Arc<Admin>>) -> ApiResult<ServiceStatus> {
    let measured = admin.scraper.measured().await;
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
        // The measurement may be some seconds old.
        oldest_pending_at: measured
            .filter(|_| store.pending > 0)
            .and_then(|measured| measured.oldest_pending.into_values().min()),
        drain: admin.series.backlog_trend_of_all(),
        dead_letters: store.dead,
        accounts,
        recent: admin.series.all(),
    }))
}
