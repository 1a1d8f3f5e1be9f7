//! Reload: a running service takes another configuration without dropping a request.
//!
//! Each test runs the program with a configuration file, changes the file (or the file of a secret), and tells the program by SIGHUP, or
//! does not.

use crate::support::process::{Process, binary};
use crate::support::service::Refersion;
use crate::support::{API_KEY, Answer, OPS_TOKEN, basic, http, identify, leaks, poll_until, within};
use hmac::{Hmac, KeyInit, Mac};
use refersion_destination::sandbox::{Operation, SandboxSettings};
use serde_json::{Value, json};
use sha1::Sha1;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const OTHER_KEY: &str = "pub_other.sec_other";

/// The program with its configuration file.
struct Reloading {
    process: Process,
    refersion: Refersion,
    folder: TempDir,
}

impl Reloading {
    /// Starts it with `config` in its file; `settings` are in the environment's spelling.
    async fn start(config: &str, settings: &[(&str, &str)]) -> Self {
        let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
        std::fs::write(folder.path().join("config.toml"), config).expect("writes");
        let store = format!("sqlite://{}/store.db", folder.path().display());
        let own = [
            ("REFERSION_API_KEY", API_KEY),
            ("REFERSION_BASE_URL", &*refersion.base_url),
            ("SERVER_LISTEN", "127.0.0.1:0"),
            ("OPS_LISTEN", "127.0.0.1:0"),
            ("SERVER_WAIT", "30s"),
            ("STORE_URL", &*store),
            ("DELIVERY_RETRY_MIN", "10ms"),
        ];
        leaks::register_settings(own.iter().chain(settings).copied());
        let mut command = binary();
        command.args(["serve", "--config"]).arg(folder.path().join("config.toml"));
        let process = Process::of(command.envs(own).envs(settings.iter().copied()));
        Self { process, refersion, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration file, tells the program, and waits until it has read it.
    async fn reload(&self, config: &str, result: &str) {
        let before = self.reloads(result).await;
        std::fs::write(self.path("config.toml"), config).expect("writes");
        let sent = Command::new("sh").args(["-c", &format!("kill -HUP {}", self.process.child.id())]).status();
        assert!(sent.expect("a shell").success());
        self.until_reloaded(result, before).await;
    }

    async fn until_reloaded(&self, result: &str, before: f64) {
        within(poll_until(|| self.reloads(result), |reloads| *reloads > before)).await;
    }

    /// How often the configuration was read again with this result.
    async fn reloads(&self, result: &str) -> f64 {
        let name = format!(r#"refersion_destination_config_reloads_total{{result="{result}"}} "#);
        let text = self.get("/metrics").await.text;
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).expect("a number")
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::to(http().get(format!("{}{path}", self.process.ops))).await
    }

    /// Posts `body` to `path` with one header.
    async fn post(&self, path: &str, (name, value): (&str, &str), body: &Value) -> String {
        let request = http().post(format!("{}{path}", self.process.server)).header(name, value);
        Answer::to(request.body(body.to_string())).await.brief()
    }

    async fn send(&self, body: &Value) -> String {
        self.post("/segment", ("Authorization", &basic(API_KEY)), body).await
    }

    /// Stops the program; what it logged.
    async fn stop(self) -> String {
        self.process.terminate();
        let (status, log) = self.process.ended().await;
        assert!(status.success(), "{log}");
        log
    }
}

fn signature(secret: &str, body: &Value) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(body.to_string().as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn rules_limits_and_the_filter_of_the_log_change_at_sighup() {
    let service = Reloading::start("[log]\nfilter = \"info\"\n", &[]).await;
    let event = |n: u32| identify(&n.to_string(), "u1", &json!({"plan": format!("plan {n}")}));
    assert_eq!(service.send(&event(1)).await, "200 delivered");
    let edits = || service.refersion.operations().iter().filter(|operation| **operation == "edit").count();
    assert_eq!(edits(), 0, "no rule names the trait");
    let config = "[log]\nfilter = \"debug\"\n[refersion]\nconcurrency = 1\n[mapping.custom_fields]\nplan = \"77\"\n";
    service.reload(config, "applied").await;
    assert_eq!(service.send(&event(2)).await, "200 delivered");
    assert_eq!(edits(), 1, "the new rule applies");
    let limit = r#"refersion_destination_upstream_concurrency_limit{account="main"} 1"#;
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains(limit), "{metrics}");
    service.reload(config, "unchanged").await;
    let log = service.stop().await;
    for line in ["log.filter: \"info\" → \"debug\"", "mapping.custom_fields.plan: not set → \"77\"", "called Refersion"]
    {
        assert!(log.contains(line), "{line} in\n{log}");
    }
    assert!(!log.split("log.filter").next().unwrap_or_default().contains("called Refersion"), "{log}");
}

#[tokio::test]
async fn a_secret_is_rotated_by_its_file_and_no_request_is_dropped_meanwhile() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "the-old-secret\n").expect("writes");
    let path = file.path().to_string_lossy().into_owned();
    let service = Reloading::start("", &[("SEGMENT_SHARED_SECRETS_FILE", &path)]).await;
    let (old, new) = ("the-old-secret", "the-new-secret");
    for secret in [old, new] {
        leaks::register(secret);
    }
    let event = |n: &str| identify(n, &format!("u{n}"), &json!({}));
    let signed = async |secret: &str, n: &str| {
        let body = event(n);
        service.post("/segment", ("X-Signature", &signature(secret, &body)), &body).await
    };
    assert_eq!(signed(old, "1").await, "200 delivered");
    assert_eq!(signed(new, "2").await, "401 unauthorized");

