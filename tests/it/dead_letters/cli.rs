//! `dead-letters`: the same through a running service and on the store of a stopped one.

use super::{AT_ONCE, Deployment, without_times_and_names};
use crate::support::{identify, within};
use insta::{allow_duplicates, assert_snapshot};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

/// Runs `check` while the service runs, then after it has stopped.
async fn both(deployment: &mut Deployment, check: impl AsyncFn(&Deployment)) {
    check(deployment).await;
    deployment.stop().await;
    check(deployment).await;
}

#[tokio::test]
async fn list_prints_a_line_for_each_without_personal_data() {
    let mut deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "markeruser1").await;
    deployment.send_dead_letter("m2", "markeruser2").await;
    both(&mut deployment, async |deployment| {
        let ran = deployment.run(&["dlq", "list"]).await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""));
        allow_duplicates!(assert_snapshot!(without_times_and_names(&ran.out), @r"
        ID      DIED                  ACCOUNT   CODE            FAILURES  REASON
        1       2026-..-..T..:..:..Z  main      refused                0  Refersion rejected new: Value exceed the char limit
        2       2026-..-..T..:..:..Z  main      refused                0  Refersion rejected new: Value exceed the char limit
        "));
        let revealed = deployment.run(&["dlq", "list", "--reveal"]).await.out;
        assert!(revealed.contains("markeruser1@example.com") && revealed.contains("Markertown"), "{revealed}");
        for (conditions, expected) in [
            (&["--reason", "refused"][..], 2),
            (&["--reason", "expired"], 0),
            (&["--account", "main", "--since", "1h"], 2),
            (&["--since", "2999-01-01"], 0),
        ] {
            let ran = deployment.run(&[&["dlq", "list", "--json"], conditions].concat()).await;
            assert_eq!((ran.out.lines().count(), ran.code), (expected, Some(0)), "{conditions:?}");
            assert!(!ran.out.contains("arker"), "{}", ran.out);
            assert_eq!(ran.err.trim_end(), if expected == 0 { "no dead letters" } else { "" });
        }
    })
    .await;
}

#[tokio::test]
async fn show_prints_the_reason_the_attempts_and_the_calls_of_today() {
    let mut deployment = Deployment::open(&[("DELIVERY_MAX_AGE", "1ms")]).await;
    deployment.sandbox.script_for(Operation::New, [Fault::status(500), Fault::html(502)]);
    let odd = json!({"city": "Markertown", "country": "Markerland", "address": 5, "phone": "555 marker"});
    deployment.send(&identify("marker-message", "markeruser1", &odd)).await;
    both(&mut deployment, async |deployment| {
        let ran = deployment.run(&["dead-letters", "show", "1"]).await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""));
        allow_duplicates!(assert_snapshot!(without_times_and_names(&ran.out), @r#"
        dead letter 1: expired
          reason:   gave up after failing for too long; at last: Refersion answered 502 to new
          account:  main
          event:    0123456789ab
          received: 2026-..-..T..:..:..Z
          died:     2026-..-..T..:..:..Z
          failures: 1
          attempts:
            2026-..-..T..:..:..Z Refersion answered 500 to new
            2026-..-..T..:..:..Z gave up after failing for too long; at last: Refersion answered 502 to new
          today:
            identify
              if the user is not an affiliate yet:
                POST /affiliate/new {"city":"…","email":"…","first_name":"…","last_name":"…","password":"<generated>","phone":"…","send_welcome":"FALSE","status":"PENDING","unique_merchant_id":"…"}
              if the user is already an affiliate, for what has changed:
                POST /affiliate/edit {"affiliates":[{"city":"…","email":"…","first_name":"…","id":"<id>","last_name":"…","phone":"…"}]}
              note: address: neither an object with `street`, `city` and so on nor a text, so it was left out
              note: country: not a country Refersion allows, so it was left out
        "#));
        let revealed = deployment.run(&["dead-letters", "show", "--all", "--reveal"]).await.out;
        assert!(revealed.contains("markeruser1@example.com") && revealed.contains("marker-message"), "{revealed}");
        let json = deployment.run(&["dead-letters", "show", "--reason", "expired", "--json"]).await.out;
        assert!(!json.to_lowercase().contains("marker"), "{json}");
        let json: Value = serde_json::from_str(&json).expect("one line of JSON");
        assert_eq!(json["history"].as_array().map(Vec::len), Some(2), "{json}");
        assert_eq!(json["today"][0], "identify");
        let missing = deployment.run(&["dead-letters", "show", "7"]).await;
        assert_eq!((missing.code, &*missing.out, &*missing.err), (Some(1), "", "7: no such dead letter\n"));
    })
    .await;
}

