//! Health and metrics: `/healthz` (the process is alive), `/readyz` (the service takes requests) and `/metrics`.
//!
//! In: what the store and the workers last published. Out: JSON, and metrics as text. Invariants: health does no I/O, and nothing here writes, so a
//! flood of requests costs little ([`crate::scrape`]); whether the store can be written is known from its last commit, and a probe commits every few
//! seconds. At most [`MAX_NAMED`] unconfigured accounts are named, halted ones before paused ones; a revoked key of one of them
//! shows in `merchants`, not in `refersion`. Deliberately absent: credentials, because the operators' listener is private.

use super::{AccountEndpoint, AccountRegistry};
use crate::account_signals::AccountSignals;
use crate::domain::Timestamp;
use crate::scheduling::HealthState;
use crate::store::StoreStatus;
use crate::telemetry::Format;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The most unconfigured accounts that `/readyz` names.
const MAX_NAMED: usize = 100;

/// Alive, whatever the state of the store and of Refersion: an orchestrator restarts the process on a failure here, and a restart
/// mends neither.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok", "message": "alive"}))
}

/// Ready unless the service is draining or the store cannot be written. A refused key or an outage of Refersion does not make the
/// service unready: it still accepts and keeps events.
pub(super) async fn readyz(State(registry): State<Arc<AccountRegistry>>) -> (StatusCode, Json<Value>) {
    let unready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unready", "message": why})));
    if registry.is_draining() {
        return unready("draining: the service is shutting down".to_owned());
    }
    let StoreStatus { pending, dead, write_error } = registry.store.status();
    if let Some(error) = write_error {
        return unready(format!("the store cannot be written: {error}"));
    }
    let refersion = refersion(registry.configured().iter().map(|endpoint| &endpoint.signals), registry.clock.now());
    let body = json!({"status": "ready", "message": "events are accepted", "pending": pending,
        "dead_letters": dead, "refersion": refersion});
    (StatusCode::OK, Json(body))
}

/// [`readyz`] for operators, who may read the names of accounts.
pub(super) async fn readyz_by_account(State(registry): State<Arc<AccountRegistry>>) -> (StatusCode, Json<Value>) {
    let now = registry.clock.now();
    let unconfigured = registry.merchants.is_some().then(|| registry.unconfigured());
    let unhealthy = unconfigured.as_deref().map(|endpoints| halted_and_paused(endpoints, now));
    let named = unhealthy.iter().flatten().flatten().take(MAX_NAMED);
    let state = |endpoint: &AccountEndpoint| {
        let refersion = refersion(std::iter::once(&endpoint.signals), now);
        json!({"refersion": refersion, "owner": endpoint.is_owner()})
    };
    let accounts: Map<String, Value> = registry
        .configured()
        .iter()
        .chain(named.copied())
        .map(|endpoint| (endpoint.account.to_string(), state(endpoint)))
        .collect();
    let (status, Json(mut body)) = readyz(State(Arc::clone(&registry))).await;
    body["accounts"] = accounts.into();
    if let (Some(all), Some([halted, paused])) = (&unconfigured, &unhealthy) {
        body["merchants"] = json!({"at_work": all.len(), "halted": halted.len(), "paused": paused.len()});
    }
    (status, Json(body))
}

/// The metrics, in the format that the client prefers.
pub(super) async fn metrics(State(registry): State<Arc<AccountRegistry>>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let format = Format::preferred(accept);
    let unconfigured = registry.unconfigured();
    let configured = registry.configured();
    let accounts = configured.iter().chain(&unconfigured).map(|endpoint| (&endpoint.account, &endpoint.signals));
    let ready = !registry.is_draining() && registry.store.status().write_error.is_none();
    let text = registry.scraper.text(format, ready, accounts, registry.clock.now()).await;
    ([(header::CONTENT_TYPE, format.content_type())], text)
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

/// The worst state of these accounts.
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
