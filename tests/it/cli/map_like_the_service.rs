//! `map` decides as the service does: by the size of an event, and by the rules of its account.

use super::map::{ANN, BOB, brief, file};
use super::run;

#[tokio::test]
async fn an_event_that_the_service_refuses_for_its_size_is_refused() {
    let event = |length: usize| {
        let of = |padding: &str| ANN.replace(r#""name""#, &format!(r#""note":"{padding}","name""#));
        of(&"x".repeat(length - of("").len()))
    };
    let most = 128 * 1024;
    let lines = format!("{}\n{}\n{BOB}\n", event(most), event(most + 1));
    let ran = run(&["map", "--summary", "--fail"], &[], &lines).await;
    assert_eq!(ran.code, Some(1));
    let (head, refused) =
        ("        3  events\n        2  create", "1  the event is too large: at most 128 KiB (line 2)");
    assert!(ran.out.starts_with(head) && ran.out.contains(refused), "{}", ran.out);
    let ran = run(&["map"], &[], &lines).await;
    assert_eq!(brief(&ran.out)[1], "refused: the event is too large: at most 128 KiB - refused");
}

#[tokio::test]
async fn events_are_mapped_by_the_rules_of_the_account_that_is_named() {
    let accounts = "[refersion]\nstatus = \"ACTIVE\"\n[[accounts]]\nname = \"b\"\napi_key = \"pub_b.sec_b\"\noffer = \"77\"\n\
                    create_if = { trait = \"wants\", equals = \"true\" }\n";
    let (_folder, config) = file("accounts.toml", accounts);
    let asking = ANN.replace(r#""name""#, r#""wants":true,"name""#);
    let map = async |options: &[&str]| {
        run(&[&["map", "--config", &config], options].concat(), &[], &format!("{ANN}\n{asking}\n")).await
    };
    for of_sections in [&[][..], &["--account", "main"]] {
        let ran = map(of_sections).await;
        assert_eq!(ran.out.matches("/affiliate/new").count(), 2, "{}", ran.out);
        assert!(!ran.out.contains("\"offer\""), "{}", ran.out);
    }
    let ran = map(&["--account", "b"]).await;
    assert_eq!(ran.out.matches("/affiliate/new").count(), 1, "{}", ran.out);
    assert!(ran.out.contains(r#""offer":"77""#) && ran.out.contains(r#""status":"ACTIVE""#), "{}", ran.out);
    let ran = map(&["--account", "b", "--summary"]).await;
    assert!(ran.out.starts_with("        2  events\n        1  create"), "{}", ran.out);
    let ran = map(&["--account", "c"]).await;
    assert_eq!((ran.code, &*ran.err), (Some(1), "refersion-destination: there is no configured account c\n"));
}
