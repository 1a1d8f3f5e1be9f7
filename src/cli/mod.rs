//! The command line: one file for each subcommand.
//!
//! In: arguments and environment. Out: an exit code. 0 is success; 1 is failure (the reason is on standard error, or in the output); 2 is
//! wrong usage; 64 is a bad configuration. This is the only place that reads the environment.

mod account_args;
mod admin_backend;
mod admin_client;
mod backlog;
mod backup;
mod check;
mod confirm;
mod connect;
mod dead_letters;
mod email_conflicts;
mod event_file;
mod events;
mod forget;
mod healthcheck;
mod http_client;
mod import;
mod learn;
mod lookup;
mod map;
mod migrate;
mod migrate_store;
mod output;
mod progress;
mod restore;
mod sandbox;
mod serve;
mod signals;
mod status;
mod tally;

use crate::app::reachable;
use crate::clock::Clock;
use crate::config::{Config, Mode, Problems, Warning};
use crate::domain::Timestamp;
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use output::{eprint, fail, print};
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};
use url::Url;

const AFTER_HELP: &str = "\
Settings come from config/default.toml (compiled in), then the files that CONFIG_FILES names
(separated by commas), then --config files, then the environment:
setting `n` of section `s` is S_N there, so `api_key` in [refersion] is REFERSION_API_KEY.

To look around without an account:
  refersion-destination serve --sandbox
To run it:
  REFERSION_API_KEY=publickey.secretkey refersion-destination serve";

/// A Segment webhook destination that keeps Refersion affiliates in step with your users.
#[derive(Debug, Parser)]
#[command(name = "refersion-destination", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive Segment's events and deliver them to Refersion
    Serve(serve::ServeArgs),
    /// Run only the simulated Refersion, for trials
    Sandbox(sandbox::SandboxArgs),
    /// Show, offline, which Refersion calls an event would make, and which fields are left out
    Map(map::MapArgs),
    /// Send the events or users of a file to a running service
    Import(import::ImportArgs),
    /// Set up a webhook in your own Segment workspace that sends its events to this service
    Connect(connect::ConnectArgs),
    /// Print every problem of the configuration; then check the store, the disk, each API key and the clock
    Check(check::CheckArgs),
    /// Show pending events, how fast they become fewer, the state of each account, and the last hour and day
    Status(status::StatusArgs),
    /// List, show, replay or discard events that could not be delivered
    #[command(visible_alias = "dlq")]
    DeadLetters(dead_letters::DeadLettersArgs),
    /// List the pending events of an account, or set aside those of an account that is gone
    Backlog(backlog::BacklogArgs),
    /// List affiliates whose e-mail could not be changed, because another affiliate has the new one
    EmailConflicts(email_conflicts::EmailConflictsArgs),
    /// List the result of every event, the newest first
    Events(events::EventsArgs),
    /// Show the results of a user's events, and the data that the store holds of the user
    Lookup(lookup::LookupArgs),
    /// Learn who is an affiliate already from Refersion's list, so that a first sync takes fewer calls
    Learn(learn::LearnArgs),
    /// Erase the data that the store holds of a user
    Forget(forget::ForgetArgs),
    /// Copy the store into a file, while the service runs or is stopped
    Backup(backup::BackupArgs),
    /// Restore the store from a backup, where no store exists
    Restore(restore::RestoreArgs),
    /// Create the tables of the store, or migrate them to those of this release, and end
    Migrate(ConfigArgs),
    /// Move all data of a store to another, empty one: from SQLite to PostgreSQL, or back
    MigrateStore(migrate_store::MigrateStoreArgs),
    /// Exit with 0 if the service is healthy, otherwise with 1; for container probes
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// The configuration files.
#[derive(Clone, Debug, Args)]
struct ConfigArgs {
    /// A TOML file of settings. May be given several times; a later file overrides an earlier one
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// The exit code of a bad configuration: `EX_USAGE` of sysexits.h. `EX_CONFIG` (78) would fit better, but 64 was released first, and
/// supervisors may look for it. Wrong usage is 2, clap's own code.
const BAD_CONFIGURATION: u8 = 64;

/// The result of a command. Err: the exit code of a failed command, after the reason was printed.
type CommandResult<T = ()> = Result<T, ExitCode>;

/// Runs the command that the process's arguments name. Returns its exit code.
pub fn run() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Connect(args) => connect::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args),
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Backlog(args) => backlog::run(&args),
        Command::EmailConflicts(args) => email_conflicts::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Lookup(args) => lookup::run(&args),
        Command::Learn(args) => learn::run(&args),
        Command::Forget(args) => forget::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::MigrateStore(args) => migrate_store::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
    };
    ended.err().unwrap_or(if output::is_incomplete() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl ConfigArgs {
    /// The configuration of these files and the environment.
    fn read(&self, mode: Mode) -> Result<(Config, Vec<Warning>), Problems> {
        Config::load(&self.files, environment(), mode)
    }

    /// The configuration of these files and the environment, or the exit code after its problems were printed.
    fn load(&self, mode: Mode) -> CommandResult<Config> {
        let (config, warnings) = self.read(mode).map_err(|problems| {
            eprint(&problems.to_string());
            ExitCode::from(BAD_CONFIGURATION)
        })?;
        for warning in warnings {
            eprint(&format!("warning: {warning}"));
        }
        Ok(config)
    }
}

/// The environment variables that are text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The URL of `path` at which this machine reaches a listener on `address`.
fn local_url(address: SocketAddr, path: &str) -> Result<Url, String> {
    Url::parse(&format!("http://{}/{path}", reachable(address))).map_err(|error| error.to_string())
}

/// Whether traces are exported: the variables of OpenTelemetry name an endpoint.
fn traces_are_wanted() -> bool {
    let names = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    names.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Parses the name of a file that is neither standard input nor standard output.
fn file_parser() -> impl TypedValueParser<Value = PathBuf> {
    let parse =
        |path: PathBuf| if path == Path::new("-") { Err("name a file; a stream does not do here") } else { Ok(path) };
    PathBufValueParser::new().try_map(parse)
}

/// Parses a text that is not blank.
fn parse_text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("expected a text that is not blank") } else { Ok(text.to_owned()) }
}

/// The current time.
fn now() -> Timestamp {
    Clock::start().now()
}

/// Runs an asynchronous command to its end. Tasks that still run are cancelled. An error is printed.
fn block_on<T, E: Display>(future: impl Future<Output = Result<T, E>>) -> CommandResult<T> {
    let runtime = runtime().map_err(|error| fail(&error))?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result.map_err(|error| fail(&error))
}

/// A runtime with one thread fewer than there are cores, because the store's writer thread needs one. Measured on two cores: with
/// two threads, requests take up to twice as long.
fn runtime() -> Result<Runtime, std::io::Error> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1);
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}
