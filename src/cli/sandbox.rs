//! `sandbox`: runs the simulated Refersion, and with `--segment` the simulated Segment, without the service, until the process is stopped.
//!
//! Out: their base URLs and the URLs of their pages, on standard output, and the settings by which a service uses the simulated
//! Segment.

use super::signals::shutdown_signal;
use super::{CommandResult, block_on, print};
use crate::domain::ApiKey;
use crate::sandbox::segment::{SegmentSandbox, SegmentSettings};
use crate::sandbox::{Sandbox, SandboxSettings};
use crate::telemetry;
use clap::Args;
use std::net::SocketAddr;
use std::num::NonZeroU32;
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
    #[arg(long, value_name = "KEY", value_parser = parse_api_key)]
    api_key: Option<ApiKey>,
    /// Also run a simulated Segment, where merchants connect their sources
    #[arg(long)]
    segment: bool,
    /// With --segment: the address of the simulated Segment; port 0 means any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9098", requires = "segment")]
    segment_listen: SocketAddr,
    /// With --segment: the URL of the service to which it sends merchants back
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/connect/callback", requires = "segment")]
    redirect_url: String,
}

pub(super) fn run(args: &SandboxArgs) -> CommandResult {
    telemetry::start(false, "info");
    let sandbox = Sandbox::new(SandboxSettings {
        latency: args.latency,
        fail_rate: args.fail_rate,
        rate_limit: args.rate_limit,
        api_key: args.api_key.clone(),
        ..SandboxSettings::default()
    });
    block_on(async {
        let stop = shutdown_signal();
        let listener = listen(args.listen, "--listen").await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        print(&format!("base URL: http://{address}/v2\npage:     http://{address}/"));
        let segment = if args.segment { Some(segment(args).await?) } else { None };
        let segment = async move {
            match segment {
                Some((segment, listener)) => segment.serve(listener).await,
                None => std::future::pending().await,
            }
        };
        let served = tokio::select! {
            served = sandbox.serve(listener) => served,
            served = segment => served,
            () = stop => Ok(()),
        };
        served.map_err(|error| error.to_string())
    })
}

/// Listens on the address that `option` gave.
async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| format!("cannot listen on {address}: {error}; choose another with {option}"))
}

/// Starts a simulated Segment, and prints the settings by which a service uses it.
async fn segment(args: &SandboxArgs) -> Result<(SegmentSandbox, TcpListener), String> {
    let listener = listen(args.segment_listen, "--segment-listen").await?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let settings = SegmentSettings::default();
    let SegmentSettings { client_id, client_secret, public_api_token, .. } = &settings;
    print(&format!(
        "\nSegment:  http://{address}/\n  CONNECT_CLIENT_ID={client_id}\n  CONNECT_CLIENT_SECRET={client_secret}\n  \
         CONNECT_REDIRECT_URL={}\n  CONNECT_AUTH_BASE_URL=http://{address}\n  CONNECT_API_BASE_URL=http://{address}\n  \
         STORE_SEAL_KEY=$(openssl rand -base64 32)\n  \
         SEGMENT_PUBLIC_API_TOKEN={public_api_token}\n  SEGMENT_PUBLIC_API_BASE_URL=http://{address}/public",
        args.redirect_url
    ));
    let segment = SegmentSandbox::new(settings);
    segment.register_redirect_url(&args.redirect_url);
    Ok((segment, listener))
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn parse_api_key(text: &str) -> Result<ApiKey, String> {
    ApiKey::parse(text).map_err(|error| error.to_string())
}
