//! `events`: the result of every event that was received authenticated, the newest first.
//!
//! Out: one line for each event. It changes nothing. Invariant: no personal data. A filter that fits few events examines all of them, page
//! by page.

use super::CommandResult;
use super::admin_backend::BackendArgs;
use super::admin_client::List;
use super::dead_letters::parse_time;
use crate::delivery::OutcomeCode;
use crate::domain::Timestamp;
use crate::store::{EventRecord, LedgerStatus};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Only events of this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only events with this status
    #[arg(long, value_name = "STATUS", value_parser = statuses())]
    status: Option<String>,
    /// Only events with this reason or result
    #[arg(long, value_name = "CODE", value_parser = codes())]
    reason: Option<String>,
    /// Only events received since then: an age such as 12h, or a time such as 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// The most events to print, the newest first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON, one value on each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: BackendArgs,
}

pub(super) fn run(args: &EventsArgs) -> CommandResult {
    let EventsArgs { account, status, reason, since, limit, json, target } = args;
    let list = List {
        path: "/api/v1/events",
        query: json!({"account": account, "status": status, "outcome": reason, "since": since}),
        cursor: "before",
        limit: usize::try_from(*limit).unwrap_or(usize::MAX),
        header: "RECEIVED (UTC)        EVENT         ACCOUNT               STATUS       OUTCOME             SOURCE",
        none: "no events",
    };
    target.with_backend(&target.config()?, async |api| api.print_list(list, line, *json).await)
}

fn line(event: &EventRecord, as_json: bool) -> String {
    if as_json {
        return json!(event).to_string();
    }
    let EventRecord { event: name, account, status, outcome, source, received_at, .. } = event;
    let (received, status) = (received_at.to_string(), status.as_str());
    let (outcome, source) = (outcome.as_deref().unwrap_or("-"), source.as_deref().unwrap_or("-"));
    format!("{received:<20}  {name:<12}  {account:<20}  {status:<11}  {outcome:<18}  {source}")
}

fn statuses() -> PossibleValuesParser {
    PossibleValuesParser::new(LedgerStatus::ALL.iter().map(|status| status.as_str()))
}

fn codes() -> PossibleValuesParser {
    PossibleValuesParser::new(OutcomeCode::ALL.iter().map(|code| code.as_str()))
}
