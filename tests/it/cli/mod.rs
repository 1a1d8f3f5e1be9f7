//! The command line: the output of commands, and their exit codes.

mod check;
mod connect;
mod database;
mod help;
mod import;
mod map;
mod map_like_the_service;
mod migrate_store;
mod serve;
mod status;
mod usage;

use crate::support::leaks;
use crate::support::process::binary;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A command's exit code and output.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command with an environment of its own to its end.
async fn run(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Ran {
    let mut command = binary();
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::piped());
    let input = input.to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("starts");
        // Err: it did not read to the end.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait_with_output().expect("ends")
    });
    let ran = crate::support::within(ran).await.expect("waits");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let ran = Ran { code: ran.status.code(), out: text(ran.stdout), err: text(ran.stderr) };
    // `map` shows what an event becomes; that is what it is for.
    if arguments.first() != Some(&"map") {
        leaks::register_settings(environment.iter().copied());
        leaks::check(&ran.out);
        leaks::check(&ran.err);
    }
    ran
}

/// A command that runs until it is stopped, and its standard output.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Command, log: impl Into<Stdio>) -> Self {
        let mut child = command.stderr(log).spawn().expect("starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, out }
    }

    /// Standard output up to and with the line that contains `last`.
    fn read_to(&mut self, last: &str) -> String {
        let mut text = String::new();
        loop {
            let from = text.len();
            assert!(self.out.read_line(&mut text).expect("text") > 0, "ended too early:\n{text}");
            if text[from..].contains(last) {
                return text;
            }
        }
    }

    /// Stops it by SIGTERM; the exit code, and what else it printed.
    fn stop(mut self) -> (Option<i32>, String) {
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        assert!(sent.expect("a shell").success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("ends").code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Err: it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
