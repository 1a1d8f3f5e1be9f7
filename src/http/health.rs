//! Health checks on the public listener: `/healthz` (liveness) and `/readyz` (readiness).

use super::AccountRegistry;
use crate::health::{Liveness, Readiness};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use std::sync::Arc;

pub(super) async fn healthz() -> Json<Liveness> {
    Json(Liveness::default())
}

pub(super) async fn readyz(State(registry): State<Arc<AccountRegistry>>) -> impl IntoResponse {
    let configured = registry.configured();
    let accounts = configured.iter().map(|endpoint| &endpoint.signals);
    let readiness = Readiness::new(registry.store.status(), registry.is_draining(), accounts, registry.clock.now());
    (readiness.code(), Json(readiness))
}
