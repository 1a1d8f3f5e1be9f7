//! Health: `/healthz` says the process is alive and touches nothing else; `/readyz` says whether traffic may come.

use super::Door;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Alive, whatever the store and Refersion do: an orchestrator that restarts on it must not restart for their sake.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok", "message": "alive"}))
}

/// Ready unless draining, or the store cannot be written. A refused key or an outage of Refersion does not make the service
/// unready: events are still taken in and kept.
pub(super) async fn readyz(State(door): State<Arc<Door>>) -> (StatusCode, Json<Value>) {
    let unready = |why: String| (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unready", "message": why})));
    if door.notice.is_draining() {
        return unready("draining: the service is about to stop".to_owned());
    }
    match door.queue.depth().await {
        Ok(depth) => {
            let refersion = if door.notice.is_halted() {
                "halted: Refersion refuses the API key"
            } else if door.notice.is_paused() {
                "paused: too many calls, or an outage"
            } else {
                "ok"
            };
            let body = json!({"status": "ready", "message": "events are taken in", "waiting": depth.waiting,
                "dead_letters": depth.dead, "refersion": refersion});
            (StatusCode::OK, Json(body))
        }
        Err(error) => unready(format!("the store cannot be written: {error}")),
    }
}
