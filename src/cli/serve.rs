//! `serve`: runs the service until the process is stopped. With `--sandbox` it is a trial: the service delivers to a simulated
//! Refersion in the same process, merchants connect at a simulated Segment, and the store is a temporary file.

use super::signals::{hangups, outlive_full_files, shutdown_signal};
use super::{CommandResult, ConfigArgs, block_on, fail, print, reachable, runtime, traces_are_wanted};
use crate::app::{self, Addresses, Reloading};
use crate::config::{Config, ConnectConfig, LogFormat, Mode, StoreUrl};
use crate::domain::{ApiKey, SealKey};
use crate::failpoint;
use crate::sandbox::segment::{SegmentSandbox, SegmentSettings};
use crate::sandbox::{Sandbox, SandboxSettings};
use crate::telemetry;
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use url::Url;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Deliver to a simulated Refersion in this process, and store nothing for good. Needs no account, no key and no file
    #[arg(long)]
    sandbox: bool,
    /// With --sandbox: the address of the simulated Refersion; port 0 means any free port [default: 127.0.0.1:9099, or any free port]
    #[arg(long, value_name = "ADDR", requires = "sandbox")]
    sandbox_listen: Option<SocketAddr>,
}

/// The API key of a trial if none is configured. Only the simulated Refersion accepts it.
const SANDBOX_KEY: &str = "pub_sandbox.sec_sandbox";
/// The port of a trial's simulated Refersion, if it is free.
const SANDBOX_PORT: u16 = 9099;
/// The port of a trial's simulated Segment, if it is free.
const SEGMENT_PORT: u16 = 9098;

pub(super) fn run(args: &ServeArgs) -> CommandResult {
    let mode = if args.sandbox { Mode::Sandbox } else { Mode::Live };
    let config = args.config.load(mode)?;
    failpoint::arm();
    telemetry::start(config.log.format == LogFormat::Json, &config.log.filter);
    serve(config, args)
}

/// Serves until the shutdown signal. Deliveries run on their own threads, so that responses to Segment do not wait for them.
fn serve(config: Config, args: &ServeArgs) -> CommandResult {
    let deliveries = runtime().map_err(|error| fail(&error))?;
    let served = block_on(async {
        let stop = shutdown_signal();
        outlive_full_files();
        if traces_are_wanted() {
            telemetry::traces::start()?;
        }
        let served = if args.sandbox {
            trial(config, args, deliveries.handle(), stop).await
        } else {
            let reloading = reloading(args, Mode::Live, |_| {});
            app::serve(config, reloading, deliveries.handle(), |_| {}, stop).await.map_err(|error| error.to_string())
        };
        // Err: it panicked. It blocks, and the runtime has to run meanwhile.
        let _ = tokio::task::spawn_blocking(|| telemetry::traces::stop(app::LAST_SPANS_TIMEOUT)).await;
        served
    });
    deliveries.shutdown_background();
    served
}

/// Reads the configuration again at SIGHUP, from the same files and the same environment. `apply` puts the values of a trial in place of
/// those of the configuration.
fn reloading(args: &ServeArgs, mode: Mode, apply: impl Fn(&mut Config) + Send + Sync + 'static) -> Reloading {
    let (files, requested) = (args.config.clone(), hangups());
    let load = move || {
        let (mut config, warnings) = files.read(mode)?;
        apply(&mut config);
        Ok((config, warnings))
    };
    Reloading { load: Box::new(load), requested }
}

/// The values that a trial has in place of those of the configuration.
struct TrialSettings {
    key: ApiKey,
    base_url: Url,
    store: StoreUrl,
    connect: ConnectConfig,
    seal_key: SealKey,
}

impl TrialSettings {
    fn apply(&self, config: &mut Config) {
        config.refersion.base_url = self.base_url.clone();
        config.refersion.api_key = Some(self.key.clone());
        config.store.url = self.store.clone();
        config.store.seal_keys = vec![self.seal_key.clone()];
        config.connect = Some(self.connect.clone());
    }
}

