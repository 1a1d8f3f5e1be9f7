//! `forget`: erases the data of a user from the store. It makes no call to Refersion; a delete event does both.
//!
//! An event in flight is not erased. Then the command reports it and exits with 1, and must be run again.

use super::account_args::AccountArgs;
use super::admin_client::AdminClient;
use super::{CommandResult, eprint, print};
use crate::domain::{Email, UserId};
use crate::mapping;
use clap::Args;
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

pub(super) fn run(args: &ForgetArgs) -> CommandResult {
    let config = args.on.target.config()?;
    let (user_id, email) = (args.user_id.as_ref().map(UserId::as_str), args.email.as_ref().map(Email::as_str));
    let forget = async |api: &AdminClient| {
        let account = args.on.in_request(api, &config)?;
        let request = json!({"account": account, "user_id": user_id, "email": email, "dry_run": args.dry_run});
        api.post("/api/v1/forget", &request).await
    };
    let answer: Value = args.on.target.with_backend(&config, forget)?;
    if args.on.json {
        print(&answer.to_string());
    } else if let Some(summary) = summary(&answer, args.dry_run) {
        print(&summary);
    }
    let in_flight = match answer["in_flight"].as_u64() {
        Some(0) => return Ok(()),
        Some(events) => count(events, "event"),
        None => "an unknown number of events".to_owned(),
    };
    if args.dry_run {
        eprint(&format!("{in_flight} in flight would not be erased"));
        return Ok(());
    }
    eprint(&format!("{in_flight} in flight and not erased: run this command again in a moment"));
    Err(ExitCode::FAILURE)
}

/// One line with the counts of the erased data; with `dry_run`, of the data that would be erased. `None`: there are only events in flight.
/// A service of another release may leave a part of its answer out; the data are erased nevertheless.
fn summary(answer: &Value, dry_run: bool) -> Option<String> {
    let nouns = [
        ("events", "pending event"),
        ("dead_letters", "dead letter"),
        ("links", "link"),
        ("affiliates", "stored affiliate"),
        ("remembered", "remembered user"),
    ];
    let counted = nouns.iter().filter_map(|(field, noun)| Some((answer[*field].as_u64().filter(|n| *n > 0)?, noun)));
    let erased: Vec<String> = counted.map(|(n, noun)| count(n, noun)).collect();
    let erased = match (erased.is_empty(), answer["in_flight"].as_u64()) {
        (false, _) => erased.join(", "),
        (true, Some(0)) if dry_run => "nothing but keyed hashes in the log, if there are any".to_owned(),
        (true, Some(0)) => "nothing but keyed hashes in the log, if there were any".to_owned(),
        (true, _) => return None,
    };
    let what = if dry_run { "would erase" } else { "erased" };
    let account = answer["account"].as_str().map_or_else(String::new, |name| format!(" in account {name}"));
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
