//! `status`: the status page on the terminal.
//!
//! In: the operators' API of a running service. Out: a screen of text, or with `--json` a line; with `--watch` repeatedly, on a terminal in
//! place. Invariant: no personal data. With `--watch`, a service that does not answer is reported, and asked again.

mod screen;

use super::admin_client::AdminClient;
use super::output::reader_is_gone;
use super::{CommandResult, ConfigArgs, block_on, print};
use crate::admin::{AccountPage, AccountStatus, MAX_ITEMS, ServiceStatus};
use crate::config::Mode;
use clap::Args;
use console::{Term, truncate_str};
use serde_json::json;
use std::time::Duration;
use url::Url;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Show it again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print JSON, each time one line
    #[arg(long)]
    json: bool,
    /// The URL of the running service's operators' listener [default: OPS_LISTEN on this machine]
    #[arg(long, value_name = "URL")]
    ops: Option<Url>,
    #[command(flatten)]
    config: ConfigArgs,
}

const WATCH_EVERY: Duration = Duration::from_secs(2);
/// The most accounts that are shown: those in need first.
const ACCOUNTS_SHOWN: usize = 30;
/// The accounts of one request: as many as it may have, since the service reads all of them for each. All pages are read: a halted account
/// may be the last by its name.
const PAGE_SIZE: u16 = MAX_ITEMS;
const FILE_WIDTH: usize = 120;

pub(super) fn run(args: &StatusArgs) -> CommandResult {
    let config = args.config.load(Mode::Offline)?;
    block_on(async { watch(args, &AdminClient::of_service(args.ops.as_ref(), &config)?, &Term::stdout()).await })
}

async fn watch(args: &StatusArgs, service: &AdminClient, term: &Term) -> Result<(), String> {
    let mut first = true;
    loop {
        match ask(service).await {
            Ok((status, accounts)) if args.json => {
                print(&json!({"status": status, "accounts": accounts}).to_string());
            }
            Ok((status, accounts)) => draw(&screen::lines(&status, &accounts, width(term)), args.watch, first, term),
            Err(error) if first => return Err(error),
            Err(error) if args.json => print(&json!({"error": error}).to_string()),
            Err(error) => draw(&[error], args.watch, first, term),
        }
        if !args.watch || reader_is_gone() {
            return Ok(());
        }
        first = false;
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

async fn ask(service: &AdminClient) -> Result<(ServiceStatus, Vec<AccountStatus>), String> {
    let status = service.get("/api/v1/status", &json!({})).await?;
    let (mut accounts, mut after) = (Vec::new(), None);
    loop {
        let page: AccountPage = service.get("/api/v1/accounts", &json!({"after": after, "limit": PAGE_SIZE})).await?;
        accounts.extend(page.accounts);
        after = page.next;
        if after.is_none() {
            return Ok((status, accounts));
        }
    }
}

/// The number of columns of the terminal; in a file, as many as the whole hour needs.
fn width(term: &Term) -> usize {
    term.size_checked().map_or(FILE_WIDTH, |(_, width)| width.into())
}

/// Prints the lines: in place if they are watched on a terminal, otherwise below the lines that were printed before.
fn draw(lines: &[String], watched: bool, first: bool, term: &Term) {
    if !watched || !term.is_term() {
        if !first {
            print("");
        }
        for line in lines {
            print(line);
        }
        return;
    }
    let (height, width) = term.size();
    let fits = |line: &String| truncate_str(line, width.into(), "…").into_owned();
    let lines: Vec<String> = lines.iter().take(usize::from(height).saturating_sub(1)).map(fits).collect();
    // Err: the terminal is gone, and so is its reader.
    let _ = if first { term.clear_screen() } else { term.move_cursor_to(0, 0) };
    for line in lines {
        let _ = term.clear_line();
        let _ = term.write_line(&line);
    }
    let _ = term.clear_to_end_of_screen();
}
