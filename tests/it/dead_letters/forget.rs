//! `forget` erases everything that is kept of a user, and prints what that was.

use super::{AT_ONCE, Deployment};
use crate::support::{identify, within};
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};

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
        assert!(ran.err.contains("left alone: run this again"), "{}", ran.err);
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
        assert_eq!(
            (again.code, &*again.out),
            (Some(0), "nothing to erase but keyed hashes of this user in the log, if it has any\n")
        );
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
        let expected = "would erase: 2 pending events, 1 dead letter, 2 links, 1 stored affiliate\n";
        assert_eq!((dry.code, &*dry.out, &*dry.err), (Some(0), expected, ""));
    }
    let ran = deployment.run(&whom).await;
    let expected = "erased: 2 pending events, 1 dead letter, 2 links, 1 stored affiliate\n";
    assert_eq!((ran.code, &*ran.out, &*ran.err), (Some(0), expected, ""));
    assert_eq!(
        deployment.run(&whom).await.out,
        "nothing to erase but keyed hashes of this user in the log, if it has any\n"
    );
}

/// Through the service and on its store.
#[tokio::test]
async fn forget_without_an_account_applies_to_the_first_one_configured() {
    let mut deployment = deployment().await;
    deployment.stop().await;
    let others = deployment.folder.path().join("others.toml");
    std::fs::write(&others, "[[accounts]]\nname = \"other\"\napi_key = \"pub_o.sec_o\"\n").expect("written");
    let forget = ["forget", "--user-id", "markeruser1", "--config", others.to_str().expect("text")];
    let of_other = deployment.run_with(&forget, &[("REFERSION_API_KEY", "")]).await;
    assert_eq!(
        of_other.out, "nothing to erase but keyed hashes of this user in the log, if it has any\n",
        "{}",
        of_other.err
    );
    let of_main = deployment.run(&forget).await;
    assert!(of_main.out.starts_with("erased: 2 pending events"), "{}{}", of_main.out, of_main.err);
}

#[tokio::test]
async fn forget_without_a_valid_user_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["forget"][..], &["forget", "--email", "nobody"], &["forget", "--user-id", " "]] {
        let ran = super::command(folder.path(), arguments, &[]).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
    }
}
