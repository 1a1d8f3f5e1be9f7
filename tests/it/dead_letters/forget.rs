//! `forget` erases everything that is kept of a user, and prints what that was.

use super::{AT_ONCE, Deployment};
use crate::support::{identify, within};
use axum::Router;
use axum::routing::post;
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};

/// The line of an erasure that finds nothing of the user.
const NOTHING: &str = "erased in account main: nothing but keyed hashes in the log, if there were any\n";

/// A service with a known affiliate, a dead letter of that user, and two pending events.
async fn deployment() -> Deployment {
    let mut deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "markeruser1").await;
    deployment.send(&identify("m2", "markeruser1", &Value::Null)).await;
    deployment.stop().await;
    deployment.sandbox.script((0..1_000).map(|_| Fault::status(500)));
    deployment.start(&[AT_ONCE, ("DELIVERY_RETRY_MIN", "1h"), ("DELIVERY_RETRY_MAX", "1h")]);
    let calls = deployment.sandbox.calls_total();
    deployment.send(&identify("m3", "markeruser1", &json!({"city": "Rome"}))).await;
    within(deployment.sandbox.until(|sandbox| sandbox.calls_total() > calls)).await;
    deployment.send(&identify("m4", "markeruser1", &json!({"city": "Oslo"}))).await;
    deployment
}

/// Runs `forget` until no event of the user is in flight.
async fn forget(deployment: &Deployment, whom: [&str; 2]) -> Value {
    loop {
        let ran = deployment.run(&["forget", whom[0], whom[1], "--json"]).await;
        let forgotten: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
        if ran.code == Some(0) {
            return forgotten;
        }
        assert!(ran.err.contains("in flight and not erased: run this command again"), "{}", ran.err);
    }
}

#[tokio::test]
async fn everything_kept_of_a_user_is_erased_through_the_service_and_on_its_store() {
    for (stopped, whom) in [(false, ["--email", "MarkerUser1@example.com"]), (true, ["--user-id", "markeruser1"])] {
        let mut deployment = deployment().await;
        if stopped {
            deployment.stop().await;
            let forgotten = forget(&deployment, whom).await;
            assert_eq!(forgotten["events"], 2, "{forgotten}");
            assert_eq!(
                (&forgotten["dead_letters"], &forgotten["affiliates"], &forgotten["links"]),
                (&1.into(), &1.into(), &2.into())
            );
        } else {
            forget(&deployment, whom).await;
            assert_eq!(deployment.counts().await, (0, 3));
        }
        let listed = deployment.run(&["dlq", "list", "--reveal"]).await.out;
        assert_eq!(listed.matches("(body erased)").count(), 3, "{listed}");
        assert!(!listed.to_lowercase().contains("marker"), "{listed}");
        let again = deployment.run(&["forget", whom[0], whom[1]]).await;
        assert_eq!((again.code, &*again.out), (Some(0), NOTHING));
        let replayed = deployment.run(&["dlq", "replay", "1"]).await;
        let expected = "1: cannot be replayed: its body was erased\nreplayed 0 dead letters\n";
        assert_eq!((replayed.code, &*replayed.out), (Some(1), expected));
    }
}

#[tokio::test]
async fn forget_prints_the_counts_of_erased_data_in_one_line() {
    let mut deployment = deployment().await;
    deployment.stop().await;
    let whom = ["forget", "--user-id", "markeruser1", "--email", "other@example.com"];
    for _ in 0..2 {
        let dry = deployment.run(&[&whom[..], &["--dry-run"]].concat()).await;
        let expected = "would erase in account main: 2 pending events, 1 dead letter, 2 links, 1 stored affiliate\n";
        assert_eq!((dry.code, &*dry.out, &*dry.err), (Some(0), expected, ""));
    }
    let ran = deployment.run(&whom).await;
    let expected = "erased in account main: 2 pending events, 1 dead letter, 2 links, 1 stored affiliate\n";
    assert_eq!((ran.code, &*ran.out, &*ran.err), (Some(0), expected, ""));
    assert_eq!(deployment.run(&whom).await.out, NOTHING);
}

