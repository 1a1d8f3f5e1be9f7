//! Reload: the service takes another configuration while it runs, as at SIGHUP, and answers what has changed.
//!
//! In: a request. Out: every setting that differs, or every problem of the configuration, which is refused then. Deliberately absent:
//! reading and applying it, which the assembly does ([`ReloadConfig`]); the configuration itself never comes with a request.

use super::Admin;
use super::extract::{ApiQuery, ApiResult};
use super::problem::Problem;
use crate::config::SettingChange;
use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Reads the configuration of the service again.
#[async_trait]
pub trait ReloadConfig: Send + Sync {
    /// Takes it, or with `dry_run` only says what would change. Every setting that differs.
    async fn reload(&self, dry_run: bool) -> Result<Vec<SettingChange>, ReloadRefusal>;
}

/// Why nothing was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadRefusal {
    /// The configuration has these problems. The former one goes on.
    Problems(Vec<String>),
    /// The service is shutting down.
    ShuttingDown,
}

/// How to reload.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReloadQuery {
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
}

/// What a reload changed, or would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The settings that differ, by their names. Those that need a restart stay as they are until then.
    pub changes: Vec<ChangedSetting>,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedSetting {
    /// Its name, such as `refersion.concurrency`.
    pub setting: String,
    /// What it was, as written; `null` if it was not set. A secret is not shown.
    pub before: Option<String>,
    /// What it is to be; `null` if it is not set any more.
    pub after: Option<String>,
    /// Whether it takes effect at the next start only.
    pub needs_restart: bool,
    /// All of it in words.
    pub text: String,
}

impl From<SettingChange> for ChangedSetting {
    fn from(change: SettingChange) -> Self {
        let text = change.to_string();
        let SettingChange { setting, before, after, needs_restart } = change;
        Self { setting, before, after, needs_restart, text }
    }
}

/// Reload the configuration
///
/// The service reads its configuration files and the files of secrets again, as at SIGHUP. One with problems is refused as a whole.
#[utoipa::path(post, path = "/api/v1/reload", tag = "status", operation_id = "reload_configuration",
    params(ReloadQuery), responses((status = 200, description = "What has changed", body = Reloaded)))]
pub(super) async fn reload(
    State(admin): State<Arc<Admin>>,
    ApiQuery(ReloadQuery { dry_run }): ApiQuery<ReloadQuery>,
) -> ApiResult<Reloaded> {
    let changes = admin.config.reload(dry_run).await.map_err(|refusal| match refusal {
        ReloadRefusal::Problems(problems) => Problem::ConfigurationRefused(problems),
        ReloadRefusal::ShuttingDown => Problem::ShuttingDown,
    })?;
    Ok(Json(Reloaded { changes: changes.into_iter().map(ChangedSetting::from).collect() }))
}
