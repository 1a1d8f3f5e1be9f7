//! `map` decides as the service does: by the size of an event, and by the rules of its account. Its exit code counts every event.

use super::map::{ANN, BOB, brief, file};
use super::run;
use crate::support::process::binary;
use crate::support::within;

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

/// `import` presents the key of the same account.
#[tokio::test]
async fn events_are_mapped_by_the_rules_of_the_account_that_is_named_or_else_of_the_first_one() {
    let sections = "[refersion]\nstatus = \"ACTIVE\"\n";
    let account = "[[accounts]]\nname = \"b\"\napi_key = \"pub_b.sec_b\"\noffer = \"77\"\n\
                   create_if = { trait = \"wants\", equals = \"true\" }\n";
    let (_sections, only_sections) = file("sections.toml", sections);
    let (_accounts, and_account) = file("accounts.toml", format!("{sections}{account}"));
    let (main, none) = (&[("REFERSION_API_KEY", "pub_main.sec_main")][..], &[][..]);
    let asking = ANN.replace(r#""name""#, r#""wants":true,"name""#);
    let events = format!("{ANN}\n{asking}\n");
    let (of_sections, of_b) = (Ok((2, false)), Ok((1, true)));
    for (config, key, options, expected) in [
        (&and_account, main, &[][..], of_sections),
        (&and_account, main, &["--account", "main"], of_sections),
        (&and_account, main, &["--account", "b"], of_b),
        (&and_account, main, &["--account", "c"], Err("c")),
        (&and_account, none, &[], of_b),
        (&and_account, none, &["--account", "b"], of_b),
        (&and_account, none, &["--account", "main"], Err("main")),
        (&only_sections, none, &[], of_sections),
        (&only_sections, none, &["--account", "main"], Err("main")),
    ] {
        let ran = run(&[&["map", "--config", config], options].concat(), key, &events).await;
        let counted = run(&[&["map", "--summary", "--config", config], options].concat(), key, &events).await;
        match expected {
            Ok((created, has_offer)) => {
                assert_eq!(ran.out.matches("/affiliate/new").count(), created, "{options:?}: {}{}", ran.out, ran.err);
                assert_eq!(ran.out.contains(r#""offer":"77""#), has_offer, "{options:?}: {}", ran.out);
                assert!(ran.out.contains(r#""status":"ACTIVE""#), "{options:?}: {}", ran.out);
                let counts = format!("        2  events\n        {created}  create");
                assert!(counted.out.starts_with(&counts), "{options:?}: {}", counted.out);
            }
            Err(name) => {
                let error = format!("refersion-destination: there is no configured account {name}\n");
                assert_eq!((ran.code, &ran.err), (Some(1), &error));
                assert_eq!((counted.code, &counted.err), (Some(1), &error));
            }
        }
    }
}

/// As with `map users.ndjson | head`.
#[tokio::test]
async fn the_exit_code_says_that_an_event_is_refused_although_nobody_reads_the_output_any_more() {
    for (last, code) in [("5", 1), (BOB, 0)] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (_folder, events) = file("users.ndjson", format!("{ANN}\n{BOB}\n{last}\n"));
        let mut child = binary().args(["map", &events]).stdout(writer).spawn().expect("starts");
        let ended = within(tokio::task::spawn_blocking(move || child.wait())).await.expect("waits");
        assert_eq!(ended.expect("ends").code(), Some(code), "{last}");
    }
}
