//! `healthcheck`: asks a health endpoint whether the service is healthy, so that a container image needs no `curl`.
//!
//! Out: "healthy" and exit code 0 if the endpoint answers 200, otherwise the reason and exit code 1. `http` only.

use super::http_client::HttpClient;
use super::{ConfigArgs, block_on, fail, ops_url, print};
use crate::config::Mode;
use clap::Args;
use std::process::ExitCode;
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

/// How long the endpoint may take to answer: one second less than the container's own limit (Dockerfile, `HEALTHCHECK`).
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn run(args: &HealthcheckArgs) -> ExitCode {
    // A container probe knows the exit codes 0 and 1 only, also for a bad configuration.
    let Ok(url) = args.url.clone().map_or_else(|| default_url(&args.config), Ok) else {
        return ExitCode::FAILURE;
    };
    let status = block_on(async { HttpClient::new(TIMEOUT)?.get_status(&url).await });
    match status {
        Ok(Ok(200)) => {
            print("healthy");
            ExitCode::SUCCESS
        }
        Ok(Ok(status)) => fail(&format!("{url} answered {status}")),
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

fn default_url(config: &ConfigArgs) -> Result<Url, ExitCode> {
    let url = ops_url(&config.load(Mode::Offline)?);
    url.and_then(|url| url.join("healthz")).map_err(|error| fail(&error))
}
