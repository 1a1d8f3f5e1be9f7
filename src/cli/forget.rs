//! `forget`: erases the data of a user from the store. It makes no call to Refersion; a delete event does both.
//!
//! An event in flight is not erased. Then the command reports it and exits with 1, and must be run again.

use super::account_args::AccountArgs;
use super::admin_client::AdminClient;
use super::{CommandResult, eprint, print};
use crate::domain::{Email, UserId};
use crate::mapping;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("user").required(true).multiple(true).args(["user_id", "email"]))]
pub(super) struct ForgetArgs {
    /// Segment's userId of the user
    #[arg(long, value_name = "ID", value_parser = parse_user_id)]
    user_id: Option<UserId>,
    /// The user's e-mail address
    #[arg(long, value_name = "ADDRESS", value_parser = parse_email)]
    email: Option<Email>,
    /// Only count what would be erased
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    on: AccountArgs,
}

/// The answer, which may be that of a service of another release: the data are erased by then, so no count is required to be in it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ForgetAnswer {
    account: Option<String>,
    events: u64,
    in_flight: u64,
    dead_letters: u64,
    links: u64,
    affiliates: u64,
    remembered: u64,
}

pub(super) fn run(args: &ForgetArgs) -> CommandResult {
    let config = args.on.target.config()?;
    let (user_id, email) = (args.user_id.as_ref().map(UserId::as_str), args.email.as_ref().map(Email::as_str));
    let forget = async |api: &AdminClient| {
        let account = args.on.in_request(api, &config)?;
        let request = json!({"account": account, "user_id": user_id, "email": email, "dry_run": args.dry_run});
        api.post("/api/v1/forget", &request).await
    };
    let answer: Value = args.on.target.with_backend(&config, forget)?;
    let forgotten = ForgetAnswer::deserialize(&answer).unwrap_or_default();
    if args.on.json {
        print(&answer.to_string());
    } else if let Some(summary) = summary(&forgotten, args.dry_run) {
        print(&summary);
    }
    if forgotten.in_flight == 0 {
        return Ok(());
    }
    let in_flight = count(forgotten.in_flight, "event");
    if args.dry_run {
        eprint(&format!("{in_flight} in flight would not be erased"));
        return Ok(());
    }
    eprint(&format!("{in_flight} in flight and not erased: run this command again in a moment"));
    Err(ExitCode::FAILURE)
}

/// One line with the counts of the erased data; with `dry_run`, of the data that would be erased. `None`: there are only events in flight.
fn summary(counts: &ForgetAnswer, dry_run: bool) -> Option<String> {
    let nouns = [
        (counts.events, "pending event"),
        (counts.dead_letters, "dead letter"),
        (counts.links, "link"),
        (counts.affiliates, "stored affiliate"),
        (counts.remembered, "remembered user"),
    ];
    let erased: Vec<String> = nouns.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun)).collect();
    let erased = match (erased.is_empty(), counts.in_flight) {
        (false, _) => erased.join(", "),
        (true, 0) if dry_run => "nothing but keyed hashes in the log, if there are any".to_owned(),
        (true, 0) => "nothing but keyed hashes in the log, if there were any".to_owned(),
        (true, _) => return None,
    };
    let what = if dry_run { "would erase" } else { "erased" };
    let account = counts.account.as_ref().map_or_else(String::new, |name| format!(" in account {name}"));
    Some(format!("{what}{account}: {erased}"))
}

fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

pub(super) fn parse_user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).ok_or_else(|| "expected a text that is not blank".to_owned())
}

pub(super) fn parse_email(text: &str) -> Result<Email, String> {
    mapping::parse_email(text).map_err(|error| error.to_string())
}
