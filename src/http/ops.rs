//! Health and metrics: `/healthz` (the process is alive), `/readyz` (traffic may come) and `/metrics`.
//!
//! In go what the store and the workers last published, out come JSON and OpenMetrics. Invariant: nothing here does I/O, so a
//! flood of requests writes nothing; whether the store can be written is known from its last commit, and a probe commits every
//! few seconds. Of accounts that are not configured at most 100 are named: those that are halted, then those that are paused. One
//! merchant's revoked key shows in `merchants`, not in `refersion`. Deliberately absent: credentials; the listener is private.

use super::{AccountEndpoint, AccountRegistry};
use crate::account_signals::AccountSignals;
use crate::domain::Timestamp;
use crate::scheduling::HealthState;
use crate::store::StoreStatus;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How many accounts that are not configured are told by name.
const MOST: usize = 100;

/// Alive, whatever the store and Refersion do: an orchestrator that restarts on it must not restart for their sake.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok", "message": "alive"}))
}

/// Ready unless draining, or the store cannot be written. A refused key or an outage of Refersion does not make the service
/// unready: events are still taken in and kept.
pub(super) async fn readyz(State(registry): State<Arc<AccountRegistry>>) -> (StatusCode, Json<Value>) {
    let unready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unready", "message": why})));
    if registry.is_draining() {
        return unready("draining: the service is about to stop".to_owned());
    }
    let StoreStatus { waiting, dead, write_error } = registry.store.status();
    if let Some(error) = write_error {
        return unready(format!("the store cannot be written: {error}"));
    }
    let refersion = refersion(registry.configured().map(|endpoint| &endpoint.signals), registry.clock.now());
    let body = json!({"status": "ready", "message": "events are taken in", "waiting": waiting,
        "dead_letters": dead, "refersion": refersion});
    (StatusCode::OK, Json(body))
}

/// The same for operators, who may know the accounts by name.
pub(super) async fn readyz_by_account(State(registry): State<Arc<AccountRegistry>>) -> (StatusCode, Json<Value>) {
    let now = registry.clock.now();
    let merchants = registry.merchants.is_some().then(|| registry.unconfigured());
    let told = merchants.as_deref().map(|endpoints| halted_and_paused(endpoints, now));
    let others = told.iter().flatten().flatten().take(MOST);
    let accounts: Map<String, Value> = registry
        .configured()
        .chain(others.copied())
        .map(|endpoint| {
            (endpoint.account.to_string(), json!({"refersion": refersion(std::iter::once(&endpoint.signals), now)}))
        })
        .collect();
    let counts = merchants.as_ref().zip(told.as_ref());
    let counts = counts
        .map(|(all, [halted, paused])| json!({"at_work": all.len(), "halted": halted.len(), "paused": paused.len()}));
    let (status, Json(mut body)) = readyz(State(Arc::clone(&registry))).await;
    body["accounts"] = accounts.into();
    if let Some(counts) = counts {
        body["merchants"] = counts;
    }
    (status, Json(body))
}

/// Counters, as Prometheus reads them.
pub(super) async fn metrics(State(registry): State<Arc<AccountRegistry>>) -> impl IntoResponse {
    let StoreStatus { waiting, dead, .. } = registry.store.status();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], registry.metrics.text(waiting, dead))
}

fn halted_and_paused(endpoints: &[Arc<AccountEndpoint>], now: Timestamp) -> [Vec<&Arc<AccountEndpoint>>; 2] {
    let (mut halted, mut paused) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        match endpoint.signals.state(now) {
            HealthState::Halted { .. } => halted.push(endpoint),
            HealthState::Open { .. } | HealthState::HalfOpen => paused.push(endpoint),
            HealthState::Closed => {}
        }
    }
    [halted, paused]
}

/// How deliveries of these accounts go; the worst of them counts.
fn refersion<'a>(accounts: impl Iterator<Item = &'a AccountSignals>, now: Timestamp) -> &'static str {
    let mut worst = "ok";
    for account in accounts {
        match account.state(now) {
            HealthState::Halted { .. } => return "halted: Refersion refuses the API key",
            HealthState::Open { .. } | HealthState::HalfOpen => worst = "paused: too many calls, or an outage",
            HealthState::Closed => {}
        }
    }
    worst
}
