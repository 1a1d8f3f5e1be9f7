//! `dead-letters`: the same beside the running service and on the store of a stopped one.

use super::{AT_ONCE, House, timeless};
use crate::support::{identify, within};
use insta::{allow_duplicates, assert_snapshot};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

/// Runs `check` beside a running service, then on the store of the same one when it is stopped.
async fn both(house: &mut House, check: impl AsyncFn(&House)) {
    check(house).await;
    house.stop().await;
    check(house).await;
}

#[tokio::test]
async fn list_has_a_line_for_each_without_personal_data() {
    let mut house = House::open(&[]).await;
    house.die("m1", "markeruser1").await;
    house.die("m2", "markeruser2").await;
    both(&mut house, async |house| {
        let ran = house.run(&["dlq", "list"]).await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""));
        allow_duplicates!(assert_snapshot!(timeless(&ran.out), @r"
        ID      DIED                  ACCOUNT   CODE            FAILURES  REASON
        1       2026-..-..T..:..:..Z  main      refused                0  Refersion refused new: Value exceed the char limit
        2       2026-..-..T..:..:..Z  main      refused                0  Refersion refused new: Value exceed the char limit
        "));
        let revealed = house.run(&["dlq", "list", "--reveal"]).await.out;
        assert!(revealed.contains("markeruser1@example.com") && revealed.contains("Markertown"), "{revealed}");
        for (conditions, expected) in [
            (&["--reason", "refused"][..], 2),
            (&["--reason", "expired"], 0),
            (&["--account", "main", "--since", "1h"], 2),
            (&["--since", "2999-01-01"], 0),
        ] {
            let ran = house.run(&[&["dlq", "list", "--json"], conditions].concat()).await;
            assert_eq!((ran.out.lines().count(), ran.code), (expected, Some(0)), "{conditions:?}");
            assert!(!ran.out.contains("arker"), "{}", ran.out);
            assert_eq!(ran.err.trim_end(), if expected == 0 { "no dead letters" } else { "" });
        }
    })
    .await;
}

#[tokio::test]
async fn show_tells_reason_attempts_and_what_the_event_would_do_today() {
    let mut house = House::open(&[("DELIVERY_MAX_AGE", "1ms")]).await;
    house.sandbox.script_for(Operation::New, [Fault::status(500), Fault::html(502)]);
    let odd = json!({"city": "Markertown", "country": "Markerland", "address": "Marker Street", "phone": "555 marker"});
    house.send(&identify("marker-message", "markeruser1", &odd)).await;
    both(&mut house, async |house| {
        let ran = house.run(&["dead-letters", "show", "1"]).await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""));
        allow_duplicates!(assert_snapshot!(timeless(&ran.out), @r#"
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
              if the user is no affiliate yet:
                POST /affiliate/new {"city":"…","email":"…","first_name":"…","last_name":"…","password":"<generated>","phone":"…","send_welcome":"FALSE","status":"PENDING","unique_merchant_id":"…"}
              if the user is a known affiliate, as far as it is news:
                POST /affiliate/edit {"affiliates":[{"city":"…","email":"…","first_name":"…","id":"<id>","last_name":"…","phone":"…"}]}
              note: address: not an object with `street`, `city` and so on, so it was left out
              note: country: not a country Refersion allows, so it was left out
        "#));
        let revealed = house.run(&["dead-letters", "show", "--all", "--reveal"]).await.out;
        assert!(revealed.contains("markeruser1@example.com") && revealed.contains("marker-message"), "{revealed}");
        let json = house.run(&["dead-letters", "show", "--reason", "expired", "--json"]).await.out;
        assert!(!json.to_lowercase().contains("marker"), "{json}");
        let json: Value = serde_json::from_str(&json).expect("one line of JSON");
        assert_eq!(json["history"].as_array().map(Vec::len), Some(2), "{json}");
        assert_eq!(json["today"][0], "identify");
        let missing = house.run(&["dead-letters", "show", "7"]).await;
        assert_eq!((missing.code, &*missing.out, &*missing.err), (Some(1), "", "7: no such dead letter\n"));
    })
    .await;
}

