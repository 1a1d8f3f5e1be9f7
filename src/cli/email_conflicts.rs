//! `email-conflicts`: lists affiliates whose e-mail could not be changed, because another affiliate has the new one.
//!
//! Out: one line for each, with the ids under which Refersion shows the affiliate. Invariant: no personal data; the store holds
//! neither of the two addresses.

use super::CommandResult;
use super::admin_backend::BackendArgs;
use super::admin_client::List;
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

pub(super) fn run(args: &EmailConflictsArgs) -> CommandResult {
    let list = List {
        path: "/api/v1/email-conflicts",
        query: json!({"account": args.account}),
        cursor: "after",
        limit: usize::MAX,
        header: "ACCOUNT               AFFILIATE     ID",
        none: "no e-mail conflicts",
    };
    args.target.with_backend(&args.target.config()?, async |api| api.print_list(list, line, args.json).await)
}

fn line(EmailConflict { account, code, id, .. }: &EmailConflict, as_json: bool) -> String {
    if as_json {
        return json!({"account": account, "code": code, "id": id}).to_string();
    }
    let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!("{account:<20}  {code:<12}  {id}", code = code.0)
}
