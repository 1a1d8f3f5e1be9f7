//! `healthcheck`: asks a health endpoint whether the service is healthy, so that a container image needs no `curl`.
//!
//! In: a URL, or the settings of `serve`, of which only OPS_LISTEN counts. Out: "healthy" and exit code 0 if the endpoint answers
//! 200, otherwise the reason and exit code 1. `http` only. A mistake in the settings that was made since the service started does not
//! make it unhealthy; it is printed if the endpoint cannot be reached.

use super::http_client::HttpClient;
use super::{CommandResult, ConfigArgs, block_on, environment, eprint, local_url};
use crate::config::{Config, Problems};
use clap::Args;
use std::io::Write as _;
use std::time::Duration;
use url::Url;

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// The health endpoint; if not given, `/healthz` on OPS_LISTEN
    #[arg(value_name = "URL")]
    url: Option<Url>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The longest wait for the answer of the endpoint: one second less than the container's own limit (Dockerfile, `HEALTHCHECK`).
const TIMEOUT: Duration = Duration::from_secs(5);

/// A container probe knows the exit codes 0 and 1 only, also for a bad configuration.
pub(super) fn run(args: &HealthcheckArgs) -> CommandResult {
    let (url, problems) = match &args.url {
        Some(url) => (Ok(url.clone()), Problems::default()),
        None => configured_url(&args.config),
    };
    block_on(async {
        let checked = async { check(&url?).await }.await;
        if checked.is_err() && !problems.is_empty() {
            eprint(&problems.to_string());
        }
        checked
    })?;
    let _ = writeln!(std::io::stdout(), "healthy"); // the exit code says it, also if the line cannot be written
    Ok(())
}

/// `/healthz` on OPS_LISTEN, and the problems of the configuration.
fn configured_url(config: &ConfigArgs) -> (Result<Url, String>, Problems) {
    let (address, problems) = Config::ops_listen(&config.files, environment());
    let address = address.ok_or("OPS_LISTEN is not valid".to_owned());
    (address.and_then(|address| local_url(address, "healthz")), problems)
}

/// Whether the endpoint answers 200; otherwise its answer, or the error.
async fn check(url: &Url) -> Result<(), String> {
    match HttpClient::new(TIMEOUT)?.get_status(url).await? {
        200 => Ok(()),
        status => Err(format!("{url} answered {status}")),
    }
}
