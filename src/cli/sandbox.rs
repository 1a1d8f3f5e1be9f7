//! `sandbox`: the simulated Refersion by itself.

use super::{block_on, fail, tell, told_to_stop};
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
pub(super) struct Arguments {
    /// The address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9099")]
    listen: SocketAddr,
    /// How long every answer takes, such as 100ms
    #[arg(long, value_name = "DUR", default_value = "0s", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// The share of calls that fail with a 500, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share)]
    fail_rate: f64,
    /// How many calls per second are taken before 429 is answered; any number if not given
    #[arg(long, value_name = "N")]
    rate_limit: Option<NonZeroU32>,
    /// The only key pair to accept, `publickey.secretkey`; any pair if not given
    #[arg(long, value_name = "KEY", value_parser = key)]
    api_key: Option<ApiKey>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    telemetry::start(false, "info");
    let sandbox = Sandbox::new(SandboxSettings {
        latency: arguments.latency,
        fail_rate: arguments.fail_rate,
        rate_limit: arguments.rate_limit,
        api_key: arguments.api_key.clone(),
        ..SandboxSettings::default()
    });
    let served = block_on(async {
        let stop = told_to_stop();
        let listener = TcpListener::bind(arguments.listen).await?;
        let address = listener.local_addr()?;
        tell(&format!("base URL: http://{address}/v2\npage:     http://{address}/"));
        tokio::select! {
            served = sandbox.serve(listener) => served,
            () = stop => Ok(()),
        }
    });
    match served {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            fail(&format!("cannot listen on {}: {error}; choose another with --listen", arguments.listen))
        }
        Err(error) => fail(&error),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn key(text: &str) -> Result<ApiKey, String> {
    ApiKey::parse(text).map_err(|error| error.to_string())
}