/// Serves with a simulated Refersion and a store that is removed at the end.
async fn trial(
    mut config: Config,
    args: &ServeArgs,
    deliveries: &Handle,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let own_api_key = config.refersion.api_key.is_some();
    let key = config.refersion.api_key.take().map_or_else(|| ApiKey::parse(SANDBOX_KEY), Ok);
    let key = key.map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a temporary store: {error}"))?;
    let listener = bind_sandbox(args.sandbox_listen, SANDBOX_PORT).await?;
    let address = reachable(listener.local_addr().map_err(|error| error.to_string())?);
    let (segment, connect) = start_segment().await?;
    let settings = TrialSettings {
        key: key.clone(),
        base_url: Url::parse(&format!("http://{address}/v2/")).map_err(|error| error.to_string())?,
        store: StoreUrl::Sqlite(folder.path().join("trial.db")),
        connect,
        seal_key: SealKey::new(rand::random()),
    };
    settings.apply(&mut config);
    let sandbox = Sandbox::new(SandboxSettings { api_key: Some(key), ..SandboxSettings::default() });
    tokio::spawn(sandbox.serve(listener));
    let shown = if own_api_key { "\"$REFERSION_API_KEY:\"" } else { "pub_sandbox.sec_sandbox:" };
    let announce = |addresses: Addresses| {
        segment.register_redirect_url(&format!("http://{}/connect/callback", reachable(addresses.server)));
        print(&instructions(addresses, address, shown));
    };
    let reloading = reloading(args, Mode::Sandbox, move |config| settings.apply(config));
    app::serve(config, reloading, deliveries, announce, stop).await.map_err(|error| error.to_string())
}

/// Starts a simulated Segment. Out: the settings by which merchants connect there, too.
async fn start_segment() -> Result<(SegmentSandbox, ConnectConfig), String> {
    let listener = bind_sandbox(None, SEGMENT_PORT).await?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let base_url = Url::parse(&format!("http://{address}/")).map_err(|error| error.to_string())?;
    let settings = SegmentSettings::default();
    let connect = ConnectConfig {
        client_id: settings.client_id.clone(),
        client_secret: settings.client_secret.clone().into(),
        redirect_url: None,
        scope: settings.scope.clone(),
        auth_base_url: base_url.clone(),
        api_base_url: base_url,
    };
    let segment = SegmentSandbox::new(settings);
    tokio::spawn(segment.serve(listener));
    Ok((segment, connect))
}

/// Listens on `listen`; without it on the usual port of this machine, or on any if that one is taken.
async fn bind_sandbox(listen: Option<SocketAddr>, usual: u16) -> Result<TcpListener, String> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, usual));
    match (TcpListener::bind(listen.unwrap_or(usual)).await, listen) {
        (Ok(listener), _) => Ok(listener),
        (Err(error), Some(address)) => {
            Err(format!("cannot listen on {address}: {error}; choose another with --sandbox-listen"))
        }
        (Err(_), None) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(|error| format!("cannot listen for a simulated service: {error}")),
    }
}

fn instructions(addresses: Addresses, sandbox: SocketAddr, user: &str) -> String {
    let (server, ops) = (reachable(addresses.server), reachable(addresses.ops));
    let key = user.trim_end_matches(':').trim_matches('"').trim_end_matches(':');
    format!(
        r#"
  A trial: no data leaves this machine, and none is kept.

  The simulated Refersion, which shows the affiliates:   http://{sandbox}/
  The status page, for operators:                        http://{ops}/
  The Segment webhook URL:                               http://{server}/segment
  "Enable with Segment", at a simulated Segment:         http://{server}/connect   (key: {key})

  Create an affiliate:

    curl -u {user} http://{server}/segment -d '{{
      "type": "identify", "userId": "u1",
      "traits": {{"name": "Peter Gibbons", "email": "peter@example.com", "address": {{"country": "USA"}}}}}}'

  Delete it:

    curl -u {user} http://{server}/segment -d '{{"type": "delete", "userId": "u1"}}'

  What became of its events:

    refersion-destination lookup --email peter@example.com --ops http://{ops}

  Sending the same event again has no effect: change a value in it, or add another "messageId".
  An affiliate that was deleted stays disabled: use another "userId" and another e-mail after that.
  Stop with Ctrl-C.
"#
    )
}