#[tokio::test]
async fn the_calls_of_today_are_those_of_the_services_rules_also_with_the_event() {
    let deployment = Deployment::open(&[("REFERSION_OFFER", "77")]).await;
    deployment.send_dead_letter("m1", "u1").await;
    // The command has no offer.
    for (arguments, expected) in [
        (&["dead-letters", "show", "1"][..], r#""offer":"…""#),
        (&["dead-letters", "show", "1", "--reveal"], r#""offer":"77""#),
    ] {
        let shown = deployment.run(arguments).await.out;
        assert!(shown.contains(expected), "{shown}");
    }
}

#[tokio::test]
async fn a_replay_through_the_service_is_delivered_at_once_and_is_no_duplicate() {
    let deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "u1").await;
    deployment.send_dead_letter("m2", "u2").await;
    let ran = deployment.run(&["dead-letters", "replay", "1", "2", "9"]).await;
    let expected = "1: pending again as 3\n2: pending again as 4\n9: no such dead letter\nreplayed 2 dead letters\n";
    assert_eq!((ran.code, &*ran.out), (Some(1), expected), "{}", ran.err);
    within(deployment.sandbox.until(|sandbox| sandbox.affiliates().len() == 2)).await;
    deployment.until_drained().await;
    assert_eq!(deployment.counts().await, (0, 0));
    let again =
        deployment.process().send(&identify("m1", "u1", &json!({"city": "Markertown"}))).await.expect("an answer");
    assert_eq!(again.brief(), "200 duplicate");
}

#[tokio::test]
async fn a_replay_on_the_store_is_mapped_anew_and_delivered_after_pending_events_when_the_service_starts() {
    let mut deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "u1").await;
    deployment.stop().await;
    deployment.sandbox.revoke_api_key();
    deployment.start(&[AT_ONCE]);
    // It is of before the dead letter, so that the replayed one states the newer city.
    let mut older = identify("m2", "u1", &json!({"city": "Oslo"}));
    older["timestamp"] = json!("2020-01-01T00:00:00Z");
    deployment.send(&older).await;
    deployment.stop().await;
    let ran = deployment.run(&["dead-letters", "replay", "--all", "--json"]).await;
    assert_eq!((ran.code, &*ran.out), (Some(0), "{\"id\":1,\"outcome\":\"replayed\",\"seq\":3}\n"), "{}", ran.err);
    assert_eq!(ran.err, "replayed 1 dead letter\n");
    deployment.sandbox.restore_api_key();
    deployment.start(&[("MAPPING_CUSTOM_FIELDS", r#"{ city = "77" }"#)]);
    deployment.until_drained().await;
    let affiliate = &deployment.sandbox.affiliates()[0];
    assert_eq!(affiliate.field("city"), "Markertown", "the replayed one came last");
    assert_eq!(affiliate.custom_fields["77"], "Markertown", "by today's rules");
    assert_eq!(deployment.counts().await, (0, 0));
}

#[tokio::test]
async fn discarding_is_confirmed_or_refused() {
    let mut deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "u1").await;
    deployment.send_dead_letter("m2", "u2").await;
    both(&mut deployment, async |deployment| {
        let ids = deployment.ids().await;
        let refused = deployment.run(&["dead-letters", "discard", "--all"]).await;
        assert_eq!((refused.code, &*refused.out), (Some(1), ""));
        let why = "discarding is for good, and there is no terminal to ask for confirmation: pass --yes";
        assert_eq!(refused.err, format!("refersion-destination: {why}\n"));
        assert_eq!(deployment.ids().await, ids, "nothing was discarded");
        let ran = deployment.run(&["dead-letters", "discard", "--yes", &ids[0], "9"]).await;
        assert_eq!((ran.code, &*ran.out), (Some(1), "9: no such dead letter\ndiscarded 1 dead letter\n"));
        assert_eq!(deployment.ids().await, ids[1..]);
    })
    .await;
    assert_eq!(deployment.run(&["dead-letters", "list"]).await.err, "no dead letters\n");
}

#[tokio::test]
async fn a_selection_that_selects_nothing_changes_nothing_and_succeeds() {
    let mut deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "u1").await;
    both(&mut deployment, async |deployment| {
        for (command, expected) in [
            (&["dead-letters", "replay", "--reason", "expired"][..], "replayed 0 dead letters\n"),
            (&["dead-letters", "discard", "--yes", "--since", "2999-01-01"], "discarded 0 dead letters\n"),
        ] {
            let ran = deployment.run(command).await;
            assert_eq!((ran.code, &*ran.out), (Some(0), expected), "{command:?}: {}", ran.err);
        }
        assert_eq!(deployment.ids().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_command_without_a_selection_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in
        [&["dlq", "replay"][..], &["dlq", "discard"], &["dlq", "show", "1", "--all"], &["dlq", "show", "x"]]
    {
        let ran = super::command(folder.path(), arguments, &[]).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
    }
}

#[tokio::test]
async fn a_missing_store_is_reported_and_not_created() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = super::command(folder.path(), &["dlq", "list"], &[]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("there is no store at ") && ran.err.contains("STORE_URL"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
}

#[tokio::test]
async fn a_store_in_use_is_reached_through_the_ops_listener() {
    let deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "u1").await;
    let address = deployment.process().ops.trim_start_matches("http://").to_owned();
    let ran = deployment.run_with(&["dlq", "list", "--json"], &[("OPS_LISTEN", &address)]).await;
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 1), "{}", ran.err);
    let of = async |arguments: &[&str], token: &str| {
        deployment.run_with(arguments, &[("OPS_LISTEN", &address), ("OPS_TOKEN", token)]).await
    };
    let wrong = of(&["dlq", "list"], "a-wrong-token-of-operators").await;
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.err.contains("/api/v1/dead-letters answered 401: the token is not the value of OPS_TOKEN"),
        "{}",
        wrong.err
    );
    assert_eq!(of(&["dlq", "list"], "").await.code, Some(0), "reading is free on loopback");
    let without = of(&["dlq", "replay", "1"], "").await;
    assert_eq!(without.code, Some(1));
    assert!(without.err.contains("answered 401: present the value of OPS_TOKEN"), "{}", without.err);
    assert!(without.err.contains("(this command reads OPS_TOKEN, too)"), "{}", without.err);
    let server = deployment.process().server.clone();
    let public = deployment.run_with(&["dlq", "list", "--ops", &server], &[]).await;
    assert!(public.err.contains("answered 404"), "{}", public.err);
}

#[tokio::test]
async fn a_replay_that_waits_prints_the_result_of_each_event() {
    let mut deployment = Deployment::open(&[AT_ONCE]).await;
    deployment.send_dead_letter_later("m1", "u1").await;
    deployment.send_dead_letter_later("m2", "u2").await;
    let ran = deployment.run(&["dead-letters", "replay", "1", "9", "--wait"]).await;
    let expected = "9: no such dead letter\n1: pending again as 3: created\nreplayed 1 dead letter\n";
    assert_eq!((ran.code, &*ran.out), (Some(1), expected), "{}", ran.err);
    let refused = || Fault::unprocessable("no");
    deployment.sandbox.script_for(Operation::New, [refused(), refused()]);
    let ran = deployment.run(&["dead-letters", "replay", "2", "--wait"]).await;
    let expected =
        "2: pending again as 4: a dead letter again (refused): Refersion rejected new: no\nreplayed 1 dead letter\n";
    assert_eq!((ran.code, &*ran.out), (Some(1), expected), "{}", ran.err);
    deployment.stop().await;
    let stopped = deployment.run(&["dead-letters", "replay", "--all", "--wait"]).await;
    assert_eq!(stopped.code, Some(1));
    assert!(stopped.err.contains("no service runs on this store, so nothing would be delivered"), "{}", stopped.err);
    assert_eq!(deployment.ids().await.len(), 1, "nothing was replayed");
}

#[tokio::test]
async fn a_replay_that_waits_ends_after_its_time_and_prints_the_pending_events() {
    let deployment = Deployment::open(&[AT_ONCE]).await;
    deployment.send_dead_letter_later("m1", "u1").await;
    deployment.sandbox.script_for(Operation::New, [Fault::too_many_calls(Some(3_600))]);
    let ran = deployment.run(&["dead-letters", "replay", "1", "--wait=300ms", "--json"]).await;
    assert_eq!(
        (ran.code, &*ran.out),
        (Some(1), "{\"id\":1,\"outcome\":\"replayed\",\"seq\":2,\"state\":\"pending\"}\n")
    );
}

#[tokio::test]
async fn a_filter_that_matches_nothing_known_is_an_error() {
    let mut deployment = Deployment::open(&[]).await;
    both(&mut deployment, async |deployment| {
        for command in ["list", "show", "replay", "discard"] {
            let arguments = ["dead-letters", command, "--account", "nope"];
            let arguments =
                if command == "discard" { [&arguments[..], &["--yes"]].concat() } else { arguments.to_vec() };
            let ran = deployment.run(&arguments).await;
            assert_eq!(ran.code, Some(1), "{command}: {}", ran.out);
            let expected = "there is no account \"nope\"; the configured accounts are: main";
            assert!(ran.err.contains(expected), "{command}: {}", ran.err);
            let reason = deployment.run(&["dead-letters", command, "--reason", "foo"]).await;
            assert_eq!(reason.code, Some(2), "{command}: {}", reason.out);
            assert!(reason.err.contains("[possible values: unmappable, malformed, refused,"), "{}", reason.err);
        }
        let conflicts = deployment.run(&["email-conflicts", "--account", "nope"]).await;
        assert_eq!(conflicts.code, Some(1));
        assert!(conflicts.err.contains("there is no account \"nope\""), "{}", conflicts.err);
        let forget = deployment.run(&["forget", "--user-id", "u1", "--account", "nope"]).await;
        assert_eq!(forget.code, Some(1));
        assert!(forget.err.contains("there is no account \"nope\""), "{}", forget.err);
    })
    .await;
}
