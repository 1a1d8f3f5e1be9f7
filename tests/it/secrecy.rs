//! No secret and no personal datum is in the output or in a response of the service, at any log level.
//!
//! One process runs through every outcome of an event with all logging on. Other tests show that the leak check which all tests of
//! this suite use ([`leaks`]) works.

use crate::support::process::Process;
use crate::support::{Answer, http, leaks, within};
use base64::Engine as _;
use refersion_destination::domain::{AffiliateStatus, ApiKey, Field};
use refersion_destination::sandbox::{Fault, Operation, Sandbox, SandboxSettings};
use serde_json::{Value, json};

/// A text in every secret and personal value of these tests; in lower case.
const MARKER: &str = "marker";
const KEY: &str = "pub_test.sec_marker";

/// An error of Refersion that repeats values it was sent.
fn error_with_sent_values() -> Fault {
    Fault::unprocessable(
        "Marker3 MarkerLast of marker3@example.com in Markertown is not a allowed value for field city",
    )
}

/// The same after the values that are not required were left out.
fn error_with_required_values() -> Fault {
    Fault::unprocessable("Marker3 MarkerLast of marker3@example.com is not a allowed value for field first_name")
}

fn event(user: u32, more: &Value) -> Value {
    let mut traits = json!({"name": format!("Marker{user} MarkerLast"), "email": format!("marker{user}@example.com"),
        "city": "Markertown"});
    for (name, value) in more.as_object().into_iter().flatten() {
        traits[name] = value.clone();
    }
    json!({"type": "identify", "userId": format!("markeruser{user}"), "traits": traits})
}

