//! Wrong usage: the exit code is 2, and the message is about what the operator typed.

use super::run;

#[tokio::test]
async fn an_option_without_a_use_is_named_as_it_was_typed() {
    let blank = "expected a text that is not blank";
    let stream = "name a file; a stream does not do here";
    let http = "expected an http:// or https:// URL";
    for (arguments, option, why) in [
        (&["lookup", "--message-id", ""][..], "--message-id <ID>", blank),
        (&["lookup", "--code", " "], "--code <CODE>", blank),
        (&["lookup", "--user-id", ""], "--user-id <ID>", blank),
        (&["lookup", "--email", ""], "--email <ADDRESS>", "not an e-mail address"),
        (&["lookup", "--email", "a@b.io", "--account", ""], "--account <NAME>", blank),
        (&["forget", "--user-id", " "], "--user-id <ID>", blank),
        (&["learn", "--account", ""], "--account <NAME>", blank),
        (&["backup", "-"], "[FILE]", stream),
        (&["restore", "-"], "<FILE>", stream),
        (&["connect", "--secret-file", "-"], "--secret-file <FILE>", stream),
        (&["import", "--url", "localhost:8080/segment"], "--url <URL>", http),
        (&["import", "--url", "/segment"], "--url <URL>", http),
        (&["import", "--url", "https://"], "--url <URL>", http),
    ] {
        let ran = run(arguments, &[], "").await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(option) && ran.err.contains(why), "{arguments:?}: {}", ran.err);
    }
}
