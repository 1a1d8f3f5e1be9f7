//! `import`: sends the events of a file to a running service, continues after an interruption, and prints a report.

use super::run;
use crate::support::service::Service;
use crate::support::{API_KEY, identify, poll_until, within};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::future::IntoFuture as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A file of `events`, an event on each line, in a folder of its own.
fn file(events: impl IntoIterator<Item = Value>) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("events.ndjson");
    let lines: Vec<String> = events.into_iter().map(|event| event.to_string()).collect();
    std::fs::write(&path, lines.join("\n")).expect("written");
    (folder, path)
}

/// Imports `path` into `service`.
async fn import(service: &Service, path: &Path, arguments: &[&str]) -> super::Ran {
    let url = service.url("/segment");
    let all = [&["import", "--url", &url, path.to_str().expect("UTF-8")], arguments].concat();
    run(&all, &[("REFERSION_API_KEY", API_KEY)], "").await
}

/// The identify of a user, and which city it says.
fn event(n: usize, city: &str) -> Value {
    identify(&format!("{city}-{n}"), &format!("u{n}"), &json!({"city": city}))
}

#[tokio::test]
async fn every_event_is_sent_in_the_order_of_the_file_and_the_report_counts_them() {
    let service = Service::start(&[]).await;
    let refused = json!({"type": "identify", "messageId": "no user", "traits": {"city": "Oslo"}});
    let track = json!({"type": "track", "messageId": "t", "userId": "u1"});
    let both = (0..150).flat_map(|n| [event(n, "Rome"), event(n, "Oslo")]);
    let (_folder, path) = file(both.chain([refused, track, event(0, "Oslo"), event(0, "Bern")]));
    let ran = import(&service, &path, &["--rate", "100000"]).await;
    assert_eq!((ran.code, &*ran.err), (Some(1), ""));
    assert_snapshot!(ran.out, @r"
          304  events
          301  accepted
            1  duplicate
            1  rejected
            1  unsupported
    reasons
                 1  Missing email address: add an `email` trait to the identify call (line 301)
    ");
    service.until_drained().await;
    let affiliates = service.refersion.sandbox.affiliates();
    assert_eq!(affiliates.len(), 150);
    for affiliate in affiliates {
        let city = if affiliate.email() == "u0@example.com" { "Bern" } else { "Oslo" };
        assert_eq!(affiliate.field("city"), city, "{}", affiliate.email());
    }
    assert!(!path.with_extension("ndjson.import").exists(), "nothing is left to go on with");
}

#[tokio::test]
async fn users_of_a_table_become_affiliates() {
    let service = Service::start(&[]).await;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("users.csv");
    std::fs::write(&path, "userId,email,name,address.city\nu1,ann@x.io,Ann,Oslo\nu2,bob@x.io,Bob,Rome\n")
        .expect("written");
    let ran = import(&service, &path, &[]).await;
    assert_eq!((ran.code, &*ran.out), (Some(0), "        2  events\n        2  accepted\n"), "{}", ran.err);
    service.until_drained().await;
    assert_eq!(service.refersion.sandbox.affiliate("bob@x.io").expect("created").field("city"), "Rome");
}

#[tokio::test]
async fn events_of_other_types_alone_are_counted_and_not_sent_again() {
    let service = Service::start(&[]).await;
    let track = |n: usize| json!({"type": "track", "messageId": n.to_string(), "userId": "u1"});
    let (_folder, path) = file((0..3).map(track));
    let ran = import(&service, &path, &[]).await;
    assert_eq!((ran.code, &*ran.out, &*ran.err), (Some(0), "        3  events\n        3  unsupported\n", ""));
}

/// Nobody listens at the URL: a request would be tried again for minutes.
#[tokio::test]
async fn a_file_without_an_event_sends_nothing() {
    let folder = TempDir::new().expect("a folder");
    for (name, content) in [
        ("empty.json", ""),
        ("empty.ndjson", ""),
        ("empty.csv", ""),
        ("empty", ""),
        ("blank", " \r\n\n"),
        ("mark", "\u{feff}"),
        ("mark.csv", "\u{feff}\n"),
        ("array", "\n[ ]\n"),
        ("batch", r#"{"batch":[]}"#),
        ("lines.ndjson", "\n[]\r\n{\"batch\":[]}\n"),
        ("header.csv", "\u{feff}userId,email\r\n"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        let path = path.to_str().expect("UTF-8");
        let arguments = ["import", "--url", "http://127.0.0.1:9/segment", path];
        let ran = run(&arguments, &[("REFERSION_API_KEY", API_KEY)], "").await;
        let expected = format!("nothing to import: {path} has no event\n");
        assert_eq!((ran.code, ran.out, &*ran.err), (Some(0), expected, ""), "{name}");
    }
    let arguments = ["import", "--url", "http://127.0.0.1:9/segment"];
    let ran = run(&arguments, &[("REFERSION_API_KEY", API_KEY)], "").await;
    assert_eq!((ran.code, &*ran.out), (Some(0), "nothing to import: standard input has no event\n"), "{}", ran.err);
    let folder = folder.path().to_str().expect("UTF-8");
    let ran = run(&[&arguments[..], &[folder]].concat(), &[("REFERSION_API_KEY", API_KEY)], "").await;
    assert_eq!((ran.code, ran.out.is_empty()), (Some(1), true), "{}", ran.err);
    assert!(ran.err.contains("Is a directory"), "{}", ran.err);
}

#[tokio::test]
async fn blank_lines_before_the_first_event_hide_neither_the_format_nor_the_lines() {
    let service = Service::start(&[]).await;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("events");
    let refused = r#"{"type":"identify","traits":{"city":"Oslo"}}"#;
    std::fs::write(&path, format!("\u{feff}\r\n\n{}\r\n\n{refused}", event(1, "Rome"))).expect("written");
    let ran = import(&service, &path, &[]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.out.starts_with("        2  events\n        1  accepted\n"), "{}", ran.out);
    assert!(ran.out.contains("(line 5)"), "{}", ran.out);
}

/// The service is stopped during the import: the next run continues it, and sends no answered event again.
#[tokio::test]
async fn an_interrupted_import_goes_on_where_it_ended() {
    let service = Service::start(&[]).await;
    let (folder, path) = file((0..60).map(|n| event(n, "Rome")));
    let saved = folder.path().join("events.ndjson.import");
    let mut command = crate::support::process::binary();
    command
        .args(["import", "--rate", "20", "--url", &service.url("/segment")])
        .arg(&path)
        .env("REFERSION_API_KEY", API_KEY);
    let mut child = command.spawn().expect("starts");
    let answered =
        || std::future::ready(std::fs::read(&saved).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()));
    let answered: Option<Value> = within(poll_until(answered, Option::is_some)).await;
    child.kill().expect("running");
    child.wait().expect("ends");
    let events = answered.expect("saved")["report"]["events"].as_u64().expect("a number");
    assert!((20..60).contains(&events), "{events}");

    let other = import(&service, &path, &["--account", "nobody"]).await;
    assert!(other.err.contains("there is no configured account nobody"), "{}", other.err);
    let ran = import(&service, &path, &["--rate", "1000"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.starts_with("going on after event "), "{}", ran.err);
    assert!(ran.out.starts_with("       60  events\n"), "{}", ran.out);
    service.until_drained().await;
    assert_eq!(service.refersion.sandbox.affiliates().len(), 60);
    assert!(!saved.exists());

    // What was saved is of this file as it was.
    std::fs::write(&saved, "{}").expect("written");
    let ran = import(&service, &path, &[]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("to import all of it anew, use --restart"), "{}", ran.err);
    let ran = import(&service, &path, &["--restart", "--rate", "1000"]).await;
    assert_eq!((ran.code, &*ran.out), (Some(0), "       60  events\n       60  duplicate\n"), "{}", ran.err);
}

#[tokio::test]
async fn a_wrong_key_ends_the_import_at_once() {
    let service = Service::start(&[]).await;
    let (_folder, path) = file((0..10).map(|n| event(n, "Rome")));
    let arguments = ["import", "--url", &service.url("/segment"), path.to_str().expect("UTF-8")];
    let ran = run(&arguments, &[("REFERSION_API_KEY", "pub_test.another_secret")], "").await;
    assert_eq!((ran.code, &*ran.out), (Some(1), ""));
    assert!(ran.err.contains("answered 401: Wrong API key"), "{}", ran.err);
    let ran = run(&arguments, &[], "").await;
    assert!(ran.err.contains("REFERSION_API_KEY is not set"), "{}", ran.err);
}

/// Answers requests with these statuses, one after the other, and counts their events.
async fn answering(statuses: &'static [u16]) -> (String, Arc<Mutex<Vec<usize>>>) {
    let requests: Arc<Mutex<Vec<usize>>> = Arc::default();
    let seen = Arc::clone(&requests);
    let answer = move |body: String| {
        let mut seen = seen.lock().expect("no panic");
        let events: Vec<Value> = serde_json::from_str(&body).expect("an array");
        let status = axum::http::StatusCode::from_u16(statuses[seen.len()]).expect("a status");
        seen.push(events.len());
        let results = vec![json!({"status": "accepted", "message": ""}); events.len()];
        let body = json!({"status": "word", "message": "because", "results": if status == 202 { results } else { Vec::new() }});
        std::future::ready((status, [("Retry-After", "0")], body.to_string()))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/segment", listener.local_addr().expect("bound"));
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    (url, requests)
}

#[tokio::test]
async fn an_event_that_the_service_cannot_store_is_sent_again_after_the_wait_that_it_asks_for() {
    let (_folder, path) = file((0..5).map(|n| event(n, "Rome")));
    let (url, requests) = answering(&[429, 503, 500, 202, 202]).await;
    let arguments = ["import", "--rate", "3", "--url", &url, path.to_str().expect("UTF-8")];
    let ran = run(&arguments, &[("REFERSION_API_KEY", API_KEY)], "").await;
    assert_eq!((ran.code, &*ran.out), (Some(0), "        5  events\n        5  accepted\n"), "{}", ran.err);
    assert_eq!(*requests.lock().expect("no panic"), [3, 3, 3, 3, 2], "no more in a request than in a second");
    assert_eq!(ran.err, format!("{url} answered 429: because; trying again for up to 15 minutes\n"), "once");
    let (url, _) = answering(&[404]).await;
    let ran = run(&["import", "--url", &url, arguments[5]], &[("REFERSION_API_KEY", API_KEY)], "").await;
    assert_eq!((ran.code, ran.err), (Some(1), format!("refersion-destination: {url} answered 404: because\n")));
}
