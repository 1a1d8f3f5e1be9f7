//! `check --diff`: what a reload of the running service would change.
//!
//! The service itself reads its configuration again, from its own files and its own environment, and takes nothing. Out: one line for each
//! setting that differs; exit code 1 if the configuration would be refused, or if no service answers.

use crate::admin::Reloaded;
use crate::cli::admin_client::AdminClient;
use crate::cli::{block_on, fail, ops_url, print};
use crate::config::Config;
use std::process::ExitCode;
use url::Url;

pub(super) fn run(config: &Config, ops: Option<&Url>, as_json: bool) -> ExitCode {
    match block_on(ask(config, ops)) {
        Ok(Ok(reloaded)) => {
            show(&reloaded, as_json);
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

async fn ask(config: &Config, ops: Option<&Url>) -> Result<Reloaded, String> {
    let url = ops.map_or_else(|| ops_url(config), |url| Ok(url.clone())).map_err(|error| error.to_string())?;
    AdminClient::new(url, config)?.post_query("/api/v1/reload", &[("dry_run", "true")]).await
}

fn show(Reloaded { changes }: &Reloaded, as_json: bool) {
    if as_json {
        for change in changes {
            print(&serde_json::json!(change).to_string());
        }
    } else if changes.is_empty() {
        print("a reload would change nothing");
    } else {
        for change in changes {
            print(&change.text);
        }
    }
}