    // Requests go on all the time; each of them is answered as if nothing happened.
    let sending = async {
        let mut sent = 0;
        loop {
            assert_eq!(signed(old, &format!("during-{sent}")).await, "200 delivered");
            sent += 1;
            if service.reloads("applied").await > 0.0 {
                return sent;
            }
        }
    };
    std::fs::write(file.path(), format!("{old}\n{new}\n")).expect("writes");
    assert!(within(sending).await > 0);
    assert_eq!(signed(old, "3").await, "200 delivered");
    assert_eq!(signed(new, "4").await, "200 delivered");
    let before = service.reloads("applied").await;
    std::fs::write(file.path(), new).expect("writes");
    service.until_reloaded("applied", before).await;
    assert_eq!(signed(old, "5").await, "401 unauthorized");
    assert_eq!(signed(new, "6").await, "200 delivered");
}

/// Reading a pipe into which nobody writes does not end.
#[tokio::test]
async fn a_pipe_in_the_place_of_a_secrets_file_is_refused_and_holds_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    std::fs::write(&path, "the-secret-of-a-file").expect("writes");
    leaks::register("the-secret-of-a-file");
    let service = Reloading::start("", &[("SEGMENT_SHARED_SECRETS_FILE", path.to_str().expect("UTF-8"))]).await;
    std::fs::remove_file(&path).expect("removed");
    assert!(Command::new("mkfifo").arg(&path).status().expect("there is one").success());
    within(service.reload("[refersion]\nstatus = \"ACTIVE\"\n", "refused")).await;
    let body = identify("1", "u1", &json!({}));
    let signature = signature("the-secret-of-a-file", &body);
    assert_eq!(service.post("/segment", ("X-Signature", &signature), &body).await, "200 delivered");
    let log = service.stop().await;
    assert!(log.contains("this is not a regular file, so it cannot be read again"), "{log}");
}

