//! Replays and discards dead letters, page by page, and shows the progress on a terminal.
//!
//! Out: whether all selected dead letters were replayed or discarded; a line for each other one.

use super::selection::Selection;
use crate::cli::admin_backend::AdminBackend;
use crate::cli::{eprint, print};
use crate::store::Replay;
use serde_json::json;
use std::io::{IsTerminal as _, Write as _};

/// Asks for confirmation on the terminal. An error if the answer is not yes, or if there is no terminal.
pub(super) fn confirm(selection: &Selection) -> Result<(), String> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err("discarding is for good, and there is no terminal to ask for confirmation: pass --yes to discard"
            .to_owned());
    }
    let mut stderr = std::io::stderr();
    // Err: then the answer is not yes.
    let _ = write!(stderr, "Discard {} for good? [y/N] ", selection.description()).and_then(|()| stderr.flush());
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err("nothing was discarded".to_owned()),
    }
}

pub(super) async fn replay(backend: &AdminBackend, selection: &Selection, json: bool) -> Result<bool, String> {
    let mut pages = selection.id_pages(backend);
    let (mut replayed, mut not_replayed) = (Progress::new("replayed"), 0_u64);
    while let Some(ids) = pages.next().await? {
        for (id, outcome) in backend.replay(&ids).await? {
            if json {
                print(&json!({"id": id, "outcome": outcome}).to_string());
            } else if outcome != Replay::Waits {
                replayed.clear();
                print(&format!("{id}: {outcome}"));
            }
            if outcome == Replay::Waits { replayed.one_more() } else { not_replayed += 1 }
        }
        replayed.show();
    }
    replayed.end(json);
    Ok(not_replayed == 0)
}

pub(super) async fn discard(backend: &AdminBackend, selection: &Selection, json: bool) -> Result<bool, String> {
    let mut pages = selection.id_pages(backend);
    let (mut discarded, mut missing) = (Progress::new("discarded"), 0_u64);
    while let Some(ids) = pages.next().await? {
        let discarded_ids = backend.discard(&ids).await?;
        for id in ids {
            let was_discarded = discarded_ids.contains(&id);
            if json {
                print(&json!({"id": id, "outcome": if was_discarded { "discarded" } else { "missing" }}).to_string());
            } else if !was_discarded {
                discarded.clear();
                print(&format!("{id}: no such dead letter"));
            }
            if was_discarded { discarded.one_more() } else { missing += 1 }
        }
        discarded.show();
    }
    discarded.end(json);
    Ok(missing == 0)
}

/// A count that a terminal sees grow.
struct Progress {
    done: &'static str,
    count: u64,
    terminal: bool,
}

impl Progress {
    fn new(done: &'static str) -> Self {
        Self { done, count: 0, terminal: std::io::stderr().is_terminal() }
    }

    fn one_more(&mut self) {
        self.count += 1;
    }

    fn show(&self) {
        self.write(&format!("\r{} {} …", self.done, self.count));
    }

    /// Takes the line away, for another one.
    fn clear(&self) {
        self.write("\r\x1b[K");
    }

    /// A terminal that has gone is no reason to fail.
    fn write(&self, text: &str) {
        if self.terminal {
            let mut stderr = std::io::stderr();
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        }
    }

    fn end(self, json: bool) {
        self.clear();
        let noun = if self.count == 1 { "dead letter" } else { "dead letters" };
        let line = format!("{} {} {noun}", self.done, self.count);
        if json { eprint(&line) } else { print(&line) }
    }
}
