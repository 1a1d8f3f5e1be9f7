//! `check --diff`: shows the changes that a reload of the running service would make.
//!
//! The service itself reads its configuration again, from its own files and its own environment, and applies nothing. Out: one line for
//! each setting that differs; exit code 1 if the configuration would be refused, or if no service answers.

use crate::admin::Reloaded;
use crate::cli::admin_client::AdminClient;
use crate::cli::{CommandResult, block_on, print};
use crate::config::Config;
use serde_json::json;
use url::Url;

pub(super) fn run(config: &Config, ops: Option<&Url>, as_json: bool) -> CommandResult {
    let Reloaded { changes } = block_on(async {
        AdminClient::of_service(ops, config)?.post_query("/api/v1/reload", &json!({"dry_run": true})).await
    })?;
    if changes.is_empty() && !as_json {
        print("a reload would change nothing");
    }
    for change in &changes {
        print(&if as_json { json!(change).to_string() } else { change.text.clone() });
    }
    Ok(())
}
