//! Health: `/healthz` says the process is alive and touches nothing else; `/readyz` says whether traffic may come.

use super::Doors;
use crate::notice::Notice;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::Arc;

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
            let refersion = refersion(doors.iter().map(|door| &door.notice));
            let body = json!({"status": "ready", "message": "events are taken in", "waiting": depth.waiting,
                "dead_letters": depth.dead, "refersion": refersion});
            (StatusCode::OK, Json(body))
        }
        Err(error) => unready(format!("the store cannot be written: {error}")),
    }
}

/// The same for operators, who may know the accounts by name.
pub(super) async fn readyz_by_account(State(doors): State<Arc<Doors>>) -> (StatusCode, Json<Value>) {
    let accounts: Map<String, Value> = doors
        .iter()
        .map(|door| (door.account.to_string(), json!({"refersion": refersion(std::iter::once(&door.notice))})))
        .collect();
    let (status, Json(mut body)) = readyz(State(doors)).await;
    body["accounts"] = accounts.into();
    (status, Json(body))
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