#[tokio::test]
async fn a_replay_beside_the_service_is_delivered_at_once_and_no_duplicate() {
    let house = House::open(&[]).await;
    house.die("m1", "u1").await;
    house.die("m2", "u2").await;
    let ran = house.run(&["dead-letters", "replay", "1", "2", "9"]).await;
    assert_eq!((ran.code, &*ran.out), (Some(1), "9: no such dead letter\nreplayed 2 dead letters\n"), "{}", ran.err);
    within(house.sandbox.until(|sandbox| sandbox.affiliates().len() == 2)).await;
    house.until_drained().await;
    assert_eq!(house.counts().await, (0, 0));
    let again = house.process().send(&identify("m1", "u1", &json!({"city": "Markertown"}))).await.expect("an answer");
    assert_eq!(again.brief(), "200 duplicate");
}

#[tokio::test]
async fn a_replay_on_the_store_is_mapped_anew_and_delivered_behind_what_waits_when_the_service_starts() {
    let mut house = House::open(&[]).await;
    house.die("m1", "u1").await;
    house.stop().await;
    house.sandbox.revoke_key();
    house.start(&[AT_ONCE]);
    house.send(&identify("m2", "u1", &json!({"city": "Oslo"}))).await;
    house.stop().await;
    let ran = house.run(&["dead-letters", "replay", "--all", "--json"]).await;
    assert_eq!((ran.code, &*ran.out), (Some(0), "{\"id\":1,\"outcome\":\"waits\"}\n"), "{}", ran.err);
    assert_eq!(ran.err, "replayed 1 dead letter\n");
    house.sandbox.restore_key();
    house.start(&[("MAPPING_CUSTOM_FIELDS", r#"{ city = "77" }"#)]);
    house.until_drained().await;
    let affiliate = &house.sandbox.affiliates()[0];
    assert_eq!(affiliate.field("city"), "Markertown", "the replayed one came last");
    assert_eq!(affiliate.custom_fields["77"], "Markertown", "by today's rules");
    assert_eq!(house.counts().await, (0, 0));
}

#[tokio::test]
async fn discarding_is_confirmed_or_refused() {
    let mut house = House::open(&[]).await;
    house.die("m1", "u1").await;
    house.die("m2", "u2").await;
    both(&mut house, async |house| {
        let ids = house.ids().await;
        let refused = house.run(&["dead-letters", "discard", "--all"]).await;
        assert_eq!((refused.code, &*refused.out), (Some(1), ""));
        let why = "discarding is for good, and there is no terminal to ask at: say --yes to go ahead";
        assert_eq!(refused.err, format!("refersion-destination: {why}\n"));
        assert_eq!(house.ids().await, ids, "nothing was discarded");
        let ran = house.run(&["dead-letters", "discard", "--yes", &ids[0], "9"]).await;
        assert_eq!((ran.code, &*ran.out), (Some(1), "9: no such dead letter\ndiscarded 1 dead letter\n"));
        assert_eq!(house.ids().await, ids[1..]);
    })
    .await;
    assert_eq!(house.run(&["dead-letters", "list"]).await.err, "no dead letters\n");
}

#[tokio::test]
async fn which_ones_must_be_said() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in
        [&["dlq", "replay"][..], &["dlq", "discard"], &["dlq", "show", "1", "--all"], &["dlq", "show", "x"]]
    {
        let ran = super::command(folder.path(), arguments, &[]).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_and_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = super::command(folder.path(), &["dlq", "list"], &[]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("there is no store at ") && ran.err.contains("STORE_URL"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
}

#[tokio::test]
async fn a_store_in_use_leads_to_the_ops_listener() {
    let house = House::open(&[]).await;
    house.die("m1", "u1").await;
    let address = house.process().ops.trim_start_matches("http://").to_owned();
    let ran = house.run_with(&["dlq", "list", "--json"], &[("OPS_LISTEN", &address)]).await;
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 1), "{}", ran.err);
    let wrong = house.run_with(&["dlq", "list"], &[("OPS_LISTEN", &address), ("REFERSION_API_KEY", "pub.other")]).await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("answered 401: Wrong API key"), "{}", wrong.err);
    let server = house.process().server.clone();
    let public = house.run_with(&["dlq", "list", "--ops", &server], &[]).await;
    assert!(public.err.contains("answered 404"), "{}", public.err);
}