#[tokio::test]
async fn an_account_is_added_and_removed_and_its_events_go_on_when_it_is_added_again() {
    let other = Refersion::of(OTHER_KEY, SandboxSettings::default()).await;
    leaks::register("sec_other");
    let account =
        format!("[[accounts]]\nname = \"other\"\napi_key = \"{OTHER_KEY}\"\nbase_url = \"{}\"\n", other.base_url);
    let service = Reloading::start("", &[]).await;
    let event = |n: &str| identify(n, &format!("u{n}"), &json!({}));
    let key = basic(OTHER_KEY);
    let send = async |n: &str| service.post("/segment/other", ("Authorization", &key), &event(n)).await;
    assert_eq!(send("1").await, "404 not_found");
    service.reload(&account, "applied").await;
    assert_eq!(send("1").await, "200 delivered");
    let of_the_key = service.post("/segment", ("Authorization", &key), &event("2")).await;
    assert_eq!(of_the_key, "200 delivered", "on the shared path, too");

    // An event that waits when its account is removed makes no call while it is.
    other.sandbox.revoke_api_key();
    assert_eq!(send("3").await, "401 unauthorized");
    service.reload("", "applied").await;
    assert_eq!(send("4").await, "404 not_found");
    assert_eq!(service.post("/segment", ("Authorization", &key), &event("4")).await, "401 unauthorized");
    other.sandbox.restore_api_key();
    let calls = other.sandbox.calls().len();
    assert_eq!(service.send(&event("5")).await, "200 delivered", "main is not affected");
    assert_eq!(service.get("/readyz").await.json()["accounts"]["other"], Value::Null);
    assert_eq!(other.sandbox.calls().len(), calls, "no call for a removed account");
    service.reload(&account, "applied").await;
    other.until(|sandbox| sandbox.affiliates().len() == 3).await;
    assert_eq!(send("3").await, "200 duplicate");
    assert_eq!(
        other
            .sandbox
            .calls()
            .iter()
            .filter(|call| call.operation == Operation::New && call.status == Some(200))
            .count(),
        3
    );
}

#[tokio::test]
async fn an_account_whose_key_is_replaced_goes_on_with_the_new_one() {
    let other = Refersion::of(OTHER_KEY, SandboxSettings::default()).await;
    let account =
        |key: &str| format!("[[accounts]]\nname = \"other\"\napi_key = \"{key}\"\nbase_url = \"{}\"\n", other.base_url);
    let service = Reloading::start(&account("pub_other.sec_wrong_one"), &[]).await;
    for secret in ["sec_wrong_one", "sec_other"] {
        leaks::register(secret);
    }
    let (wrong, right) = (basic("pub_other.sec_wrong_one"), basic(OTHER_KEY));
    let event = identify("1", "u1", &json!({}));
    assert_eq!(service.post("/segment/other", ("Authorization", &wrong), &event).await, "401 unauthorized");
    service.reload(&account(OTHER_KEY), "applied").await;
    other.until(|sandbox| sandbox.affiliates().len() == 1).await;
    assert_eq!(service.post("/segment/other", ("Authorization", &right), &event).await, "200 duplicate");
    assert_eq!(service.post("/segment/other", ("Authorization", &wrong), &event).await, "401 unauthorized");
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_all_its_problems_and_the_old_one_goes_on() {
    let service = Reloading::start("[refersion]\nconcurrency = 4\n", &[]).await;
    service.reload("[refersion]\nconcurrency = 0\ntimout = \"1s\"\n[mapping]\nmissing_name = \"\"\n", "refused").await;
    assert_eq!(service.send(&identify("1", "u1", &json!({}))).await, "200 delivered");
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains("refersion_destination_config_last_reload_successful 0"), "{metrics}");
    service.reload("[refersion]\nconcurrency = 4\n", "unchanged").await;
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains("refersion_destination_config_last_reload_successful 1"), "{metrics}");
    let log = service.stop().await;
    for problem in ["refersion.concurrency", "refersion.timout", "mapping.missing_name"] {
        assert!(log.lines().any(|line| line.contains("ERROR") && line.contains(problem)), "{problem} in\n{log}");
    }
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named_and_all_others_are_applied() {
    let service = Reloading::start("", &[]).await;
    service.reload("[delivery]\nmax_backlog = 5\n[mapping]\nmissing_name = \"?\"\n", "applied").await;
    assert_eq!(service.send(&identify("1", "u1", &json!({"name": "Cher"}))).await, "200 delivered");
    let cher = service.refersion.sandbox.affiliate("u1@example.com").expect("created");
    assert_eq!(cher.field("last_name"), "?");
    let log = service.stop().await;
    let named = |line: &str| {
        line.contains("WARN") && line.contains("delivery.max_backlog") && line.contains("at the next start")
    };
    assert!(log.lines().any(named), "{log}");
}

