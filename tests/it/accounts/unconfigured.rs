//! Events of an account that was removed from the configuration: kept, logged, and delivered once the account is back; or set aside as dead
//! letters, and replayed to another account.

use super::{OTHER_KEY, PATIENT, Two};
use crate::support::process::binary;
use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, Answer, OPS_TOKEN, basic, identify, within};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use tempfile::TempDir;

/// What `serve` logs on the store in `url` until it listens, where `main` is the only account.
async fn log_of_main_alone(url: String) -> String {
    let own = [("REFERSION_API_KEY", API_KEY), ("STORE_URL", &url)];
    let anywhere = [("SERVER_LISTEN", "127.0.0.1:0"), ("OPS_LISTEN", "127.0.0.1:0")];
    let mut child = binary().arg("serve").envs(own).envs(anywhere).spawn().expect("starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        while !text.contains("webhook on") && log.read_line(&mut text).expect("text") > 0 {}
        text
    });
    let text = within(read).await.expect("reads");
    child.kill().expect("running");
    child.wait().expect("ends");
    text
}

#[tokio::test]
async fn events_of_an_account_that_is_no_longer_configured_are_kept_and_logged() {
    let two = Two::start(&[], "concurrency = 1").await;
    two.other.sandbox.script([Fault::too_many_calls(Some(3600))]);
    two.backlog_of_other(3).await;
    two.other.until(|sandbox| sandbox.calls_total() == 1).await;
    let (refersion, folder) = two.main.stop().await;

    let log = log_of_main_alone(format!("sqlite://{}/store.db", folder.path().display())).await;
    let line = log.lines().find(|line| line.contains("an account that is not configured has pending events"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("WARN") && line.contains("account=other ") && line.contains("events=3"), "{line}");

    let file = folder.path().join("accounts.toml");
    let again = Service::configured(refersion, folder, &[], &[file]).await;
    two.other.until(|sandbox| sandbox.affiliates().len() == 3).await;
    again.until_drained().await;
}

/// A service with the account `other`, three of whose events are pending, was stopped; `faults` come before those that halt its deliveries.
async fn stopped_with_pending_events(faults: &[Fault]) -> (Refersion, TempDir, Refersion) {
    let two = Two::start(&[], "concurrency = 1").await;
    let halt = Fault::too_many_calls(Some(3_600));
    two.other.sandbox.script(faults.iter().cloned().chain([halt]));
    two.backlog_of_other(3).await;
    let calls = 1 + faults.len() as u64;
    two.other.until(|sandbox| sandbox.calls_total() == calls).await;
    let (refersion, folder) = two.main.stop().await;
    (refersion, folder, two.other)
}

/// The answer of the operators' API to a change.
async fn change(service: &Service, path: &str, body: Value) -> Answer {
    let request = service.http.post(format!("http://{}{path}", service.addresses.ops)).bearer_auth(OPS_TOKEN);
    Answer::to(request.header("Content-Type", "application/json").body(body.to_string())).await
}

async fn dead_letters(service: &Service) -> Vec<i64> {
    let url = format!("http://{}/api/v1/dead-letters", service.addresses.ops);
    let page = Answer::to(service.http.get(url)).await.json();
    page["letters"].as_array().expect("letters").iter().filter_map(|letter| letter["id"].as_i64()).collect()
}

#[tokio::test]
async fn events_of_a_renamed_account_go_to_its_new_name_and_an_interrupted_new_creates_no_second_affiliate() {
    let (refersion, folder, other) = stopped_with_pending_events(&[Fault::LoseResponse]).await;
    assert_eq!(other.sandbox.affiliates().len(), 1, "it was created, and nobody learned of it");
    let file = folder.path().join("renamed.toml");
    let account =
        format!("[[accounts]]\nname = \"renamed\"\napi_key = \"{OTHER_KEY}\"\nbase_url = \"{}\"\n", other.base_url);
    std::fs::write(&file, account).expect("writes");
    let service = Service::configured(refersion, folder, &[PATIENT], &[file]).await;

    for (account, status) in [("renamed", 409), ("main", 409), ("nope", 404)] {
        let refused = change(&service, "/api/v1/backlog/set-aside", json!({"account": account})).await;
        assert_eq!(refused.status, status, "{account}: {}", refused.text);
    }
    let set_aside = change(&service, "/api/v1/backlog/set-aside", json!({"account": "other"})).await;
    assert_eq!((set_aside.status, set_aside.json()), (200, json!({"events": 3, "pending": 0})));
    let ids = dead_letters(&service).await;
    for to in ["other", "nope", ""] {
        let refused = change(&service, "/api/v1/dead-letters/replay", json!({"ids": ids, "to": to})).await;
        assert_eq!(refused.status, 404, "{to}: {}", refused.text);
    }
    let moved = change(&service, "/api/v1/dead-letters/replay", json!({"ids": ids, "to": "renamed"})).await;
    let outcomes: Vec<Value> =
        moved.json().as_array().expect("results").iter().map(|result| result["outcome"].clone()).collect();
    assert_eq!(outcomes, ["replayed", "replayed", "replayed"], "{}", moved.text);
    service.until_drained().await;
    assert_eq!((other.sandbox.affiliates().len(), dead_letters(&service).await), (3, vec![]));
    let again = service.http.post(service.url("/segment/renamed")).header("Authorization", basic(OTHER_KEY));
    let again = Answer::to(again.body(identify("backlog-0", "b0", &Value::Null).to_string())).await;
    assert_eq!(again.brief(), "200 duplicate", "its id is that of the new account");
}

#[tokio::test]
async fn a_dead_letter_of_an_account_that_still_exists_does_not_go_to_another() {
    let two = Two::start(&[PATIENT], "").await;
    let refused = || Fault::unprocessable("no");
    two.other.sandbox.script_for(Operation::New, [refused(), refused()]);
    assert_eq!(two.send_other(&identify("m1", "u1", &Value::Null)).await.brief(), "400 rejected");
    let ids = dead_letters(&two.main).await;
    let kept = change(&two.main, "/api/v1/dead-letters/replay", json!({"ids": ids, "to": "main"})).await;
    assert_eq!(kept.json(), json!([{"id": ids[0], "outcome": "account_exists"}]));
    assert_eq!(dead_letters(&two.main).await, ids);
}

/// What a command prints that is run on the store of a stopped service whose only account is `main`: its exit code and output.
async fn command(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = binary();
    let store = format!("sqlite://{}/store.db", folder.path().display());
    command.args(arguments).env("REFERSION_API_KEY", API_KEY).env("STORE_URL", store);
    let ran = within(tokio::task::spawn_blocking(move || command.output().expect("runs"))).await.expect("waits");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

#[tokio::test]
async fn pending_events_are_listed_set_aside_and_replayed_to_another_account_by_the_command_line() {
    let (refersion, folder, _other) = stopped_with_pending_events(&[]).await;
    let (code, listed, _) = command(&folder, &["backlog", "list", "--account", "other", "--json"]).await;
    assert_eq!((code, listed.lines().count()), (Some(0), 3), "{listed}");
    let first: Value = serde_json::from_str(listed.lines().next().expect("a line")).expect("JSON");
    let user = first["user_id_hash"].as_str().expect("a hash");
    for (filter, lines) in [
        (&["--user", user][..], 1),
        (&["--user", &"0".repeat(32)], 0),
        (&["--before", "2020-01-01"], 0),
        (&["--before", "2999-01-01"], 3),
    ] {
        let arguments = [&["backlog", "list", "--account", "other", "--json"], filter].concat();
        let (code, listed, error) = command(&folder, &arguments).await;
        assert_eq!((code, listed.lines().count()), (Some(0), lines), "{filter:?}: {listed}");
        let none = "no pending events of the account other match the filter\n";
        assert_eq!(error, if lines == 0 { none } else { "" }, "{filter:?}");
    }
    let (_, _, error) = command(&folder, &["backlog", "list"]).await;
    assert_eq!(error, "no pending events of the account main\n");
    let (code, out, error) = command(&folder, &["backlog", "set-aside", "--account", "other"]).await;
    assert_eq!((code, &*out), (Some(1), ""), "without a terminal it needs --yes");
    assert!(error.contains("pass --yes"), "{error}");
    let (code, _, error) = command(&folder, &["backlog", "set-aside", "--account", "main", "--yes"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("the account main is configured"), "{error}");
    let done = command(&folder, &["backlog", "set-aside", "--account", "other", "--yes"]).await;
    assert_eq!((done.0, &*done.1), (Some(0), "set 3 events aside as dead letters\n"), "{}", done.2);
    let replay = ["dead-letters", "replay", "--reason", "account_gone", "--to"];
    let (code, _, error) = command(&folder, &[&replay[..], &["other"]].concat()).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("there is no account \"other\""), "{error}");
    let (code, out, error) = command(&folder, &[&replay[..], &["main"]].concat()).await;
    assert_eq!((code, &*out), (Some(0), "replayed 3 dead letters\n"), "{error}");
    let service = Service::resume(refersion, folder, &[]).await;
    service.until_drained().await;
    assert_eq!(service.refersion.sandbox.affiliates().len(), 3);
}

/// Sends a form as a browser does that has the token.
async fn send_form(service: &Service, path: &str, form: String) -> String {
    let request = service.http.post(format!("http://{}{path}", service.addresses.ops));
    let request = request.header("Sec-Fetch-Site", "same-origin").basic_auth("x", Some(OPS_TOKEN));
    Answer::to(request.header("Content-Type", "application/x-www-form-urlencoded").body(form)).await.text
}

#[tokio::test]
async fn pending_events_are_set_aside_after_a_confirmation_and_replayed_to_another_account_by_the_pages() {
    let (refersion, folder, _other) = stopped_with_pending_events(&[]).await;
    let service = Service::resume(refersion, folder, &[]).await;
    let page = |path: &'static str| {
        let request = service.http.get(format!("http://{}{path}", service.addresses.ops));
        async { Answer::to(request).await.text }
    };
    let overview = page("/").await;
    assert!(overview.contains("is gone: it is not configured. Its pending events (3) wait"), "{overview}");
    assert!(!overview.contains("All is well"), "{overview}");
    assert!(!page("/accounts/main").await.contains("Set its pending events aside"));
    let account = page("/accounts/other").await;
    assert!(
        account.contains("Set its pending events aside…") && account.contains("Oldest pending events"),
        "{account}"
    );
    let asked = send_form(&service, "/accounts/other/set-aside", String::new()).await;
    assert!(asked.contains("<h1>Set the pending events of other aside?</h1>"), "{asked}");
    assert!(dead_letters(&service).await.is_empty(), "it only asks");
    let done = send_form(&service, "/accounts/other/set-aside", "confirmed=yes".to_owned()).await;
    assert!(done.contains("<h1>Set 3 aside</h1>"), "{done}");
    let ids = dead_letters(&service).await;
    assert!(page("/dead-letters").await.contains("Replay to account"));
    let ids: Vec<String> = ids.iter().map(|id| format!("ids={id}")).collect();
    let form = format!("{}&to=main", ids.join("&"));
    let moved = send_form(&service, "/dead-letters/replay", form).await;
    assert!(moved.contains("<h1>Replayed 3 of 3</h1>"), "{moved}");
    service.until_drained().await;
    assert_eq!(service.refersion.sandbox.affiliates().len(), 3);
}
