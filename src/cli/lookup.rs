//! `lookup`: answers "what became of this user's event?", and shows the data that the service holds of the user.
//!
//! In: an identifier of the user or of the event. Out: affiliates and events, as lines or as JSON. It changes nothing. Invariant: the
//! identifier is not stored, logged or repeated. Exit code 1: the store has no such data.

use super::account_args::AccountArgs;
use super::admin_client::AdminClient;
use super::forget::{parse_email, parse_user_id};
use super::{CommandResult, parse_text, print};
use crate::admin::{LookupRequest, LookupResult};
use crate::domain::{Email, UserId};
use crate::store::{EventRecord, EventState, FoundAffiliate, FoundBy, FoundTraits};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["email", "user_id", "message_id", "code"]))]
pub(super) struct LookupArgs {
    /// An e-mail address
    #[arg(long, value_name = "ADDRESS", value_parser = parse_email)]
    email: Option<Email>,
    /// Segment's userId
    #[arg(long, value_name = "ID", value_parser = parse_user_id)]
    user_id: Option<UserId>,
    /// Segment's messageId of an event: only this event. For a delete, name its user, too
    #[arg(long, value_name = "ID", value_parser = parse_text)]
    message_id: Option<String>,
    /// The code of an affiliate at Refersion
    #[arg(long, value_name = "CODE", value_parser = parse_text)]
    code: Option<String>,
    #[command(flatten)]
    on: AccountArgs,
}

/// The events of one operation.
const PAGE_SIZE: u16 = 500;

pub(super) fn run(args: &LookupArgs) -> CommandResult {
    let config = args.on.target.config()?;
    let mut request = LookupRequest {
        account: None,
        user_id: args.user_id.as_ref().map(|id| id.as_str().to_owned()),
        email: args.email.as_ref().map(|email| email.as_str().to_owned()),
        message_id: args.message_id.clone(),
        code: args.code.clone(),
        before: None,
        limit: Some(PAGE_SIZE),
    };
    let look_up = async |api: &AdminClient| {
        request.account = args.on.in_request(api, &config)?;
        all(api, request).await
    };
    let found = args.on.target.with_backend(&config, look_up)?;
    if args.on.json {
        print(&json!(found).to_string());
    } else {
        for line in lines(&found) {
            print(&line);
        }
    }
    if found.known { Ok(()) } else { Err(ExitCode::FAILURE) }
}

/// The results of all pages, as one.
async fn all(api: &AdminClient, mut request: LookupRequest) -> Result<LookupResult, String> {
    let mut all: LookupResult = api.post("/api/v1/lookup", &json!(request)).await?;
    while let Some(next) = all.found.next {
        request.before = Some(next);
        let page = api.post::<LookupResult>("/api/v1/lookup", &json!(request)).await?.found;
        all.found.events.extend(page.events);
        all.found.next = page.next;
    }
    Ok(all)
}

fn lines(LookupResult { account, known, event, found }: &LookupResult) -> Vec<String> {
    let mut lines = vec![format!("account {account}")];
    lines.extend(event.iter().map(|event| format!("event {event} is its name in logs, traces and dead letters")));
    lines.extend(found.deleted_at.map(|at| format!("the user was deleted as of {at}")));
    lines.extend(found.affiliates.iter().flat_map(affiliate));
    lines.extend(found.remembered.iter().map(remembered));
    if !known {
        lines.push("nothing is known: no affiliate, and no event that is kept".to_owned());
    } else if found.events.is_empty() {
        lines.push("no event that is kept".to_owned());
    }
    lines.extend(found.events.iter().map(self::event));
    lines
}

fn affiliate(found: &FoundAffiliate) -> Vec<String> {
    let id = found.id.map_or_else(String::new, |id| format!(" (id {id})"));
    let origin = if found.created_here { "created by this service" } else { "existed before" };
    let owner = match (found.user_ids, found.found_by.contains(&FoundBy::UserId)) {
        (0, _) => "no userId owns it",
        (_, true) => "this userId owns it",
        (_, false) => "a userId owns it",
    };
    let conflict = if found.email_conflict { "; its new e-mail belongs to another affiliate" } else { "" };
    let mut lines = vec![format!(
        "affiliate {}{id}: {origin}; {owner}; userIds that lead to it: {}, e-mail addresses: {}{conflict}",
        found.code, found.user_ids, found.emails
    )];
    lines.extend(found.sent.iter().map(|sent| {
        let since = sent.at.map_or_else(String::new, |at| format!(" as of {at}"));
        format!("  sent {}{since}", sent.attribute)
    }));
    lines
}

fn remembered(found: &FoundTraits) -> String {
    format!("no affiliate yet; remembered until {}: {}", found.expires_at, found.attributes.join(", "))
}

fn event(EventRecord { seq, event, received_at, state, status, outcome, reason, .. }: &EventRecord) -> String {
    let outcome = outcome.as_deref().unwrap_or_default();
    let became = match state {
        EventState::Pending => "is pending".to_owned(),
        EventState::Settled => format!("ended: {outcome}"),
        EventState::Answered if outcome == status.as_str() => format!("was answered: {outcome}"),
        EventState::Answered => format!("was answered: {} ({outcome})", status.as_str()),
        EventState::DeadLetter => {
            format!("is dead letter {seq}: {outcome}: {}", reason.as_deref().unwrap_or_default())
        }
    };
    format!("event {event} received {received_at} {became}")
}