#[tokio::test]
async fn a_reload_reports_its_changes_or_every_problem_and_a_dry_run_changes_nothing() {
    let service = Reloading::start("", &[("OPS_TOKEN", OPS_TOKEN)]).await;
    let write = |config: &str| std::fs::write(service.path("config.toml"), config).expect("writes");
    let reload = async |query: &str| {
        let url = format!("{}/api/v1/reload{query}", service.process.ops);
        Answer::to(http().post(url).bearer_auth(OPS_TOKEN)).await
    };
    write("[delivery]\nmax_backlog = 5\n[mapping]\nmissing_name = \"?\"\n");
    let dry = reload("?dry_run=true").await;
    let changes = dry.json()["changes"].clone();
    let reported: Vec<_> = changes.as_array().into_iter().flatten().map(|change| change["text"].clone()).collect();
    let backlog = "delivery.max_backlog: 1000000 → 5 (at the next start)";
    assert_eq!(reported, [backlog, "mapping.missing_name: \"-\" → \"?\""], "{}", dry.text);
    let cli = |folder: &TempDir| {
        let mut command = binary();
        command.args(["check", "--diff", "--ops", &service.process.ops, "--config"]);
        command.arg(folder.path().join("config.toml")).env("OPS_TOKEN", OPS_TOKEN).output().expect("runs")
    };
    let diff = cli(&service.folder);
    assert_eq!(String::from_utf8_lossy(&diff.stdout), format!("{backlog}\nmapping.missing_name: \"-\" → \"?\"\n"));
    assert_eq!((reload("?dry_run=true").await.json(), service.reloads("applied").await), (dry.json(), 0.0));
    assert_eq!((reload("").await.json()["changes"].clone(), service.reloads("applied").await), (changes, 1.0));
    assert_eq!(service.send(&identify("1", "u1", &json!({"name": "Cher"}))).await, "200 delivered");
    let still: Vec<Value> = reload("").await.json()["changes"].as_array().expect("a list").clone();
    assert_eq!(still.len(), 1, "what needs a restart: {still:?}");
    write("[refersion]\nconcurrency = 0\ntimout = \"1s\"\n");
    for query in ["?dry_run=true", ""] {
        let refused = reload(query).await;
        let json = refused.json();
        assert_eq!((refused.status, json["problems"].as_array().map(Vec::len)), (422, Some(2)), "{json}");
        assert_eq!(json["type"], "urn:refersion-destination:problem:configuration-refused");
    }
    assert_eq!(service.reloads("refused").await.to_string(), "1", "a dry run does not count");
    let without = Answer::to(http().post(format!("{}/api/v1/reload", service.process.ops))).await;
    assert_eq!(without.status, 401);
}

#[tokio::test]
async fn a_trial_has_nothing_to_reload_and_goes_on() {
    let process = Process::of(binary().args(["serve", "--sandbox"]).envs([
        ("SERVER_LISTEN", "127.0.0.1:0"),
        ("OPS_LISTEN", "127.0.0.1:0"),
        ("REFERSION_API_KEY", API_KEY),
    ]));
    let sent = Command::new("sh").args(["-c", &format!("kill -HUP {}", process.child.id())]).status();
    assert!(sent.expect("a shell").success());
    let answer = process.send(&identify("1", "u1", &json!({}))).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text);
}
