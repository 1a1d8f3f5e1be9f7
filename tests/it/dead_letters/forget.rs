//! `forget`: what is held of a user is erased, and it is said what that was.

use super::{AT_ONCE, House};
use crate::support::{identify, within};
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};

/// A service with an affiliate that it remembers, a dead letter of theirs, and two events that wait.
async fn house() -> House {
    let mut house = House::open(&[]).await;
    house.die("m1", "markeruser1").await;
    house.send(&identify("m2", "markeruser1", &Value::Null)).await;
    house.stop().await;
    house.sandbox.script((0..1_000).map(|_| Fault::status(500)));
    house.start(&[AT_ONCE, ("DELIVERY_RETRY_MIN", "1h"), ("DELIVERY_RETRY_MAX", "1h")]);
    let calls = house.sandbox.calls_total();
    house.send(&identify("m3", "markeruser1", &json!({"city": "Rome"}))).await;
    within(house.sandbox.until(|sandbox| sandbox.calls_total() > calls)).await;
    house.send(&identify("m4", "markeruser1", &json!({"city": "Oslo"}))).await;
    house
}

/// Runs `forget` until the event under way, if there still is one, has been put back.
async fn forget(house: &House, whom: [&str; 2]) -> Value {
    loop {
        let ran = house.run(&["forget", whom[0], whom[1], "--json"]).await;
        let told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
        if ran.code == Some(0) {
            return told;
        }
        assert!(ran.err.contains("left alone: run this again"), "{}", ran.err);
    }
}

#[tokio::test]
async fn beside_the_service_and_on_its_store_everything_held_of_a_user_is_erased() {
    for (stopped, whom) in [(false, ["--email", "MarkerUser1@example.com"]), (true, ["--user-id", "markeruser1"])] {
        let mut house = house().await;
        if stopped {
            house.stop().await;
            let told = forget(&house, whom).await;
            assert_eq!(told["events"], 2, "{told}");
            assert_eq!((&told["dead_letters"], &told["affiliates"], &told["links"]), (&1.into(), &1.into(), &2.into()));
        } else {
            forget(&house, whom).await;
            assert_eq!(house.counts().await, (0, 3));
        }
        let listed = house.run(&["dlq", "list", "--reveal"]).await.out;
        assert_eq!(listed.matches("(body erased)").count(), 3, "{listed}");
        assert!(!listed.to_lowercase().contains("marker"), "{listed}");
        let again = house.run(&["forget", whom[0], whom[1]]).await;
        assert_eq!((again.code, &*again.out), (Some(0), "nothing was held of this user\n"));
        let replayed = house.run(&["dlq", "replay", "1"]).await;
        let expected = "1: cannot be replayed: its body was erased\nreplayed 0 dead letters\n";
        assert_eq!((replayed.code, &*replayed.out), (Some(1), expected));
    }
}

#[tokio::test]
async fn what_was_erased_is_said_in_a_line() {
    let mut house = house().await;
    house.stop().await;
    let ran = house.run(&["forget", "--user-id", "markeruser1", "--email", "other@example.com"]).await;
    let expected = "erased: 2 waiting events, 1 dead letter, 2 links, 1 remembered affiliate\n";
    assert_eq!((ran.code, &*ran.out, &*ran.err), (Some(0), expected, ""));
    let elsewhere = house.run(&["forget", "--user-id", "markeruser1", "--account", "other"]).await;
    assert_eq!(elsewhere.out, "nothing was held of this user\n");
}

/// Beside the service and on its store alike, "the account" is the first one configured.
#[tokio::test]
async fn without_an_account_the_first_one_configured_is_meant() {
    let mut house = house().await;
    house.stop().await;
    let others = house.folder.path().join("others.toml");
    std::fs::write(&others, "[[accounts]]\nname = \"other\"\napi_key = \"pub_o.sec_o\"\n").expect("written");
    let forget = ["forget", "--user-id", "markeruser1", "--config", others.to_str().expect("text")];
    let of_other = house.run_with(&forget, &[("REFERSION_API_KEY", "")]).await;
    assert_eq!(of_other.out, "nothing was held of this user\n", "{}", of_other.err);
    let of_main = house.run(&forget).await;
    assert!(of_main.out.starts_with("erased: 2 waiting events"), "{}{}", of_main.out, of_main.err);
}

#[tokio::test]
async fn whom_must_be_said_and_be_somebody() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["forget"][..], &["forget", "--email", "nobody"], &["forget", "--user-id", " "]] {
        let ran = super::command(folder.path(), arguments, &[]).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
    }
}
