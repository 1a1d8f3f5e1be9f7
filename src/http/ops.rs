//! Health: `/healthz` says the process is alive and touches nothing else; `/readyz` says whether traffic may come. And
//! `/metrics`: what was counted.
//!
//! Of accounts that are not configured only so many are told by name: those whose key Refersion refuses, then those that
//! pause. One merchant's revoked key is no trouble of the service's: it shows in `merchants`, not in `refersion`.

use super::{Door, Doors};
use crate::notice::Notice;
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
pub(super) async fn readyz(State(doors): State<Arc<Doors>>) -> (StatusCode, Json<Value>) {
    let unready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unready", "message": why})));
    if doors.is_draining() {
        return unready("draining: the service is about to stop".to_owned());
    }
    match doors.queue.depth().await {
        Ok(depth) => {
            let refersion = refersion(doors.configured().map(|door| &door.notice));
            let body = json!({"status": "ready", "message": "events are taken in", "waiting": depth.waiting,
                "dead_letters": depth.dead, "refersion": refersion});
            (StatusCode::OK, Json(body))
        }
        Err(error) => unready(format!("the store cannot be written: {error}")),
    }
}

/// The same for operators, who may know the accounts by name.
pub(super) async fn readyz_by_account(State(doors): State<Arc<Doors>>) -> (StatusCode, Json<Value>) {
    let merchants = doors.merchants.is_some().then(|| doors.of_merchants());
    let told = merchants.as_deref().map(halted_and_paused);
    let others = told.iter().flatten().flatten().take(MOST);
    let accounts: Map<String, Value> = doors
        .configured()
        .chain(others.copied())
        .map(|door| (door.account.to_string(), json!({"refersion": refersion(std::iter::once(&door.notice))})))
        .collect();
    let counts = merchants.as_ref().zip(told.as_ref());
    let counts = counts
        .map(|(all, [halted, paused])| json!({"at_work": all.len(), "halted": halted.len(), "paused": paused.len()}));
    let (status, Json(mut body)) = readyz(State(Arc::clone(&doors))).await;
    body["accounts"] = accounts.into();
    if let Some(counts) = counts {
        body["merchants"] = counts;
    }
    (status, Json(body))
}

/// Counters, as Prometheus reads them.
pub(super) async fn metrics(State(doors): State<Arc<Doors>>) -> impl IntoResponse {
    // Err: the store cannot be written, which `/readyz` says.
    let held = doors.queue.depth().await.ok().map(|depth| (depth.waiting, depth.dead));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], doors.metrics.text(held))
}

fn halted_and_paused(doors: &[Arc<Door>]) -> [Vec<&Arc<Door>>; 2] {
    let halted = doors.iter().filter(|door| door.notice.is_halted());
    let paused = doors.iter().filter(|door| !door.notice.is_halted() && door.notice.is_paused());
    [halted.collect(), paused.collect()]
}

/// How deliveries of these accounts go; the worst of them counts.
fn refersion<'a>(mut notices: impl Iterator<Item = &'a Notice> + Clone) -> &'static str {
    if notices.clone().any(Notice::is_halted) {
        "halted: Refersion refuses the API key"
    } else if notices.any(Notice::is_paused) {
        "paused: too many calls, or an outage"
    } else {
        "ok"
    }
}