async fn refersion() -> (Sandbox, String) {
    let sandbox = Sandbox::new(SandboxSettings {
        api_key: Some(ApiKey::parse(KEY).expect("a key")),
        ..SandboxSettings::default()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
    tokio::spawn(sandbox.serve(listener));
    let fields = [(Field::FirstName, "Marker"), (Field::LastName, "Was"), (Field::Email, "marker2@example.com")];
    sandbox.add(AffiliateStatus::Active, &fields.into_iter().collect()).expect("added");
    (sandbox, base_url)
}

/// Sends events with every outcome. Returns the code, status and message of each response.
async fn send_every_outcome(process: &Process, sandbox: &Sandbox) -> Vec<String> {
    let delete = json!({"type": "delete", "userId": "markeruser2", "email": "marker1@example.com"});
    let nobody = json!({"type": "delete", "email": "marker99@example.com"});
    let mut answers = Vec::new();
    let mut send = async |authorization: &str, body: String| {
        let request = http().post(format!("{}/segment", process.server)).header("Authorization", authorization);
        let response = within(request.body(body).send()).await.expect("an answer");
        let status = response.status().as_u16();
        answers.push(format!("{status} {}", within(response.text()).await.expect("a body")));
    };
    let basic = |key: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{key}:")));
    let right = basic(KEY);
    sandbox.script([Fault::status(500)]);
    send(&right, event(1, &Value::Null).to_string()).await; // retried, then created
    sandbox.script([Fault::TruncateResponse]);
    send(&right, event(2, &Value::Null).to_string()).await; // taken, searched, read, edited
    sandbox.script([Fault::LoseResponse]);
    send(&right, event(1, &json!({"city": "Markerville"})).to_string()).await; // edited
    send(&right, event(1, &json!({"email": "marker2@example.com"})).to_string()).await; // the e-mail is taken: the rest is edited
    sandbox.script_for(Operation::New, [error_with_sent_values(), error_with_required_values()]);
    send(&right, event(3, &json!({"address": {"country": "Markerland", "state": "Marker"}})).to_string()).await; // dead
    sandbox.script_for(Operation::New, [error_with_sent_values()]);
    send(&right, event(8, &json!({"state": "Marker"})).to_string()).await; // created without the city
    let mut other_owner = event(8, &json!({"email": "marker1@example.com"}));
    other_owner["userId"] = json!("markeruser9");
    send(&right, other_owner.to_string()).await; // ignored: another userId owns the affiliate
    sandbox.script_for(Operation::New, [Fault::status(500), Fault::html(500)]);
    send(&right, event(4, &Value::Null).to_string()).await; // fails for too long: dead
    send(&right, delete.to_string()).await; // the affiliate of the e-mail is left alone
    send(&right, nobody.to_string()).await;
    send(&right, event(5, &json!({"email": "marker at example"})).to_string()).await; // refused
    send(&right, r#"{"type": "identify", "userId": "marker"#.to_owned()).await;
    send(&right, r#"[{"type": "track", "event": "marker"}, 5, "marker"]"#.to_owned()).await;
    send(&basic("pub_test.sec_marker_wrong"), event(6, &Value::Null).to_string()).await;
    sandbox.revoke_api_key();
    send(&right, event(7, &Value::Null).to_string()).await; // halted
    sandbox.restore_api_key();
    sandbox.until(|sandbox| sandbox.affiliate("marker7@example.com").is_some()).await;
    answers
}

#[tokio::test]
async fn no_secret_and_no_personal_datum_is_in_the_output_or_in_a_response() {
    for format in ["text", "json"] {
        let (sandbox, base_url) = refersion().await;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = [
            ("REFERSION_API_KEY", KEY),
            ("SEGMENT_SHARED_SECRETS", "shared-marker,other-marker"),
            ("DELIVERY_MAX_AGE", "50ms"),
            ("DELIVERY_RETRY_MIN", "60ms"),
            ("LOG_FILTER", "refersion_destination=trace,info"),
            ("LOG_FORMAT", format),
        ];
        let process = Process::start(&base_url, folder.path(), &settings);
        let answers = within(send_every_outcome(&process, &sandbox)).await;
        process.terminate();
        let (status, logged) = within(tokio::task::spawn_blocking(move || process.wait())).await.expect("waits");
        assert_eq!(status.code(), Some(0));
        let codes: Vec<&str> = answers.iter().map(|answer| &answer[..3]).collect();
        let expected = "200 200 200 200 400 200 200 400 200 200 400 400 400 401 401";
        assert_eq!(codes.join(" "), expected, "{answers:#?}");
        for words in [
            "because the new one belongs to another",
            "rejects the value of city",
            "whose owner is another userId",
            "which was left alone",
        ] {
            assert!(answers.iter().any(|answer| answer.contains(words)), "{words} is answered: {answers:#?}");
        }
        for operation in ["new", "search", "get", "edit", "status_change"] {
            assert!(logged.contains(operation), "{operation} is logged: {logged}");
        }
        for text in answers.iter().map(String::as_str).chain(logged.lines()) {
            assert!(!text.to_lowercase().contains(MARKER), "{text}");
        }
    }
}

#[test]
fn the_leak_check_finds_secrets_and_addresses() {
    leaks::register("sec_kept_for_this");
    for (text, leaks) in [
        ("dead letter 1 of u1@example.com, refused", Some("u1@example.com")),
        ("keyword=u1%40example.com&page=1", Some("u1%40example.com")),
        (r#"{"message":"<Söhne+1@bücher.example>"}"#, Some("Söhne+1@bücher.example")),
        ("the key pub_x.sec_kept_for_this is wrong", Some("sec_kept_for_this")),
        ("webhook on http://127.0.0.1:8080/segment, at 100% @ 5.0 calls", None),
        ("", None),
    ] {
        assert_eq!(leaks::leak(text).as_deref(), leaks, "{text}");
    }
}

/// A test fails if a process it started prints an address of a user, or if a response contains one.
#[tokio::test]
async fn every_process_and_every_response_of_the_suite_is_checked() {
    let talks = r"printf 'on http://a/segment, http://b/readyz\nrefused u1@example.com\n' >&2";
    let started = || Process::of(crate::support::process::binary_named("sh").args(["-c", talks]));
    let dropped = std::panic::catch_unwind(|| drop(started()));
    let waited = std::panic::catch_unwind(|| drop(started().wait()));
    for panicked in [dropped, waited] {
        let why = panicked.expect_err("it fails");
        let why = why.downcast_ref::<String>().expect("a text");
        assert!(why.starts_with("\"u1@example.com\" leaked into"), "{why}");
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let talks = axum::Router::new().fallback(|| async { "refused u1@example.com" });
    tokio::spawn(axum::serve(listener, talks).into_future());
    let answered = tokio::spawn(async move { Answer::to(http().get(url)).await });
    assert!(answered.await.expect_err("it fails").is_panic());
}
