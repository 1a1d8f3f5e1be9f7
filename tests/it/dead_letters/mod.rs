//! Dead letters, e-mail conflicts, lookup, learning and erasure by the command line, through the running service or on its store.

mod cli;
mod email_conflicts;
mod forget;
mod learn;
mod lookup;
mod terminal;

use crate::support::process::{Process, binary};
use crate::support::{API_KEY, OPS_TOKEN, identify, leaks, poll_until, within};
use refersion_destination::domain::ApiKey;
use refersion_destination::sandbox::{Fault, Operation, Sandbox, SandboxSettings};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// Responses to single events do not wait, either.
const AT_ONCE: (&str, &str) = ("SERVER_WAIT", "0s");

/// A service, its simulated Refersion, and the folder of its store.
struct Deployment {
    sandbox: Sandbox,
    base_url: String,
    folder: TempDir,
    process: Option<Process>,
}

/// The exit code and output of a command.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Deployment {
    async fn open(settings: &[(&str, &str)]) -> Self {
        let api_key = Some(ApiKey::parse(API_KEY).expect("a key"));
        let sandbox = Sandbox::new(SandboxSettings { api_key, ..SandboxSettings::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
        tokio::spawn(sandbox.serve(listener));
        let folder = tempfile::tempdir().expect("a folder");
        let process = Some(Process::start(&base_url, folder.path(), settings));
        Self { sandbox, base_url, folder, process }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("running")
    }

    /// Stops the service, so that commands open the store themselves.
    async fn stop(&mut self) {
        let process = self.process.take().expect("running");
        process.terminate();
        let (status, _) = within(tokio::task::spawn_blocking(move || process.wait())).await.expect("waits");
        assert_eq!(status.code(), Some(0));
    }

    fn start(&mut self, settings: &[(&str, &str)]) {
        self.process = Some(Process::start(&self.base_url, self.folder.path(), settings));
    }

    async fn send(&self, event: &Value) {
        let answer = self.process().send(event).await.expect("an answer");
        assert!(answer.status < 500, "{}", answer.text);
    }

    /// Sends an identify that ends as a dead letter: Refersion rejects it, and then what is required alone.
    async fn send_dead_letter(&self, message_id: &str, user: &str) {
        let refused = || Fault::unprocessable("Value exceed the char limit");
        self.sandbox.script_for(Operation::New, [refused(), refused()]);
        let answer = self.process().send(&identify(message_id, user, &json!({"city": "Markertown"}))).await;
        assert_eq!(answer.expect("an answer").brief(), "400 rejected");
    }

    /// The same, where a response does not wait for the outcome.
    async fn send_dead_letter_later(&self, message_id: &str, user: &str) {
        let (_, before) = self.counts().await;
        let refused = || Fault::unprocessable("Value exceed the char limit");
        self.sandbox.script_for(Operation::New, [refused(), refused()]);
        self.send(&identify(message_id, user, &json!({}))).await;
        within(poll_until(|| self.counts(), |(_, dead)| *dead == before + 1)).await;
    }

    /// The numbers of pending events and dead letters in `/readyz`.
    async fn counts(&self) -> (u64, u64) {
        let ready = self.process().ready().await.json();
        (ready["pending"].as_u64().expect("a number"), ready["dead_letters"].as_u64().expect("a number"))
    }

    async fn until_drained(&self) {
        within(self.process().drained()).await;
    }

    /// Runs a command with the service's settings: through the service if it runs, else on its store.
    async fn run(&self, arguments: &[&str]) -> Ran {
        let mut all = arguments.to_vec();
        if let Some(process) = &self.process {
            all.extend(["--ops", &process.ops]);
        }
        self.run_with(&all, &[]).await
    }

    async fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        command(self.folder.path(), arguments, environment).await
    }

    /// The ids of the dead letters.
    async fn ids(&self) -> Vec<String> {
        let ran = self.run(&["dead-letters", "list", "--json"]).await;
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let id = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["id"].to_string();
        ran.out.lines().map(id).collect()
    }
}

async fn command(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = binary();
    let store = format!("sqlite://{}/store.db", folder.display());
    command.args(arguments).env("REFERSION_API_KEY", API_KEY).env("OPS_TOKEN", OPS_TOKEN).env("STORE_URL", store);
    command.envs(environment.iter().copied());
    let ran = within(tokio::task::spawn_blocking(move || command.output().expect("runs"))).await.expect("waits");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let ran = Ran { code: ran.status.code(), out: text(ran.stdout), err: text(ran.stderr) };
    if !arguments.contains(&"--reveal") {
        leaks::check(&ran.out);
        leaks::check(&ran.err);
    }
    ran
}

/// Replaces times and event names, which differ between runs.
fn without_times_and_names(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches('\n');
        let moment = bare.len() == 20 && bare.ends_with('Z') && bare.starts_with("20");
        let name = bare.len() == 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        let shown = if moment {
            "2026-..-..T..:..:..Z"
        } else if name {
            "0123456789ab"
        } else {
            bare
        };
        format!("{shown}{}", &word[bare.len()..])
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
