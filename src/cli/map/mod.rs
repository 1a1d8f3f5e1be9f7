//! `map`: an offline dry run. It shows the Refersion calls that events would make, and the fields that would be left out; or with
//! `--summary`, the number of events for each result.
//!
//! In: a file of events or of users ([`super::event_file`]), and the rules of the configuration. Out: text. The exit code is 1 if an
//! event would be refused; with `--summary` only if `--fail` is given as well.

mod summary;

use super::event_file::{self, FileArgs};
use super::{CommandResult, ConfigArgs, fail, now, print};
use crate::config::{Config, Mode};
use crate::delivery::Policy;
use crate::dry_run::{Detail, Explanation, explain};
use crate::mapping::Rules;
use clap::Args;
use std::borrow::Cow;
use std::io;
use std::process::ExitCode;
use summary::Summary;

#[derive(Debug, Args)]
pub(super) struct MapArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The account by whose rules the events are mapped. If not given: the first configured account, which is `main` if there is
    /// one; the rules of the sections if no account is configured
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Print only how many events would create, update, be refused or ignored, with the reasons and line numbers
    #[arg(long)]
    summary: bool,
    /// With --summary: exit with 1 if an event would be refused. Without --summary, the exit code is 1 anyway
    #[arg(long, requires = "summary")]
    fail: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &MapArgs) -> CommandResult {
    let config = args.config.load(Mode::Offline)?;
    let rules = rules(args.account.as_deref(), &config).map_err(|problem| fail(&problem))?;
    let refused = if args.summary {
        summarize(args, &rules).map(|refused| refused && args.fail)
    } else {
        explain_each(args, &rules, config.delivery.policy)
    };
    match refused {
        Ok(false) => Ok(()),
        Ok(true) => Err(ExitCode::FAILURE),
        Err(error) => Err(fail(&format!("{}: {error}", args.file.file.display()))),
    }
}

/// The rules of the account whose key `import` presents; those of the sections if no account is configured or named.
fn rules<'a>(name: Option<&str>, config: &'a Config) -> Result<Cow<'a, Rules>, String> {
    match (config.account_or_first(name), name) {
        (Some(account), _) => Ok(Cow::Owned(account.rules)),
        (None, None) => Ok(Cow::Borrowed(&config.rules)),
        (None, Some(name)) => Err(format!("there is no configured account {name}")),
    }
}

/// Prints the calls that each event would make. Returns whether an event would be refused, also if nobody reads any more what is printed.
fn explain_each(args: &MapArgs, rules: &Rules, policy: Policy) -> io::Result<bool> {
    let (mut any, mut any_refused) = (false, false);
    event_file::read(&args.file, None, &mut |item| {
        let Explanation { lines, is_refused } = match item.event {
            Ok(text) => explain(text, rules, policy, now(), Detail::WithValues),
            Err(malformed) => Explanation::of_malformed(malformed),
        };
        if any {
            print("");
        }
        print(&lines.join("\n"));
        (any, any_refused) = (true, any_refused || is_refused);
    })?;
    if !any {
        print(&format!("nothing to map: {} has no event", args.file.name()));
    }
    Ok(any_refused)
}

/// Prints the number of events for each result. Returns whether an event would be refused.
fn summarize(args: &MapArgs, rules: &Rules) -> io::Result<bool> {
    let (mut summary, received_at) = (Summary::default(), now());
    event_file::read(&args.file, Some("reading"), &mut |item| summary.add(&item, rules, received_at))?;
    summary.lines().iter().for_each(|line| print(line));
    Ok(summary.any_refused())
}
