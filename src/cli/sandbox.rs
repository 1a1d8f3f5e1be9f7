//! `sandbox`: runs the simulated Refersion without the service, until the process is stopped.
//!
//! Out: its base URL and the URL of its page, on standard output.

use super::{block_on, fail, print, shutdown_signal};
use crate::domain::ApiKey;
use crate::sandbox::{Sandbox, SandboxSettings};
use crate::telemetry;
use clap::Args;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    /// The address to listen on; port 0 means any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9099")]
    listen: SocketAddr,
    /// The delay of every response, such as 100ms
    #[arg(long, value_name = "DUR", default_value = "0s", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// The share of calls that are answered with 500, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = parse_share)]
    fail_rate: f64,
    /// The number of calls per second above which calls are answered with 429; without it there is no limit
    #[arg(long, value_name = "N")]
    rate_limit: Option<NonZeroU32>,
    /// The only key pair that is accepted, `publickey.secretkey`; without it any pair is accepted
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    api_key: Option<ApiKey>,
}

pub(super) fn run(args: &SandboxArgs) -> ExitCode {
    telemetry::start(false, "info");
    let sandbox = Sandbox::new(SandboxSettings {
        latency: args.latency,
        fail_rate: args.fail_rate,
        rate_limit: args.rate_limit,
        api_key: args.api_key.clone(),
        ..SandboxSettings::default()
    });
    let served = block_on(async {
        let stop = shutdown_signal();
        let listener = TcpListener::bind(args.listen).await?;
        let address = listener.local_addr()?;
        print(&format!("base URL: http://{address}/v2\npage:     http://{address}/"));
        tokio::select! {
            served = sandbox.serve(listener) => served,
            () = stop => Ok(()),
        }
    });
    match served {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&format!("cannot listen on {}: {error}; choose another with --listen", args.listen)),
        Err(error) => fail(&error),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn parse_key(text: &str) -> Result<ApiKey, String> {
    ApiKey::parse(text).map_err(|error| error.to_string())
}
