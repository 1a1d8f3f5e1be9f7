//! `forget`: erases what this service holds of a user. It asks nothing of Refersion: a delete event does both.
//!
//! An event that is being carried out is not torn out of it; then this says so and exits with 1, to be run once more.

use super::keeper::Place;
use super::{block_on, fail, say, tell};
use crate::domain::{AccountName, Email, User, UserId};
use crate::store::Forgotten;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).multiple(true).args(["user_id", "email"]))]
pub(super) struct Arguments {
    /// Segment's userId of the user
    #[arg(long, value_name = "ID", value_parser = user_id)]
    user_id: Option<UserId>,
    /// The user's e-mail address
    #[arg(long, value_name = "ADDRESS", value_parser = email)]
    email: Option<Email>,
    /// The account whose user it is; the first one configured if not given, which is `main` where there is one. To be said
    /// where none is configured and any key is accepted
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let config = match arguments.place.config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let first = || config.every_account().into_iter().next().map(|account| account.name);
    let account = arguments.account.clone().map(AccountName::from).or_else(first);
    let only = || (!config.segment.accept_any_api_key).then(AccountName::main);
    let Some(account) = account.or_else(only) else {
        return fail(&"no account is configured, and any key is accepted: say with --account whose user it is");
    };
    let user = User { user_id: arguments.user_id.clone(), email: arguments.email.clone() };
    let ran = block_on(async {
        let keeper = arguments.place.keeper(&config)?;
        let forgotten = keeper.forget(&user, &account).await;
        keeper.close().await.and(forgotten)
    });
    let forgotten = match ran {
        Ok(Ok(forgotten)) => forgotten,
        Ok(Err(error)) => return fail(&error),
        Err(error) => return fail(&error),
    };
    if arguments.json {
        tell(&json!(forgotten).to_string());
    } else {
        tell(&told(&forgotten));
    }
    if forgotten.under_way == 0 {
        return ExitCode::SUCCESS;
    }
    say(&format!("{} under way and left alone: run this again when it is done", count(forgotten.under_way, "event")));
    ExitCode::FAILURE
}

/// What was erased, in a line.
fn told(forgotten: &Forgotten) -> String {
    let parts = [
        (forgotten.events, "waiting event"),
        (forgotten.dead_letters, "dead letter"),
        (forgotten.links, "link"),
        (forgotten.affiliates, "remembered affiliate"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun)).collect();
    if parts.is_empty() { "nothing was held of this user".to_owned() } else { format!("erased: {}", parts.join(", ")) }
}

fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).ok_or_else(|| "expected a text that is not blank".to_owned())
}

fn email(text: &str) -> Result<Email, String> {
    Email::parse(text).map_err(|error| error.to_string())
}
