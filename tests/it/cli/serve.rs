//! `serve` and `sandbox`: the URLs and commands that they print work, and they report why they cannot start.

use super::{Running, run};
use crate::support::process::{Process, binary};
use crate::support::service::Refersion;
use crate::support::{API_KEY, Answer, OPS_TOKEN, http, identify, within};
use serde_json::Value;
use std::process::Stdio;

const ANYWHERE: [(&str, &str); 2] = [("SERVER_LISTEN", "127.0.0.1:0"), ("OPS_LISTEN", "127.0.0.1:0")];

/// The requests of the `curl` commands in `text`, with their URL, user and body as printed.
fn curls(text: &str) -> Vec<reqwest::RequestBuilder> {
    let commands = text.split("curl -u ").skip(1);
    commands
        .map(|command| {
            let (user, rest) = command.split_once(' ').expect("a user");
            let (url, rest) = rest.split_once(" -d '").expect("a URL");
            let (body, _) = rest.split_once('\'').expect("a body");
            let (name, password) = user.split_once(':').expect("a name and a password");
            let form = "application/x-www-form-urlencoded";
            let request = http().post(url).basic_auth(name, Some(password)).header("Content-Type", form);
            request.body(body.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_trial_prints_curls_that_work_and_leaves_no_file_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = binary();
    command.args(["serve", "--sandbox"]).envs(ANYWHERE).env("TMPDIR", folder.path()).current_dir(folder.path());
    let mut trial = Running::start(command, Stdio::null());
    let printed = trial.read_to("Stop with Ctrl-C");
    assert!(std::fs::read_dir(folder.path()).expect("reads").count() > 0, "the store is in the folder for now");

    let [create, delete] = <[_; 2]>::try_from(curls(&printed)).expect("two commands");
    let created = Answer::to(create).await;
    assert_eq!((created.status, &created.json()["action"]), (200, &"created".into()), "{}", created.text);
    let page = printed.split_whitespace().find(|word| word.starts_with("http://")).expect("the page's URL");
    let shown = Answer::to_data(http().get(page)).await;
    assert!(shown.text.contains("peter@example.com"), "{}", shown.text);
    assert_eq!(Answer::to(delete).await.json()["action"], "disabled");

    assert_eq!(trial.stop().0, Some(0));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("reads").collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What the trial has in place of what the configuration says stays as it is.
#[tokio::test]
async fn a_trial_reads_its_configuration_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trial.toml");
    std::fs::write(&file, "[refersion]\nconcurrency = 4\n").expect("written");
    let mut command = binary();
    command.args(["serve", "--sandbox", "--config"]).arg(&file).envs(ANYWHERE).env("OPS_TOKEN", OPS_TOKEN);
    let mut trial = Running::start(command, Stdio::null());
    let printed = trial.read_to("Stop with Ctrl-C");
    let page = printed.split("for operators:").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a URL");
    let reload = || http().post(format!("{page}api/v1/reload")).bearer_auth(OPS_TOKEN);
    let unchanged = Answer::to(reload()).await;
    assert_eq!((unchanged.status, unchanged.json()["changes"].as_array().map(Vec::len)), (200, Some(0)));
    std::fs::write(&file, "[refersion]\nconcurrency = 5\n").expect("written");
    let changed = Answer::to(reload()).await;
    assert_eq!((changed.status, &changed.json()["changes"][0]["after"]), (200, &"5".into()), "{}", changed.text);
    for (curl, action) in curls(&printed).into_iter().zip(["created", "disabled"]) {
        assert_eq!(Answer::to(curl).await.json()["action"], action);
    }
    assert_eq!(trial.stop().0, Some(0));
}

/// Its store is a file that nobody knows, so that commands need the URL of its operators' listener.
#[tokio::test]
async fn a_user_of_a_trial_is_looked_up_through_its_operators_listener() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = binary();
    command.args(["serve", "--sandbox"]).envs(ANYWHERE);
    let mut trial = Running::start(command, Stdio::null());
    let printed = trial.read_to("Stop with Ctrl-C");
    let create = curls(&printed).into_iter().next().expect("a command");
    assert_eq!(Answer::to(create).await.json()["action"], "created");
    let page = printed.split("for operators:").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a URL");
    let store = format!("sqlite://{}/none.db", folder.path().display());
    let environment = [("STORE_URL", &*store)];
    let found = run(&["lookup", "--user-id", "u1", "--ops", page], &environment, "").await;
    assert!(found.code == Some(0) && found.out.contains("this userId owns it"), "{} {}", found.out, found.err);
    let without = run(&["lookup", "--user-id", "u1"], &environment, "").await;
    assert!(
        without.code == Some(1) && without.err.contains("--ops to the URL of a running service"),
        "{}",
        without.err
    );
    assert_eq!(trial.stop().0, Some(0));
}

/// The program that collects the log may end before the service.
#[tokio::test]
async fn a_closed_log_pipe_does_not_stop_the_service() {
    let mut command = binary();
    command.args(["serve", "--sandbox"]).envs(ANYWHERE);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut trial = Running::start(command, writer);
    let printed = trial.read_to("Stop with Ctrl-C");
    drop(reader);
    for (curl, action) in curls(&printed).into_iter().zip(["created", "disabled"]) {
        assert_eq!(Answer::to(curl).await.json()["action"], action);
    }
    assert_eq!(trial.stop().0, Some(0));
}

#[tokio::test]
async fn the_simulated_refersion_of_a_trial_listens_at_the_given_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let refused = run(&["serve", "--sandbox", "--sandbox-listen", &address], &ANYWHERE, "").await;
    assert_eq!(refused.code, Some(1));
    let hint = "Address already in use (os error 98); choose another with --sandbox-listen\n";
    assert!(refused.err.ends_with(&format!("cannot listen on {address}: {hint}")), "{}", refused.err);
    assert_eq!(run(&["serve", "--sandbox-listen", &address], &[], "").await.code, Some(2), "only with --sandbox");

    let mut command = binary();
    command.args(["serve", "--sandbox", "--sandbox-listen", "127.0.0.2:0"]).envs(ANYWHERE);
    let mut trial = Running::start(command, Stdio::null());
    let printed = trial.read_to("Stop with Ctrl-C");
    let page = printed.split_whitespace().find(|word| word.starts_with("http://127.0.0.2:")).expect("the page's URL");
    for (curl, action) in curls(&printed).into_iter().zip(["created", "disabled"]) {
        assert_eq!(Answer::to(curl).await.json()["action"], action);
    }
    assert!(Answer::to_data(http().get(page)).await.text.contains("peter@example.com"), "{printed}");
    assert_eq!(trial.stop().0, Some(0));
}

#[tokio::test]
async fn a_sandbox_by_itself_prints_its_base_url_and_serves() {
    let mut command = binary();
    command.args(["sandbox", "--listen", "127.0.0.1:0", "--api-key", API_KEY]);
    let mut sandbox = Running::start(command, Stdio::null());
    let printed = sandbox.read_to("page:");
    let base = printed.strip_prefix("base URL: ").and_then(|rest| rest.lines().next()).expect("the base URL");
    let environment = [("REFERSION_BASE_URL", base), ("REFERSION_API_KEY", API_KEY)];
    assert_eq!(run(&["check"], &environment, "").await.code, Some(0));
    assert_eq!(sandbox.stop().0, Some(0));
    let invalid = run(&["sandbox", "--listen", "127.0.0.1:0", "--fail-rate", "2"], &[], "").await;
    assert_eq!(invalid.code, Some(2));
    assert!(invalid.err.contains("expected a number from 0 to 1"), "{}", invalid.err);
}

#[tokio::test]
async fn serve_does_not_start_without_a_key() {
    let ran = run(&["serve"], &[], "").await;
    assert_eq!((ran.code, &*ran.out), (Some(64), ""));
    assert!(ran.err.contains("refersion.api_key (not set): required: set REFERSION_API_KEY"), "{}", ran.err);
}

#[tokio::test]
async fn an_address_in_use_is_reported_with_a_hint() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite://{}/store.db", folder.path().display());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    for (variable, other) in [("SERVER_LISTEN", "OPS_LISTEN"), ("OPS_LISTEN", "SERVER_LISTEN")] {
        let environment =
            [("REFERSION_API_KEY", API_KEY), ("STORE_URL", &*store), (variable, &*address), (other, "127.0.0.1:0")];
        let ran = run(&["serve"], &environment, "").await;
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains(&format!("cannot listen on {address}: Address already in use")), "{}", ran.err);
        let hint = format!("is another program using it? Set {variable} to another address\n");
        assert!(ran.err.ends_with(&hint), "{}", ran.err);
    }
}

#[tokio::test]
async fn log_lines_are_json_if_configured() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(&refersion.base_url, folder.path(), &[("LOG_FORMAT", "json")]);
    within(process.send(&identify("m1", "u1", &Value::Null))).await.expect("answered");
    process.terminate();
    let (_, logged) = within(tokio::task::spawn_blocking(move || process.wait())).await.expect("waits");
    let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let messages: Vec<_> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert!(messages.iter().any(|message| message.ends_with(" created")), "{messages:?}");
    assert_eq!(messages.last(), Some(&"stopped"));
}