#[tokio::test]
async fn an_event_in_flight_alone_is_reported_and_nothing_else() {
    let deployment = Deployment::open(&[AT_ONCE]).await;
    deployment.sandbox.script([Fault::Hang { effect: false }]);
    deployment.send(&identify("m1", "markeruser1", &Value::Null)).await;
    within(deployment.sandbox.until(|sandbox| sandbox.calls_total() > 0)).await;
    for (dry_run, code, expected) in [
        (&["--dry-run"][..], 0, "1 event in flight would not be erased"),
        (&[], 1, "1 event in flight and not erased: run this command again in a moment"),
    ] {
        let ran = deployment.run(&[&["forget", "--user-id", "markeruser1"], dry_run].concat()).await;
        let err = format!("{expected}\n");
        assert_eq!((ran.code, &*ran.out, &*ran.err), (Some(code), "", &*err), "{dry_run:?}");
    }
}

/// The service has only the account `main`; the command only the account `other`, unless it has the service's key, too.
#[tokio::test]
async fn without_an_account_it_is_the_first_one_of_the_service_or_on_its_store_of_the_command() {
    let mut deployment = deployment().await;
    let others = deployment.folder.path().join("others.toml");
    std::fs::write(&others, "[[accounts]]\nname = \"other\"\napi_key = \"pub_o.sec_o\"\n").expect("written");
    let options = ["--user-id", "markeruser1", "--config", others.to_str().expect("text")];
    let forget = [&["forget"][..], &options].concat();
    let no_main = [("REFERSION_API_KEY", "")];
    let through = ["--ops", &deployment.process().ops.clone()];
    let asked = deployment.run_with(&[&forget[..], &["--dry-run"], &through].concat(), &no_main).await;
    assert!(asked.out.starts_with("would erase in account main: "), "{}{}", asked.out, asked.err);
    let asked = deployment.run_with(&[&["lookup"][..], &options, &through].concat(), &no_main).await;
    assert!(asked.out.starts_with("account main\naffiliate "), "{}{}", asked.out, asked.err);
    deployment.stop().await;
    let of_other = deployment.run_with(&forget, &no_main).await;
    assert_eq!(of_other.out, NOTHING.replace("main", "other"), "{}", of_other.err);
    let of_main = deployment.run(&forget).await;
    assert!(of_main.out.starts_with("erased in account main: 2 pending events"), "{}{}", of_main.out, of_main.err);
}

/// The data are erased by then. Only a number of events in flight makes it certain that none is left.
#[tokio::test]
async fn the_answer_of_a_service_of_another_release_is_printed_as_far_as_it_is_known() {
    const NOT_ERASED: &str = "in flight and not erased: run this command again in a moment";
    let folder = tempfile::tempdir().expect("a folder");
    for (answer, code, out, in_flight) in [
        (
            r#"{"events": 1, "in_flight": 0, "dead_letters": 2, "of_a_later_release": 3}"#,
            0,
            "1 pending event, 2 dead letters",
            "",
        ),
        (r#"{"events": 1, "in_flight": 2, "links": null, "account": 7}"#, 1, "1 pending event", "2 events"),
        (r#"{"events": 1}"#, 1, "1 pending event", "an unknown number of events"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let ops = format!("http://{}", listener.local_addr().expect("bound"));
        let service = Router::new().route("/api/v1/forget", post(async move || answer));
        tokio::spawn(axum::serve(listener, service).into_future());
        let forget = ["forget", "--user-id", "u1", "--ops", &ops];
        let ran = super::command(folder.path(), &forget, &[]).await;
        let err = if code == 0 { String::new() } else { format!("{in_flight} {NOT_ERASED}\n") };
        assert_eq!((ran.code, ran.out, ran.err), (Some(code), format!("erased: {out}\n"), err), "{answer}");
        let as_json = super::command(folder.path(), &[&forget[..], &["--json"]].concat(), &[]).await;
        let printed: Value = serde_json::from_str(&as_json.out).expect("JSON");
        assert_eq!((as_json.code, printed), (Some(code), serde_json::from_str(answer).expect("JSON")), "{answer}");
    }
}

#[tokio::test]
async fn forget_without_a_valid_user_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["forget"][..], &["forget", "--email", "nobody"], &["forget", "--user-id", " "]] {
        let ran = super::command(folder.path(), arguments, &[]).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
    }
}
