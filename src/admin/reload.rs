//! Reload: the service applies another configuration while it runs, as at SIGHUP, and answers with the changes.
//!
//! In: a request. Out: every setting that differs, or every problem of the configuration, which is refused then. Deliberately absent:
//! reading and applying it, which the assembly does; the configuration itself never comes with a request.

use super::Admin;
use super::extract::{ApiQuery, ApiResult};
use super::problem::Problem;
use crate::config::ChangedSetting;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

/// A request to read the configuration again, for the one task that does it.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Nothing is to be taken.
    pub dry_run: bool,
    /// Where the answer goes: every setting that differs, or the problems of the configuration.
    pub answer: oneshot::Sender<Result<Vec<ChangedSetting>, Vec<String>>>,
}

/// The options of a reload.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReloadQuery {
    /// Only return the changes that a reload would make.
    #[serde(default)]
    dry_run: bool,
}

/// The changes that a reload made, or would make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The settings that differ, by their names. Settings that need a restart keep their values until then.
    pub changes: Vec<ChangedSetting>,
}

/// Reload the configuration
///
/// The service reads its configuration files and the files of secrets again, as at SIGHUP. A configuration with problems is refused as a
/// whole.
#[utoipa::path(post, path = "/api/v1/reload", tag = "status", operation_id = "reload_configuration",
    params(ReloadQuery), responses((status = 200, description = "What has changed", body = Reloaded)))]
pub(super) async fn reload(
    State(admin): State<Arc<Admin>>,
    ApiQuery(ReloadQuery { dry_run }): ApiQuery<ReloadQuery>,
) -> ApiResult<Reloaded> {
    let (answer, answered) = oneshot::channel();
    // Err: the task that reloads has ended, so that no answer comes.
    let _ = admin.reload.send(ReloadRequest { dry_run, answer }).await;
    let changes = answered.await.map_err(|_| Problem::ShuttingDown)?.map_err(Problem::ConfigurationRefused)?;
    Ok(Json(Reloaded { changes }))
}
