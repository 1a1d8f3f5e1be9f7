//! Replays and discards dead letters, page by page, and shows the progress on a terminal.
//!
//! Out: whether all selected dead letters were replayed or discarded; a line for each one that was not.

use super::outcomes;
use super::selection::Selection;
use crate::admin::{DiscardOutcome, DiscardResult};
use crate::cli::admin_client::AdminClient;
use crate::cli::{eprint, print};
use crate::store::{Replay, ReplayResult};
use indicatif::ProgressBar;
use serde_json::json;
use std::time::Duration;

/// Replays dead letters. `to`: the account to which they are moved; `wait`: the time to wait afterwards for the results of their events.
pub(super) async fn replay(
    api: &AdminClient,
    selection: &Selection,
    to: Option<&str>,
    json: bool,
    wait: Option<Duration>,
) -> Result<bool, String> {
    if wait.is_some() && api.own_store().is_some() {
        return Err("no service runs on this store, so nothing would be delivered: replay without --wait".to_owned());
    }
    let (mut pages, mut progress) = (selection.id_pages(api), ChangeCounts::new("replayed"));
    let mut replayed = Vec::new();
    while let Some(ids) = pages.next().await? {
        let mut lines = Vec::new();
        let results: Vec<ReplayResult> =
            api.post("/api/v1/dead-letters/replay", &json!({"ids": ids, "to": to})).await?;
        for result in results {
            let seq = result.seq.filter(|_| result.outcome == Replay::Replayed);
            progress.count(seq.is_some());
            match seq {
                Some(_) if wait.is_some() => replayed.push(result),
                _ if json => lines.push(json!(result).to_string()),
                Some(seq) if selection.names_ids() => lines.push(format!("{}: pending again as {seq}", result.id)),
                Some(_) => {}
                None => lines.push(format!("{}: {}", result.id, result.outcome)),
            }
        }
        progress.show(&lines);
    }
    let all_delivered = match wait {
        Some(wait) => outcomes::wait(api, replayed, wait, |line| progress.show(&[line]), json).await?,
        None => true,
    };
    Ok(progress.finish(json) && all_delivered)
}

pub(super) async fn discard(api: &AdminClient, selection: &Selection, json: bool) -> Result<bool, String> {
    let (mut pages, mut progress) = (selection.id_pages(api), ChangeCounts::new("discarded"));
    while let Some(ids) = pages.next().await? {
        let mut lines = Vec::new();
        let results: Vec<DiscardResult> = api.post("/api/v1/dead-letters/discard", &json!({"ids": ids})).await?;
        for result in results {
            let discarded = result.outcome == DiscardOutcome::Discarded;
            if json {
                lines.push(json!(result).to_string());
            } else if !discarded {
                lines.push(format!("{}: no such dead letter", result.id));
            }
            progress.count(discarded);
        }
        progress.show(&lines);
    }
    Ok(progress.finish(json))
}

/// The number of dead letters that were changed, and of those that were not. A terminal shows the count while the command runs; without a
/// terminal `indicatif` draws nothing.
struct ChangeCounts {
    verb: &'static str,
    changed: u64,
    unchanged: u64,
    spinner: ProgressBar,
}

impl ChangeCounts {
    fn new(verb: &'static str) -> Self {
        Self { verb, changed: 0, unchanged: 0, spinner: ProgressBar::new_spinner() }
    }

    fn count(&mut self, changed: bool) {
        if changed { self.changed += 1 } else { self.unchanged += 1 }
    }

    /// Draws the count on the terminal, and writes `lines` to standard output, which may be the same terminal.
    fn show(&self, lines: &[String]) {
        self.spinner.set_message(format!("{} {} …", self.verb, self.changed));
        self.spinner.suspend(|| lines.iter().for_each(|line| print(line)));
    }

    /// Removes the count from the terminal and prints the result. Out: whether all dead letters were changed.
    fn finish(self, json: bool) -> bool {
        self.spinner.finish_and_clear();
        let noun = if self.changed == 1 { "dead letter" } else { "dead letters" };
        let line = format!("{} {} {noun}", self.verb, self.changed);
        if json {
            eprint(&line);
        } else {
            print(&line);
        }
        self.unchanged == 0
    }
}
