//! `map`: the calls an event would make, offline; exit code 1 if an event would be refused.

use super::run;
use crate::support::process::binary;
use insta::assert_snapshot;
use std::fs::File;
use std::process::Stdio;

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

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error_and_a_reader_that_has_seen_enough_is_not() {
    let ran = |out: Stdio| binary().args(["map", IDENTIFY]).stdout(out).output().expect("ends");
    let full = ran(File::options().write(true).open("/dev/full").expect("a disk without room").into());
    let said = "refersion-destination: the output is incomplete: No space left on device (os error 28)\n";
    assert_eq!((full.status.code(), &*String::from_utf8_lossy(&full.stderr)), (Some(1), said));

    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let cut = ran(writer.into());
    assert_eq!((cut.status.code(), &*String::from_utf8_lossy(&cut.stderr)), (Some(0), ""));
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
      no call: events of type `track` say nothing of affiliates

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
      refused: Missing userId: a delete must name its user by `userId` or `email`

    refused: Invalid event: an event must be a JSON object
    "#);
}

#[tokio::test]
async fn an_event_of_another_type_is_no_refusal() {
    for arguments in [&["map"][..], &["map", "--summary", "--fail"]] {
        let ran = run(arguments, &[], r#"{"type": "track", "messageId": "m1"}"#).await;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.out, ran.err);
    }
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

/// Writes a file for `map` into a folder of its own.
pub(super) fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("written");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

/// The first line of each event that `map` prints, and what else it says of it in one word.
pub(super) fn brief(out: &str) -> Vec<String> {
    let events = out.split("\n\n").map(|event| {
        let refused = if event.contains("refused: ") { " refused" } else { "" };
        let email = event.split("\"email\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("-");
        format!("{} {email}{refused}", event.lines().next().unwrap_or_default())
    });
    events.collect()
}

pub(super) const ANN: &str = r#"{"type":"identify","messageId":"a","traits":{"name":"Ann","email":"ann@x.io"}}"#;
pub(super) const BOB: &str = r#"{"type":"identify","messageId":"b","traits":{"name":"Bob","email":"bob@x.io"}}"#;

#[tokio::test]
async fn a_file_may_be_an_event_an_array_a_batch_or_an_event_on_each_line() {
    let pretty = ANN.replace(',', ",\n  ");
    let both = ["identify (a) ann@x.io", "identify (b) bob@x.io"];
    for (name, content, expected) in [
        ("one.json", pretty.clone(), &both[..1]),
        ("array.json", format!("\u{feff}[ {pretty},\n{BOB} ]\n"), &both),
        ("batch.json", format!("{{\"batch\":\n[{ANN},\n{pretty}]}}"), &[both[0], both[0]]),
        ("lines.json", format!("{ANN}\n{BOB}\n"), &both),
        ("lines.json", format!("\u{feff}{ANN}\r\n\r\n  \n{BOB}"), &both),
        ("batches.jsonl", format!("{{\"batch\":[{ANN},{BOB}]}}\n[{BOB}]\n"), &[both[0], both[1], both[1]]),
        ("one_line.ndjson", ANN.to_owned(), &both[..1]),
    ] {
        let (_folder, path) = file(name, &content);
        let ran = run(&["map", &path], &[], "").await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{name}");
        assert_eq!(brief(&ran.out), expected, "{name}: {content}");
        let piped = run(&["map"], &[], &content).await;
        assert_eq!(piped.out, ran.out, "{name}, by its content alone");
    }
}

#[tokio::test]
async fn a_line_that_cannot_be_read_spoils_only_itself() {
    let not_utf8 = [&b"{\"type\":\"identify\",\"userId\":\""[..], b"\xff\"}\n"].concat();
    let long = format!("{{\"type\":\"{}\"}}\n", "x".repeat(9 * 1024 * 1024));
    let content = [b"{\"type\": \n", &not_utf8[..], long.as_bytes(), b"5\n", BOB.as_bytes()].concat();
    let (_folder, path) = file("bad.ndjson", content);
    let ran = run(&["map", &path], &[], "").await;
    assert_eq!(ran.code, Some(1));
    assert_snapshot!(ran.out.split("identify").next().unwrap_or_default(), @r"
    refused: Invalid JSON: EOF while parsing a value at line 2 column 0

    refused: Invalid JSON: the body is not UTF-8 text

    refused: the line is longer than 8 MiB

    refused: Invalid event: an event must be a JSON object
    ");
    assert_eq!(brief(&ran.out).last().map(String::as_str), Some("identify (b) bob@x.io"));
    let (_folder, path) = file("cut.json", format!("[{ANN}, {BOB}, {{\"type\""));
    let ran = run(&["map", &path], &[], "").await;
    assert_eq!(brief(&ran.out)[..2], ["identify (a) ann@x.io", "identify (b) bob@x.io"]);
    assert!(
        ran.out.ends_with("refused: Invalid JSON: EOF while parsing an object at line 1 column 168\n"),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn each_row_of_a_table_is_an_identify_whose_traits_are_the_columns() {
    let table = |separator: &str| {
        let rows = [
            &["\u{feff}User ID", "Message ID", "name", "traits.email", "address.street", "address.zip", "plan", "vip"]
                [..],
            &["{3F2504E0-4F89}", "c1", "\"Gibbons,; Peter\"", "peter@x.io", "\"6th St\r\nRear\"", "02134", "", "TRUE"],
            &[],
            &["u2", "c1", "Ann", "ann@x.io"],
        ];
        rows.map(|cells| cells.join(separator)).join("\r\n")
    };
    let audiences = ("MAPPING_AUDIENCES", r#"[{ trait = "vip", on_true = { offer = "99" } }]"#);
    for (name, table) in [
        ("users.csv", table(",")),
        ("users.CSV", table(";")),
        ("users.tsv", table("\t")),
        ("users", table(",")),
        ("users.txt", table("\t")),
    ] {
        let (_folder, path) = file(name, &table);
        let ran = run(&["map", &path], &[audiences], "").await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{name}: {}", ran.out);
        insta::allow_duplicates!(assert_snapshot!(ran.out, @r#"
        identify (without messageId)
          if the user is not an affiliate yet:
            POST /affiliate/new {"address1":"6th St","address2":"Rear","email":"peter@x.io","first_name":"Gibbons,;","last_name":"Peter","offer":"99","password":"<generated>","send_welcome":"FALSE","status":"PENDING","zip":"02134"}
          if the user is already an affiliate, for what has changed:
            POST /affiliate/edit {"affiliates":[{"address1":"6th St","address2":"Rear","email":"peter@x.io","first_name":"Gibbons,;","id":"<id>","last_name":"Peter","offer":99,"zip":"02134"}]}

        identify (without messageId)
          if the user is not an affiliate yet:
            POST /affiliate/new {"email":"ann@x.io","first_name":"Ann","last_name":"-","password":"<generated>","send_welcome":"FALSE","status":"PENDING","unique_merchant_id":"u2"}
          if the user is already an affiliate, for what has changed:
            POST /affiliate/edit {"affiliates":[{"email":"ann@x.io","first_name":"Ann","id":"<id>"}]}
        "#));
    }
}

#[tokio::test]
async fn a_line_of_a_log_before_the_events_does_not_make_the_file_a_table() {
    for line in [
        "2026-11-29 08:00:00,123 INFO exporting\n",
        "2026-11-29 08:00:00 INFO exporting; 2 events\r\n\r\n",
        "exporting\n",
        "2026-11-29 08:00:00,123 INFO {\"events\": 2}\nthe events:\n",
    ] {
        let ran = run(&["map", "--summary"], &[], &format!("{line}{ANN}\n{BOB}\n")).await;
        let (events, refused) = if line.contains("the events") { (4, 2) } else { (3, 1) };
        let counts =
            format!("        {events}  events\n        2  create an affiliate, or update the one that exists\n");
        assert!(ran.out.starts_with(&counts), "{line}{}", ran.out);
        assert!(ran.out.contains(&format!("        {refused}  are refused\n")), "{line}{}", ran.out);
    }
}

#[tokio::test]
async fn a_table_says_its_columns_in_the_first_line() {
    for (table, why) in [
        ("email,,name\n", "column 2 of the first line has no name, or an empty part in it"),
        ("email,address..city\n", "column 2 of the first line has no name, or an empty part in it"),
        ("email,address,address.city\n", r#"the columns "address.city" and "address" exclude each other"#),
        ("address.city,email,address\n", r#"the columns "address" and "address.city" exclude each other"#),
        ("email,email\n", r#"the columns "email" and "email" exclude each other"#),
        ("email,traits.email\n", r#"the columns "traits.email" and "email" exclude each other"#),
        ("userId,user_id\n", r#"the columns "user_id" and "userId" exclude each other"#),
    ] {
        let (_folder, path) = file("users.csv", table);
        let ran = run(&["map", &path], &[], "").await;
        assert_eq!((ran.code, &*ran.out), (Some(1), ""), "{table}");
        assert_eq!(ran.err, format!("refersion-destination: {path}: {why}\n"));
    }
    let rows =
        "type,user_id,messageId,timestamp,email,name\ndelete,u1,m1,2026-01-31T08:00:00Z,,\n,,,,ann@x.io,Ann,more\n";
    let ran = run(&["map", "--format", "csv"], &[], rows).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.starts_with("delete (m1)\n"), "{}", ran.out);
    assert!(
        ran.out.ends_with("refused: Invalid row: it has more cells than the first line has columns\n"),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn a_summary_counts_results_reasons_and_notes_and_says_where() {
    let city = |name: &str, city: &str| {
        format!(r#"{{"type":"identify","traits":{{"email":"{name}@x.io","name":"{name}","country":"{city}"}}}}"#)
    };
    let mut lines: Vec<String> =
        (0..1_200).map(|n| city(&format!("u{n}"), if n % 3 == 0 { "Narnia" } else { "France" })).collect();
    lines.extend(
        [
            r#"{"type":"identify","userId":"u1","traits":{"city":"Oslo"}}"#,
            r#"{"type":"identify","userId":"u1","traits":{"email":"a@x.io"}}"#,
            r#"{"type":"identify","traits":{"name":"Ann"}}"#,
            r#"{"type":"identify","traits":{"name":"Ann","email":"none"}}"#,
            r#"{"type":"delete","userId":"u1"}"#,
            r#"{"type":"track","userId":"u1"}"#,
            r#"{"type":"page","userId":"u1"}"#,
            r#"{"type":"track","userId":"u2"}"#,
            "{",
            "",
            "[",
        ]
        .map(str::to_owned),
    );
    let (_folder, path) = file("events.ndjson", lines.join("\n"));
    let ran = run(&["map", "--summary", &path], &[], "").await;
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert_snapshot!(ran.out, @r"
        1,210  events
        1,200  create an affiliate, or update the one that exists
            2  update an affiliate that exists, and are refused if there is none
                 1  Missing email address: add an `email` trait to the identify call (line 1201)
                 1  Missing name: add a `name` trait, or `firstName` and `lastName`, to the identify call (line 1202)
            0  update an affiliate that exists, and are ignored if there is none
            1  disable an affiliate that exists
            3  are ignored
                 2  events of type `track` say nothing of affiliates (lines 1206, 1208)
                 1  events of type `page` say nothing of affiliates (line 1207)
            4  are refused
                 1  Invalid JSON: EOF while parsing a list (line 1211)
                 1  Invalid JSON: EOF while parsing an object (line 1209)
                 1  Invalid email address: the `traits.email` of this event is not an e-mail address (line 1204)
                 1  Missing email address: add an `email` trait to the identify call (line 1203)
    notes
               400  country: not a country Refersion allows, so it was left out (lines 1, 4, 7, …)
    ");
    let ran = run(&["map", "--summary", "--fail", &path], &[], "").await;
    assert_eq!(ran.code, Some(1));
    let good = run(&["map", "--summary", "--fail"], &[], &format!("[{ANN},\n\n{BOB}]")).await;
    assert_eq!(good.code, Some(0));
    assert!(good.out.starts_with("        2  events\n        2  create an affiliate"), "{}", good.out);
    let alone = run(&["map", "--fail", &path], &[], "").await;
    assert_eq!(alone.code, Some(2));
}

/// The line is that on which the event begins.
#[tokio::test]
async fn a_summary_names_lines_in_every_format() {
    let refused = r#"{"type":"identify"}"#;
    for (name, content, lines) in [
        ("a.json", format!("[\n{ANN},\n\n  {},\n {refused}]", refused.replace(',', ",\n")), "lines 4, 5"),
        ("b.json", format!("{{\"batch\":[{ANN},\n{refused},\n\n{refused}]}}"), "lines 2, 4"),
        ("c.ndjson", format!("{ANN}\n\n{refused}\n[{refused}]"), "lines 3, 4"),
        ("d.csv", "email,name,type\nann@x.io,\"A\n\nnn\",\n,Bob,\n,,\n".to_owned(), "lines 5, 6"),
        ("e.csv", "email,name,type\r\nann@x.io,\"A\r\n\r\nnn\",\r\n,Bob,\r\n,,\r\n".to_owned(), "lines 5, 6"),
    ] {
        let (_folder, path) = file(name, &content);
        let ran = run(&["map", "--summary", &path], &[], "").await;
        assert!(ran.out.contains(&format!("({lines})")), "{name}: {}", ran.out);
    }
}

/// The parser takes the end of the file for the end of the cell: what follows the quote would be a value, and its users would be missing.
#[tokio::test]
async fn a_quote_that_is_never_closed_refuses_its_row_and_no_other() {
    let head = "userId,email,name,note\nu1,ann@x.io,Ann Lee,\"a \"\"b\"\", c\nd\"\n";
    let never = "Invalid row: a quote is opened in it and never closed, so all further lines are a part of it (line 4)";
    for (rest, refused) in [
        ("u2,bob@x.io,Bob,\"oops\nu3,cy@x.io,Cy,\n", true),
        ("u2,bob@x.io,Bob,\"oops", true),
        ("u2,bob@x.io,Bob,\"oops\"\"", true),
        ("u2,bob@x.io,Bob,\"\n", true),
        ("u2,bob@x.io,Bob,5\" wide\n", false),
        ("u2,bob@x.io,Bob,\"5\" wide\n", false),
        ("u2,bob@x.io,Bob,\"\"", false),
        ("u2,bob@x.io,Bob,\"x\"\r\n", false),
    ] {
        let (_folder, path) = file("users.csv", format!("{head}{rest}"));
        let ran = run(&["map", "--summary", &path], &[], "").await;
        assert!(ran.out.starts_with("        2  events\n"), "{rest:?}: {}", ran.out);
        assert_eq!(ran.out.contains(never), refused, "{rest:?}: {}", ran.out);
    }
}

#[tokio::test]
async fn map_shows_the_traits_that_would_be_remembered_of_a_user_who_is_no_affiliate_yet() {
    let settings =
        [("MAPPING_REMEMBER_TRAITS", "30d"), ("MAPPING_CREATE_IF", r#"{ trait = "wants", equals = "true" }"#)];
    let event = r#"{"type": "identify", "messageId": "m1", "userId": "u1", "traits": {"email": "ann@example.com", "phone": "1"}}"#;
    let ran = run(&["map"], &settings, event).await;
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert_snapshot!(ran.out, @r#"
    identify (m1)
      if the user is not an affiliate yet:
        no call: remembered (email, phone); unless earlier events said it, still missing: `wants` and a name
      if the user is already an affiliate, for what has changed:
        POST /affiliate/edit {"affiliates":[{"email":"ann@example.com","id":"<id>","phone":"1"}]}
    "#);
}
