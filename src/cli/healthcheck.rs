//! `healthcheck`: asks the health endpoint, so that a container needs no curl.
//!
//! `http` only, five seconds at most.

use super::plain_http::ask;
use super::{Layers, block_on, default_ops, fail, tell};
use crate::config::Mode;
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;
use url::Url;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The endpoint to ask; `/healthz` on OPS_LISTEN if not given
    #[arg(value_name = "URL")]
    url: Option<Url>,
    #[command(flatten)]
    layers: Layers,
}

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    // A probe knows two answers only, whatever is wrong.
    let Ok(url) = arguments.url.clone().map_or_else(|| default_url(&arguments.layers), Ok) else {
        return ExitCode::FAILURE;
    };
    let asked = block_on(async { tokio::time::timeout(PATIENCE, ask(&url, "GET", "", b"", 64)).await });
    match asked {
        Ok(Ok(Ok((200, _)))) => {
            tell("healthy");
            ExitCode::SUCCESS
        }
        Ok(Ok(Ok((status, _)))) => fail(&format!("{url} answered {status}")),
        Ok(Ok(Err(error))) => fail(&format!("{url}: {error}")),
        Ok(Err(_)) => fail(&format!("{url} did not answer within {} seconds", PATIENCE.as_secs())),
        Err(error) => fail(&error),
    }
}

fn default_url(layers: &Layers) -> Result<Url, ExitCode> {
    let ops = default_ops(&layers.load(Mode::Offline)?);
    ops.and_then(|ops| ops.join("healthz")).map_err(|error| fail(&error))
}
