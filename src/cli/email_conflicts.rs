//! `email-conflicts`: lists affiliates whose e-mail could not be changed, because another affiliate has the new one.
//!
//! Out: one line for each, with the ids under which Refersion shows the affiliate. Invariant: no personal data; the store holds
//! neither of the two addresses.

use super::admin_backend::{AdminBackend, BackendArgs};
use super::{CommandResult, eprint, print};
use crate::store::EmailConflict;
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct EmailConflictsArgs {
    /// Only affiliates of this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Print JSON, one value on each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: BackendArgs,
}

/// The conflicts of one operation.
const PAGE_SIZE: usize = 500;

pub(super) fn run(args: &EmailConflictsArgs) -> CommandResult {
    args.target.with_backend(&args.target.config()?, async |backend| list(backend, args).await)
}

async fn list(backend: &AdminBackend, args: &EmailConflictsArgs) -> Result<(), String> {
    let mut after = Some(0);
    while let Some(from) = after {
        let page = backend.email_conflicts(args.account.as_deref(), from, PAGE_SIZE).await?;
        if page.conflicts.is_empty() && from == 0 {
            eprint("no e-mail conflicts");
        } else if from == 0 && !args.json {
            print("ACCOUNT               AFFILIATE     ID");
        }
        for conflict in &page.conflicts {
            print(&line(conflict, args.json));
        }
        after = page.next;
    }
    Ok(())
}

fn line(EmailConflict { account, code, id, .. }: &EmailConflict, as_json: bool) -> String {
    if as_json {
        return json!({"account": account, "code": code, "id": id}).to_string();
    }
    let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!("{account:<20}  {code:<12}  {id}", code = code.0)
}
