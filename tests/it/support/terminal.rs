//! A command at a terminal of its own.

use super::{leaks, within};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;

/// The exit code of a command at a terminal, its standard output, and what the terminal showed besides.
pub struct TerminalRun {
    pub code: Option<i32>,
    pub out: String,
    pub seen: String,
}

/// Runs `command` at its own terminal, and types `typed` there.
pub async fn run_at_a_terminal(mut command: Command, typed: &str) -> TerminalRun {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("granted");
    unlockpt(&ours).expect("unlocked");
    let name = ptsname(&ours, Vec::new()).expect("a name").into_string().expect("text");
    let theirs = File::options().read(true).write(true).open(name).expect("opens");
    command.env("TERM", "xterm").stdin(theirs.try_clone().expect("cloned")).stderr(theirs);
    let typed = typed.to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let mut ours = File::from(ours);
        ours.write_all(typed.as_bytes()).expect("typed");
        let child = command.spawn().expect("starts");
        // The command holds the other side of the terminal, which must be closed before this side ends.
        drop(command);
        let ended = child.wait_with_output().expect("ends");
        let mut seen = Vec::new();
        // Err: the other side is closed.
        let _ = ours.read_to_end(&mut seen);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        TerminalRun { code: ended.status.code(), out: text(ended.stdout), seen: text(seen) }
    });
    let ran = within(ran).await.expect("waits");
    leaks::check(&ran.seen);
    ran
}
