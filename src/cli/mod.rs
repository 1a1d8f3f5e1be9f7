//! The command line: one file per subcommand, each from its arguments to an exit code.
//!
//! Exit codes: 0 well; 1 not (the reason is on standard error, or in the output that was asked for); 2 wrong usage; 64 a bad
//! configuration. What was asked for goes to standard output, everything else to standard error.

mod check;
mod dead_letters;
mod forget;
mod healthcheck;
mod keeper;
mod map;
mod plain_http;
mod sandbox;
mod serve;

use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::domain::Timestamp;
use clap::{Args, Parser, Subcommand};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};
use url::Url;

const AFTER_HELP: &str = "\
Settings come from config/default.toml (compiled in), then --config files, then the environment:
key `k` of section `s` is S_K there, so `api_key` in [refersion] is REFERSION_API_KEY.

To look around without an account:
  refersion-destination serve --sandbox
To run it:
  REFERSION_API_KEY=publickey.secretkey refersion-destination serve";

/// A Segment webhook destination that keeps Refersion affiliates in step with your users.
#[derive(Debug, Parser)]
#[command(name = "refersion-destination", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take Segment's events in and carry them out at Refersion
    Serve(serve::Arguments),
    /// Run a simulated Refersion by itself, for trials
    Sandbox(sandbox::Arguments),
    /// Show, offline, which Refersion calls an event would make, and what is odd about it
    Map(map::Arguments),
    /// Tell every problem of the configuration, then prove each API key with one cheap call
    Check(Layers),
    /// List, show, replay or discard what could not be delivered
    #[command(visible_alias = "dlq")]
    DeadLetters(dead_letters::Arguments),
    /// Erase what this service holds of a user
    Forget(forget::Arguments),
    /// Exit 0 if the service is healthy, 1 if not: for container probes
    Healthcheck(healthcheck::Arguments),
}

/// Where settings come from.
#[derive(Debug, Args)]
struct Layers {
    /// A TOML file of settings; may be given several times, a later file wins over an earlier one
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// A bad configuration (`EX_USAGE` of sysexits.h).
const BAD_CONFIGURATION: u8 = 64;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Sandbox(arguments) => sandbox::run(&arguments),
        Command::Map(arguments) => map::run(&arguments),
        Command::Check(layers) => check::run(&layers),
        Command::DeadLetters(arguments) => dead_letters::run(&arguments),
        Command::Forget(arguments) => forget::run(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
    }
}

impl Layers {
    /// The configuration, or the exit code after its problems were told.
    fn load(&self, mode: Mode) -> Result<Config, ExitCode> {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        match Config::load(&self.files, environment, mode) {
            Ok((config, warnings)) => {
                for warning in warnings {
                    say(&format!("warning: {warning}"));
                }
                Ok(config)
            }
            Err(problems) => {
                say(&problems.to_string());
                Err(ExitCode::from(BAD_CONFIGURATION))
            }
        }
    }
}

/// Where a service of this configuration answers operators on this machine.
fn default_ops(config: &Config) -> Result<Url, url::ParseError> {
    Url::parse(&format!("http://{}/", reachable(config.ops.listen)))
}

/// The address at which this machine reaches who listens on `address`, which may mean every address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// The moment now.
fn now() -> Timestamp {
    Clock::start().now()
}

/// Writes a line to standard error. A reader that has gone is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", line.trim_end());
}

/// Writes a line to standard output. A reader that has gone is no reason to fail.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Tells why a command failed.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    say(&format!("refersion-destination: {error}"));
    ExitCode::FAILURE
}

/// Runs a command that waits for something.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, std::io::Error> {
    let runtime = runtime()?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(result)
}

/// A runtime with a thread for each core but one, which is left to the thread that writes the store. Measured on two cores: with
/// a thread on each, requests wait up to twice as long.
fn runtime() -> Result<Runtime, std::io::Error> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1);
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Waits until the process is told to stop: SIGTERM, or SIGINT (Ctrl-C). Listens from this call on, not from the first
/// wait, so that a signal that arrives during the start counts and ends the process in order.
fn told_to_stop() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate()).and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)))
    };
    async move {
        #[cfg(unix)]
        match signals {
            Ok((mut terminate, mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot listen for signals; stop this process with SIGKILL");
                std::future::pending::<()>().await;
            }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
