//! `map`: the calls an event would make, offline; exit code 1 if an event would be refused.

use super::run;
use insta::assert_snapshot;

const IDENTIFY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/published/identify.json");
const DELETE: &str = include_str!("../../data/published/delete.json");

#[tokio::test]
async fn map_shows_the_calls_of_the_events_in_a_file() {
    let ran = run(&["map", IDENTIFY], &[], "").await;
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert_snapshot!(ran.out, @r#"
    identify (test-message-txsmji)
      if the user is not an affiliate yet:
        POST /affiliate/new {"address1":"6th St","city":"San Francisco","country":"US","email":"peter@example.com","first_name":"Peter","last_name":"Gibbons","password":"<generated>","send_welcome":"FALSE","state":"CA","status":"PENDING","zip":"94103"}
      if the user is already an affiliate, for what has changed:
        POST /affiliate/edit {"affiliates":[{"address1":"6th St","city":"San Francisco","country":"US","email":"peter@example.com","first_name":"Peter","id":"<id>","last_name":"Gibbons","state":"CA","zip":"94103"}]}
    "#);
}

#[tokio::test]
async fn standard_input_is_read_if_no_file_is_given() {
    let environment = [("DELIVERY_ON_DELETE", "anonymize")];
    let ran = run(&["map"], &environment, DELETE).await;
    assert_eq!((ran.code, &ran.out), (Some(0), &run(&["map", "-"], &environment, DELETE).await.out));
    assert_snapshot!(ran.out, @r#"
    delete (delete-022bb90c-bbac-11e4-8dfc-aa07a5b093db)
      if the store has no affiliate of this user:
        POST /affiliate/search {"keyword":"peter@example.com","page":"1"}
        POST /affiliate/get {"affiliate_code":"<code>"}
        POST /affiliate/edit {"affiliates":[{"address1":"-","address2":"-","city":"-","company":"-","email":"deleted-<id>@example.com","first_name":"-","id":"<id>","last_name":"-","paypal_email":"deleted-<id>@example.com","phone":"-","zip":"-"}]}
        POST /affiliate/status_change {"ids":["<id>"],"status":"DISABLED"}
      if the store has the user's affiliate:
        POST /affiliate/edit {"affiliates":[{"address1":"-","address2":"-","city":"-","company":"-","email":"deleted-<id>@example.com","first_name":"-","id":"<id>","last_name":"-","paypal_email":"deleted-<id>@example.com","phone":"-","zip":"-"}]}
        POST /affiliate/status_change {"ids":["<id>"],"status":"DISABLED"}
    "#);
}

#[tokio::test]
async fn each_event_is_shown_and_one_refused_event_means_exit_code_1() {
    let events = r#"[{"type": "track", "messageId": "m1"},
        {"type": "identify", "messageId": "m2", "traits": {"name": "Ann"}},
        {"type": "identify", "traits": {"name": "Bo", "email": "bo@example.com", "country": "Narnia"}},
        {"type": "delete"}, 5]"#;
    let ran = run(&["map"], &[], events).await;
    assert_eq!(ran.code, Some(1));
    assert_snapshot!(ran.out, @r#"
    track (m1)
      refused: unsupported event type track: this destination supports identify and delete

    identify (m2)
      if the user is not an affiliate yet:
        refused: Missing email address: add an `email` trait to the identify call
      if the user is already an affiliate, for what has changed:
        POST /affiliate/edit {"affiliates":[{"first_name":"Ann","id":"<id>"}]}

    identify (without messageId)
      if the user is not an affiliate yet:
        POST /affiliate/new {"email":"bo@example.com","first_name":"Bo","last_name":"-","password":"<generated>","send_welcome":"FALSE","status":"PENDING"}
      if the user is already an affiliate, for what has changed:
        POST /affiliate/edit {"affiliates":[{"email":"bo@example.com","first_name":"Bo","id":"<id>"}]}
      note: country: not a country Refersion allows, so it was left out

    delete (without messageId)
      refused: Missing userId: a delete must say whom, by `userId` or `email`

    refused: Invalid event: an event must be a JSON object
    "#);
}

#[tokio::test]
async fn invalid_json_and_a_missing_file_are_reported() {
    let ran = run(&["map"], &[], "{").await;
    assert_eq!(
        (ran.code, &*ran.out),
        (Some(1), "refused: Invalid JSON: EOF while parsing an object at line 1 column 1\n")
    );
    let ran = run(&["map", "/no/such/file"], &[], "").await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.err, "refersion-destination: /no/such/file: No such file or directory (os error 2)\n");
}
