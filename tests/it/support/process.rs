//! The service as a process of its own: started from the built binary, killed and stopped by signals.

use super::{API_KEY, Answer, OPS_TOKEN, basic, http, leaks, poll_until, within};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// The built binary, with an empty environment but for what it needs to run.
pub fn binary() -> Command {
    binary_named(env!("CARGO_BIN_EXE_refersion-destination"))
}

/// Any other, likewise.
pub fn binary_named(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Sends `child` the signal of this name.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().expect("a shell");
    assert!(sent.success());
}

/// A running `serve`. What it prints is read while it runs, and is checked for leaks at its end.
pub struct Process {
    pub child: Child,
    pub server: String,
    pub ops: String,
    /// Ends with the process, with all it printed since it announced its addresses. None: it was read already.
    printed: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts `serve` on the store in `folder`, against `base_url`; `settings` are in the environment's spelling.
    pub fn start(base_url: &str, folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::of_store(binary().arg("serve"), base_url, folder, settings)
    }

    /// The same under limits of the system, in the spelling of a shell, such as `ulimit -n 96`.
    pub fn start_under(limits: &str, base_url: &str, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let script = format!("{limits} && exec \"$0\" serve");
        let mut command = binary_named("/bin/sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_refersion-destination")]);
        Self::of_store(&mut command, base_url, folder, settings)
    }

    fn of_store(command: &mut Command, base_url: &str, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let store = format!("sqlite://{}/store.db", folder.display());
        let own = [
            ("REFERSION_API_KEY", API_KEY),
            ("REFERSION_BASE_URL", base_url),
            ("SERVER_LISTEN", "127.0.0.1:0"),
            ("OPS_LISTEN", "127.0.0.1:0"),
            ("OPS_TOKEN", OPS_TOKEN),
            ("STORE_URL", &store),
            ("DELIVERY_RETRY_MIN", "10ms"),
            ("DELIVERY_RETRY_MAX", "100ms"),
            // Tests count calls.
            ("DELIVERY_LEARN", "off"),
        ];
        let environment: BTreeMap<_, _> = own.iter().chain(settings).copied().collect();
        leaks::register_settings(environment.iter().map(|(name, value)| (*name, *value)));
        Self::of(command.envs(environment))
    }

    /// Starts a command that announces its addresses as `serve` does.
    pub fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let (server, ops) = addresses(&mut log);
        let printed = std::thread::spawn(move || {
            let mut printed = String::new();
            log.read_to_string(&mut printed).expect("text");
            printed
        });
        Self { child, server, ops, printed: Some(printed) }
    }

    /// Kills the process as a power cut would: SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("running");
        self.child.wait().expect("ends");
    }

    /// Asks the process to stop: SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends the signal of this name.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Whether it was stopped by SIGSTOP, or froze at a fail point.
    pub fn is_frozen(&self) -> bool {
        self.state() == Some('T')
    }

    /// Whether the process has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.state(), None | Some('Z' | 'X'))
    }

    /// Its state as Linux shows it.
    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        stat.rsplit(')').next()?.trim_start().chars().next()
    }

    /// Waits for the end under the deadline, beyond which the process is killed; its status and what it logged.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let ended = || std::future::ready(self.child.try_wait().expect("asked").is_some());
        within(poll_until(ended, |ended| *ended)).await;
        self.wait()
    }

    /// Waits for the end; its status and what it logged since it announced its addresses.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("ends");
        let printed = self.printed.take().expect("read once").join().expect("read");
        leaks::check(&printed);
        (status, printed)
    }

    /// Posts `body` to `/segment`; `None` if the process did not answer.
    pub async fn send(&self, body: &Value) -> Option<Answer> {
        let request = http().post(format!("{}/segment", self.server)).header("Authorization", basic(API_KEY));
        Answer::read(request.body(body.to_string()).send().await.ok()?).await
    }
}

impl Process {
    /// What the operators' `/readyz` says.
    pub async fn ready(&self) -> Answer {
        Answer::to(http().get(format!("{}/readyz", self.ops))).await
    }

    /// Waits until nothing waits to be delivered; what `/readyz` says then. The caller sets the deadline.
    pub async fn drained(&self) -> Value {
        let (client, url) = (http(), format!("{}/readyz", self.ops));
        let ready = || async { Answer::to(client.get(&url)).await.json() };
        poll_until(ready, |ready| ready["pending"] == 0).await
    }
}

/// A failed test leaves no process behind, and prints what it logged and how it ended; otherwise the output is checked for leaks.
impl Drop for Process {
    fn drop(&mut self) {
        let before = self.child.try_wait().ok().flatten();
        // Err: it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let Some(printed) = self.printed.take().and_then(|printed| printed.join().ok()) else { return };
        if std::thread::panicking() {
            let ended = before.map_or_else(|| "it was running".to_owned(), |status| format!("it had ended: {status}"));
            eprintln!("the process on {}; {ended}:\n{printed}", self.ops);
        } else {
            leaks::check(&printed);
        }
    }
}

/// The addresses that the log announces: `webhook on http://…/segment, health on http://…/readyz`.
fn addresses(log: &mut impl BufRead) -> (String, String) {
    let mut seen = String::new();
    loop {
        leaks::check(&seen);
        let mut line = String::new();
        assert!(log.read_line(&mut line).expect("text") > 0, "ended before it listened:\n{seen}");
        let urls: Vec<&str> = line.split_whitespace().filter(|word| word.starts_with("http://")).collect();
        if let [server, ops] = urls[..] {
            let root = |url: &str, path: &str| url.trim_end_matches(',').trim_end_matches(path).to_owned();
            return (root(server, "/segment"), root(ops, "/readyz"));
        }
        seen.push_str(&line);
    }
}
