//! Asks on the terminal before a command does something that cannot be undone.
//!
//! In: a question. Out: success if the answer is yes, else an error with the remedy. Deliberately absent: `--yes`, which each command has
//! itself.

use super::{CommandResult, fail};
use std::io::{IsTerminal as _, Write as _};

/// Asks `question` on the terminal. Err: the answer is not yes, or there is no terminal; the error is printed. `why`: the reason for the
/// question; `done`: the action, as in "nothing was erased".
pub(super) fn confirm(question: &str, why: &str, done: &str) -> CommandResult {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(fail(&format!("{why}, and there is no terminal to ask for confirmation: pass --yes")));
    }
    let mut stderr = std::io::stderr();
    // Err: then the answer is not yes.
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    match &*answer.trim().to_ascii_lowercase() {
        "y" | "yes" => Ok(()),
        _ => Err(fail(&format!("nothing was {done}"))),
    }
}
