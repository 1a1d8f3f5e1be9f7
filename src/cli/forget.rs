//! `forget`: erases the data of a user from the store. It makes no call to Refersion; a delete event does both.
//!
//! An event in flight is not erased. Then the command reports it and exits with 1, and must be run again.

use super::account_args::AccountArgs;
use super::admin_client::AdminClient;
use super::{CommandResult, eprint, print};
use crate::domain::{Email, UserId};
use crate::mapping;
use crate::store::Forgotten;
use clap::Args;
use serde_json::json;
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
    let (config, account) = args.on.load()?;
    let (user_id, email) = (args.user_id.as_ref().map(UserId::as_str), args.email.as_ref().map(Email::as_str));
    let forget = async |api: &AdminClient| {
        let account = args.on.in_request(api, &account);
        let request = json!({"account": account, "user_id": user_id, "email": email, "dry_run": args.dry_run});
        api.post("/api/v1/forget", &request).await
    };
    let forgotten: Forgotten = args.on.target.with_backend(&config, forget)?;
    if args.on.json {
        print(&json!(forgotten).to_string());
    } else {
        print(&summary(&forgotten, args.dry_run));
    }
    if forgotten.in_flight == 0 || args.dry_run {
        return Ok(());
    }
    let in_flight = count(forgotten.in_flight, "event");
    eprint(&format!("{in_flight} in flight and not erased: run this command again in a moment"));
    Err(ExitCode::FAILURE)
}

/// One line with the counts of the erased data; with `dry_run`, of the data that would be erased.
fn summary(forgotten: &Forgotten, dry_run: bool) -> String {
    let counts = [
        (forgotten.events, "pending event"),
        (forgotten.dead_letters, "dead letter"),
        (forgotten.links, "link"),
        (forgotten.affiliates, "stored affiliate"),
        (forgotten.remembered, "remembered user"),
    ];
    let counts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun)).collect();
    if counts.is_empty() {
        "nothing to erase but keyed hashes of this user in the log, if it has any".to_owned()
    } else if dry_run {
        format!("would erase: {}", counts.join(", "))
    } else {
        format!("erased: {}", counts.join(", "))
    }
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
