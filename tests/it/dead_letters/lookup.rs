//! `lookup` shows the results of a user's events: through the service, and on its store.

use super::{Deployment, without_times_and_names};
use crate::support::identify;
use insta::assert_snapshot;
use serde_json::{Value, json};

#[tokio::test]
async fn a_lookup_says_the_same_through_the_service_and_on_its_store() {
    let mut deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "markeruser1").await;
    deployment.send(&identify("m2", "markeruser1", &json!({"city": "Markertown"}))).await;
    let by_email = &["lookup", "--email", "MarkerUser1@example.com"][..];
    let by_message = &["lookup", "--message-id", "m1"][..];
    let by_nobody = &["lookup", "--user-id", "nobody"][..];
    let mut reported: Vec<Vec<String>> = Vec::new();
    for stopped in [false, true] {
        if stopped {
            deployment.stop().await;
        }
        let mut of_this = Vec::new();
        for (command, code) in [(by_email, 0), (by_message, 0), (by_nobody, 1)] {
            let ran = deployment.run(command).await;
            assert_eq!((ran.code, &*ran.err), (Some(code), ""), "{command:?}");
            assert!(!ran.out.to_lowercase().contains("marker"), "{}", ran.out);
            let json = deployment.run(&[command, &["--json"]].concat()).await.out;
            let known = serde_json::from_str::<Value>(&json).expect("JSON")["known"] == true;
            assert_eq!(known, code == 0, "{json}");
            of_this.extend([ran.out, json]);
        }
        reported.push(of_this);
    }
    assert_eq!(reported[0], reported[1]);
    let json: Value = serde_json::from_str(&reported[0][1]).expect("JSON");
    let (code, id) = (json["affiliates"][0]["code"].as_str().expect("a code"), json["affiliates"][0]["id"].to_string());
    let reported = reported[0].iter().map(|text| without_times_and_names(text).replace(code, "a3y7").replace(&id, "7"));
    let reported: Vec<String> = reported.collect();
    assert_snapshot!(reported[0], @r"
    account main
    affiliate a3y7 (id 7): created by this service; a userId owns it; userIds that lead to it: 1, e-mail addresses: 1
      sent city as of 2026-..-..T..:..:..Z
      sent email as of 2026-..-..T..:..:..Z
      sent first_name as of 2026-..-..T..:..:..Z
      sent last_name as of 2026-..-..T..:..:..Z
      sent status
      sent unique_merchant_id
    event 0123456789ab received 2026-..-..T..:..:..Z ended: created
    event 0123456789ab received 2026-..-..T..:..:..Z is dead letter 1: refused: Refersion rejected new: Value exceed the char limit
    ");
    assert_snapshot!(reported[2], @r"
    account main
    event 0123456789ab is its name in logs, traces and dead letters
    affiliate a3y7 (id 7): created by this service; a userId owns it; userIds that lead to it: 1, e-mail addresses: 1
      sent city as of 2026-..-..T..:..:..Z
      sent email as of 2026-..-..T..:..:..Z
      sent first_name as of 2026-..-..T..:..:..Z
      sent last_name as of 2026-..-..T..:..:..Z
      sent status
      sent unique_merchant_id
    event 0123456789ab received 2026-..-..T..:..:..Z is dead letter 1: refused: Refersion rejected new: Value exceed the char limit
    ");
    assert_snapshot!(reported[4], @r"
    account main
    nothing is known: no affiliate, and no event that is kept
    ");
}

#[tokio::test]
async fn a_lookup_of_nothing_or_of_no_address_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["lookup"][..], &["lookup", "--email", "nobody"], &["lookup", "--user-id", " "]] {
        let ran = super::command(folder.path(), arguments, &[]).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
    }
}
