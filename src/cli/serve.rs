//! `serve`: the service; with `--sandbox`, against a simulated Refersion and a throw-away store in the same process.

use super::{Layers, block_on, fail, reachable, runtime, tell, told_to_stop};
use crate::app::{self, Addresses};
use crate::config::{Config, LogFormat, Mode, StoreUrl};
use crate::domain::ApiKey;
use crate::failpoint;
use crate::sandbox::{Sandbox, SandboxSettings};
use crate::telemetry;
use clap::Args;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use url::Url;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    layers: Layers,
    /// Deliver to a simulated Refersion in this process, and keep nothing: needs no account, no key, no file
    #[arg(long)]
    sandbox: bool,
}

/// The key of a trial, unless one is configured. It opens nothing.
const SANDBOX_KEY: &str = "pub_sandbox.sec_sandbox";
/// Where the page of a trial's simulated Refersion is looked for, if the port is free.
const SANDBOX_PORT: u16 = 9099;

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mode = if arguments.sandbox { Mode::Sandbox } else { Mode::Live };
    let config = match arguments.layers.load(mode) {
        Ok(config) => config,
        Err(code) => return code,
    };
    failpoint::arm();
    telemetry::start(config.log.format == LogFormat::Json, &config.log.filter);
    match serve(config, arguments.sandbox) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

/// Serves until it is told to stop. Deliveries have threads of their own, so that answers to Segment do not wait for them.
fn serve(config: Config, sandbox: bool) -> io::Result<Result<(), String>> {
    let deliveries = runtime()?;
    let served = block_on(async {
        let stop = told_to_stop();
        if sandbox {
            trial(config, deliveries.handle(), stop).await
        } else {
            app::serve(config, deliveries.handle(), |_| {}, stop).await.map_err(|error| error.to_string())
        }
    });
    deliveries.shutdown_background();
    served
}

/// Serves against a simulated Refersion, from a store that is removed at the end.
async fn trial(mut config: Config, deliveries: &Handle, stop: impl Future<Output = ()>) -> Result<(), String> {
    let own_key = config.refersion.api_key.is_some();
    let key = config.refersion.api_key.take().map_or_else(|| ApiKey::parse(SANDBOX_KEY), Ok);
    let key = key.map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a throw-away store: {error}"))?;
    let listener = listener().await.map_err(|error| format!("cannot listen for the simulated Refersion: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let base_url = format!("http://{address}/v2/");
    config.refersion.base_url = Url::parse(&base_url).map_err(|error| error.to_string())?;
    config.refersion.api_key = Some(key.clone());
    config.store.url = StoreUrl::Sqlite(folder.path().join("trial.db"));
    let sandbox = Sandbox::new(SandboxSettings { api_key: Some(key), ..SandboxSettings::default() });
    tokio::spawn(sandbox.serve(listener));
    let shown = if own_key { "\"$REFERSION_API_KEY:\"" } else { "pub_sandbox.sec_sandbox:" };
    let announce = |addresses: Addresses| tell(&welcome(addresses, address, shown));
    app::serve(config, deliveries, announce, stop).await.map_err(|error| error.to_string())
}

async fn listener() -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, SANDBOX_PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
    }
}

fn welcome(addresses: Addresses, sandbox: SocketAddr, user: &str) -> String {
    let server = reachable(addresses.server);
    format!(
        r#"
  A trial: nothing leaves this machine, and nothing is kept.

  The simulated Refersion, where affiliates appear:   http://{sandbox}/
  The Segment webhook URL:                            http://{server}/segment

  Make an affiliate:

    curl -u {user} http://{server}/segment -d '{{
      "type": "identify", "userId": "u1",
      "traits": {{"name": "Peter Gibbons", "email": "peter@example.com", "address": {{"country": "USA"}}}}}}'

  Delete it:

    curl -u {user} http://{server}/segment -d '{{"type": "delete", "userId": "u1"}}'

  The same event again has no second effect: change something in it, or give it a "messageId" of its own.
  Stop with Ctrl-C.
"#
    )
}
