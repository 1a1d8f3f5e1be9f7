//! `dead-letters`: what could not be delivered, listed, shown, replayed or discarded.

mod change;
mod selection;
mod show;

use super::keeper::Place;
use super::{block_on, fail};
use clap::{Args, Subcommand};
use selection::{Conditions, Selection};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One line for each
    List {
        #[command(flatten)]
        conditions: Conditions,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// Everything about some: reason, attempts, and what the event would do today
    Show {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// Let some wait again: mapped anew, each behind what waits for its user
    Replay {
        #[command(flatten)]
        selection: Selection,
        /// Print JSON, one value a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Throw some away for good
    Discard {
        #[command(flatten)]
        selection: Selection,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print JSON, one value a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// How dead letters are printed.
#[derive(Debug, Args)]
struct Output {
    /// Print JSON, one value a line
    #[arg(long)]
    json: bool,
    /// Print the events themselves as well, which hold personal data
    #[arg(long)]
    reveal: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (Command::List { place, .. }
    | Command::Show { place, .. }
    | Command::Replay { place, .. }
    | Command::Discard { place, .. }) = &arguments.command;
    let config = match place.config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Command::Discard { selection, yes: false, .. } = &arguments.command
        && let Err(why) = change::confirm(selection)
    {
        return fail(&why);
    }
    let ran = block_on(async {
        let keeper = place.keeper(&config)?;
        let all_well = match &arguments.command {
            Command::List { conditions, output, .. } => show::list(&keeper, conditions, output).await,
            Command::Show { selection, output, .. } => show::show(&keeper, selection, output, &config).await,
            Command::Replay { selection, json, .. } => change::replay(&keeper, selection, *json).await,
            Command::Discard { selection, json, .. } => change::discard(&keeper, selection, *json).await,
        };
        keeper.close().await.and(all_well)
    });
    match ran {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}
