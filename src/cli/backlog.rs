//! `backlog`: lists the pending events of an account, and sets them aside as dead letters if the account is gone.
//!
//! Out: one line for each event, or the number of events that were set aside. Invariant: no personal data; a user is shown as user keys.

use super::admin_backend::BackendArgs;
use super::admin_client::{AdminClient, List};
use super::confirm::confirm;
use super::dead_letters::parse_time;
use super::{CommandResult, print};
use crate::admin::SetAside;
use crate::domain::Timestamp;
use crate::store::PendingEvent;
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct BacklogArgs {
    #[command(subcommand)]
    command: BacklogCommand,
}

#[derive(Debug, Subcommand)]
enum BacklogCommand {
    /// Print one line for each pending event of an account, in log order
    List {
        /// The account
        #[arg(long, value_name = "NAME", default_value = "main")]
        account: String,
        /// Only events of the user with this keyed hash, as this list shows it
        #[arg(long, value_name = "HASH", value_parser = parse_hash)]
        user: Option<String>,
        /// Only events received before then: an age such as 12h, or a time such as 2026-01-31 or 2026-01-31T08:00:00Z
        #[arg(long, value_name = "WHEN", value_parser = parse_time)]
        before: Option<Timestamp>,
        /// Print JSON, one value on each line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: BackendArgs,
    },
    /// Set aside the pending events of an account that is gone as dead letters, to discard them or to replay them to another account
    SetAside {
        /// The account: it is not configured, and no API key of it is kept
        #[arg(long, value_name = "NAME")]
        account: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        target: BackendArgs,
    },
}

pub(super) fn run(args: &BacklogArgs) -> CommandResult {
    match &args.command {
        BacklogCommand::List { account, user, before, json, target } => {
            let is_filtered = user.is_some() || before.is_some();
            let none = format!(
                "no pending events of the account {account}{}",
                if is_filtered { " match the filter" } else { "" }
            );
            let list = List {
                path: "/api/v1/backlog",
                query: json!({"account": account, "user": user, "received_before": before}),
                cursor: "after",
                limit: usize::MAX,
                header: "SEQ      RECEIVED (UTC)        EVENT         FAILURES  USERID                            EMAIL",
                none: &none,
            };
            target.with_backend(&target.config()?, async |api| api.print_list(list, line, *json).await)
        }
        BacklogCommand::SetAside { account, yes, target } => {
            let config = target.config()?;
            if !yes {
                let question = format!("Set all pending events of {account} aside?");
                confirm(&question, "what is set aside is not delivered", "set aside")?;
            }
            target.with_owner(&config, async |api| set_aside(api, account).await)
        }
    }
}

fn line(event: &PendingEvent, as_json: bool) -> String {
    if as_json {
        return json!(event).to_string();
    }
    let PendingEvent { seq, event: name, user_id_hash, email_hash, received_at, failures } = event;
    let received = received_at.to_string();
    let hash = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "-".to_owned());
    let (user, email) = (hash(user_id_hash), hash(email_hash));
    format!("{seq:<7}  {received:<20}  {name:<12}  {failures:>8}  {user:<32}  {email}")
}

/// Sets aside all pending events of an account that is gone: a request sets the next ones aside.
async fn set_aside(api: &AdminClient, account: &str) -> Result<(), String> {
    let mut events = 0;
    loop {
        let portion: SetAside = api.post("/api/v1/backlog/set-aside", &json!({"account": account})).await?;
        events += portion.events;
        if portion.events == 0 {
            break;
        }
    }
    print(&format!("set {events} {} aside as dead letters", if events == 1 { "event" } else { "events" }));
    Ok(())
}

fn parse_hash(text: &str) -> Result<String, String> {
    match hex::decode(text) {
        Ok(hash) if hash.len() == 16 => Ok(text.to_owned()),
        _ => Err("expected 32 hexadecimal digits".to_owned()),
    }
}
