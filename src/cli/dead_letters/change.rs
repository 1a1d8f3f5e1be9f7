//! Replaying and discarding, in portions, with a word on how far it got.

use super::selection::Selection;
use crate::cli::keeper::Keeper;
use crate::cli::{say, tell};
use crate::store::Replay;
use serde_json::json;
use std::io::{IsTerminal as _, Write as _};

/// Asks before discarding; without a terminal there is nobody to ask.
pub(super) fn confirm(selection: &Selection) -> Result<(), String> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err("discarding is for good, and there is no terminal to ask at: say --yes to go ahead".to_owned());
    }
    let mut stderr = std::io::stderr();
    // Err: the answer cannot be yes then.
    let _ = write!(stderr, "Discard {} for good? [y/N] ", selection.shown()).and_then(|()| stderr.flush());
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err("nothing was discarded".to_owned()),
    }
}

pub(super) async fn replay(keeper: &Keeper, selection: &Selection, json: bool) -> Result<bool, String> {
    let mut portions = selection.portions(keeper);
    let (mut replayed, mut left) = (Progress::new("replayed"), 0_u64);
    while let Some(ids) = portions.next().await? {
        for (id, outcome) in keeper.replay(&ids).await? {
            if json {
                tell(&json!({"id": id, "outcome": outcome}).to_string());
            } else if outcome != Replay::Waits {
                replayed.clear();
                tell(&format!("{id}: {outcome}"));
            }
            if outcome == Replay::Waits { replayed.one_more() } else { left += 1 }
        }
        replayed.show();
    }
    replayed.end(json);
    Ok(left == 0)
}

pub(super) async fn discard(keeper: &Keeper, selection: &Selection, json: bool) -> Result<bool, String> {
    let mut portions = selection.portions(keeper);
    let (mut discarded, mut missing) = (Progress::new("discarded"), 0_u64);
    while let Some(ids) = portions.next().await? {
        let gone = keeper.discard(&ids).await?;
        for id in ids {
            let there = gone.contains(&id);
            if json {
                tell(&json!({"id": id, "outcome": if there { "discarded" } else { "missing" }}).to_string());
            } else if !there {
                discarded.clear();
                tell(&format!("{id}: no such dead letter"));
            }
            if there { discarded.one_more() } else { missing += 1 }
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
        if json { say(&line) } else { tell(&line) }
    }
}
