//! `migrate-store`: moves all data of a store into another, empty one: from SQLite to PostgreSQL, or back.
//!
//! In: two URLs. Out: the number of moved rows of each table, once the counts of both stores were compared. No service may run on either
//! store; the old store is not changed. A target that was not completed is as empty as before, so the command can be repeated.

use super::progress::bar;
use super::{CommandResult, block_on, fail, print};
use crate::app::{open_source, open_target};
use crate::config::StoreUrl;
use crate::store::transfer::{TABLES, TableCounts, transfer};
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct MigrateStoreArgs {
    /// The store to move, as in STORE_URL, or @FILE for a file that holds its URL. It is not changed
    #[arg(long, value_name = "URL")]
    from: String,
    /// The store to move to, as in STORE_URL, or @FILE. It has to be empty; a file and tables are created
    #[arg(long, value_name = "URL")]
    to: String,
}

/// Wrong usage.
const USAGE: u8 = 2;

/// The URL that an argument gives. A URL on the command line is seen by everybody on the machine, so one with a password may be in a
/// file. Not parsed by clap, whose errors show the whole argument.
fn parse_url(argument: &str, text: &str) -> CommandResult<StoreUrl> {
    let url = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}")),
        None => Ok(text.to_owned()),
    };
    url.and_then(|url| StoreUrl::parse(url.trim())).map_err(|error| {
        fail(&format!("{argument}: {error}"));
        ExitCode::from(USAGE)
    })
}

pub(super) fn run(args: &MigrateStoreArgs) -> CommandResult {
    let (from, to) = (parse_url("--from", &args.from)?, parse_url("--to", &args.to)?);
    let counts = block_on(async { migrate(&from, &to).await.map_err(|error| format!("{error}; nothing was moved")) })?;
    if counts.values().all(|count| *count == 0) {
        return Err(fail(&"--from: this store is empty; nothing was moved"));
    }
    for line in counts_by_table(&counts) {
        print(&line);
    }
    print("moved and compared; set STORE_URL to the new store");
    Ok(())
}

async fn migrate(from: &StoreUrl, to: &StoreUrl) -> Result<TableCounts, String> {
    if is_same_file(from, to) {
        return Err("--to: this is the store of --from".to_owned());
    }
    let mut source = open_source(from).await.map_err(|error| format!("--from: {error}"))?;
    let target = open_target(to).await.map_err(|error| format!("--to: {error}"))?;
    let bar = bar("moving the rows", "{bar:40} {pos} of {len} rows, {eta} left");
    let progress = |moved, all| {
        bar.set_length(all);
        bar.set_position(moved);
    };
    let moved = transfer(&mut *source, target, progress).await;
    bar.finish_and_clear();
    moved.map_err(|error| error.to_string())
}

/// Whether both URLs name one existing file. One database of PostgreSQL is found to be in use.
fn is_same_file(from: &StoreUrl, to: &StoreUrl) -> bool {
    let (StoreUrl::Sqlite(from), StoreUrl::Sqlite(to)) = (from, to) else { return false };
    from.canonicalize().is_ok_and(|from| to.canonicalize().is_ok_and(|to| from == to))
}

/// A line for each table, in their order, and one for each account with pending events.
fn counts_by_table(counts: &TableCounts) -> Vec<String> {
    let tables = TABLES.iter().map(|table| table.name.to_owned());
    let others = counts.keys().filter(|name| TABLES.iter().all(|table| table.name != **name)).cloned();
    let line = |name: String| format!("{:>12} {name}", counts.get(&name).copied().unwrap_or(0));
    tables.chain(others).map(line).collect()
}
