//! `dead-letters`: lists, shows, replays or discards events that could not be delivered.
//!
//! Out: exit code 1 if one of the named dead letters does not exist or could not be changed.

mod change;
mod outcomes;
mod selection;
mod show;

pub(super) use selection::parse_time;

use super::CommandResult;
use super::admin_backend::BackendArgs;
use super::admin_client::AdminClient;
use super::confirm::confirm;
use clap::{Args, Subcommand};
use selection::{FilterArgs, Selection};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct DeadLettersArgs {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// Print one line for each
    List {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        target: BackendArgs,
    },
    /// Print all details of some: reason, attempts, and the calls that the event would make today
    Show {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        target: BackendArgs,
    },
    /// Deliver some again: with today's rules, each after the pending events of its user
    Replay {
        #[command(flatten)]
        selection: Selection,
        /// Deliver them to this account, because their own is gone. They are mapped again, by its rules
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
        /// Wait until the service has delivered them, for a minute or for this duration, and print the result of each
        #[arg(
            long,
            value_name = "DURATION",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "1m",
            value_parser = humantime::parse_duration,
        )]
        wait: Option<Duration>,
        /// Print JSON, one value on each line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: BackendArgs,
    },
    /// Discard some for good
    Discard {
        #[command(flatten)]
        selection: Selection,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        /// Print JSON, one value on each line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: BackendArgs,
    },
}

/// The options of printing dead letters.
#[derive(Debug, Args)]
struct OutputArgs {
    /// Print JSON, one value on each line
    #[arg(long)]
    json: bool,
    /// Also print the events, which hold personal data
    #[arg(long)]
    reveal: bool,
}

pub(super) fn run(args: &DeadLettersArgs) -> CommandResult {
    let (DeadLettersCommand::List { target, .. }
    | DeadLettersCommand::Show { target, .. }
    | DeadLettersCommand::Replay { target, .. }
    | DeadLettersCommand::Discard { target, .. }) = &args.command;
    let config = target.config()?;
    if let DeadLettersCommand::Discard { selection, yes: false, .. } = &args.command {
        let question = format!("Discard {} for good?", selection.description());
        confirm(&question, "discarding is for good", "discarded")?;
    }
    let command = async |api: &AdminClient| match &args.command {
        DeadLettersCommand::List { filter, output, .. } => show::list(api, filter, output).await,
        DeadLettersCommand::Show { selection, output, .. } => show::show(api, selection, output).await,
        DeadLettersCommand::Replay { selection, to, json, wait, .. } => {
            change::replay(api, selection, to.as_deref(), *json, *wait).await
        }
        DeadLettersCommand::Discard { selection, json, .. } => change::discard(api, selection, *json).await,
    };
    let all_done = match &args.command {
        DeadLettersCommand::Replay { wait: Some(_), .. } => target.with_owner(&config, command),
        _ => target.with_backend(&config, command),
    };
    if all_done? { Ok(()) } else { Err(ExitCode::FAILURE) }
}
