//! `connect`: sets up the webhook in one's own workspace, at a simulated Segment.

use super::{Ran, run};
use crate::support::process::binary;
use crate::support::terminal::run_at_a_terminal;
use refersion_destination::sandbox::Fault;
use refersion_destination::sandbox::segment::{SegmentCall, SegmentSandbox, SegmentSettings};
use serde_json::{Value, json};
use std::path::Path;

const URL: &str = "https://host.example/segment";
const TOKEN: &str = "public-api-token-sandbox";

struct Workspace {
    segment: SegmentSandbox,
    base_url: String,
}

impl Workspace {
    async fn start() -> Self {
        Self::with(SegmentSettings::default()).await
    }

    async fn with(settings: SegmentSettings) -> Self {
        let segment = SegmentSandbox::new(settings);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}/public", listener.local_addr().expect("bound"));
        tokio::spawn(segment.serve(listener));
        Self { segment, base_url }
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let environment = [("SEGMENT_PUBLIC_API_TOKEN", TOKEN), ("SEGMENT_PUBLIC_API_BASE_URL", &self.base_url)];
        let ran = run(&[&["connect"], arguments].concat(), &environment, "").await;
        assert!(!ran.out.contains(TOKEN) && !ran.err.contains(TOKEN), "the token is shown: {} {}", ran.out, ran.err);
        ran
    }

    /// Sets up the webhook on `sources`; the lines about them.
    async fn set_up(&self, sources: &[&str]) -> Vec<String> {
        let sources = sources.iter().flat_map(|source| ["--source", source]);
        let arguments: Vec<&str> = ["--url", URL].into_iter().chain(sources).collect();
        let ran = self.run(&arguments).await;
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out.lines().filter(|line| line.starts_with("source ")).map(str::to_owned).collect()
    }

    fn changes(&self) -> usize {
        self.segment.calls().iter().filter(|record| record.call == SegmentCall::PublicChange).count()
    }

    /// The source, whether it sends, and to where, of every destination.
    fn sends(&self) -> Vec<(String, bool, String)> {
        let destinations = self.segment.public_destinations();
        let one = |destination: &Value| {
            let subscription = &destination["subscriptions"][0];
            let on = destination["enabled"] == true && subscription["enabled"] == true;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&destination["sourceId"]), on, text(&subscription["settings"]["url"]))
        };
        destinations.iter().map(one).collect()
    }
}

#[tokio::test]
async fn a_source_sends_to_the_webhook_and_a_second_run_changes_nothing() {
    let workspace = Workspace::start().await;
    assert_eq!(workspace.set_up(&["website"]).await, ["source website: created"]);
    let made = workspace.segment.public_destinations();
    let [destination] = &made[..] else { panic!("{made:?}") };
    let secret = destination["settings"]["sharedSecret"].as_str().expect("a secret");
    assert!(secret.len() == 64 && destination["enabled"] == true, "{destination}");
    let subscription = &destination["subscriptions"][0];
    let expected = json!({"url": URL, "method": "POST", "batch_size": 0, "data": {"@path": "$."}});
    assert_eq!((&subscription["settings"], &subscription["enabled"]), (&expected, &json!(true)));
    assert_eq!(subscription["trigger"], "type = \"identify\" or type = \"delete\"");

    let changes = workspace.changes();
    assert_eq!(workspace.set_up(&["website"]).await, ["source website: unchanged"]);
    assert_eq!((workspace.changes(), workspace.segment.public_destinations()), (changes, made.clone()));
    let both = workspace.set_up(&["website", "backend"]).await;
    assert_eq!(both, ["source website: unchanged", "source backend: created"]);
    let now = workspace.segment.public_destinations();
    assert_eq!(now[1]["settings"], made[0]["settings"], "all sources sign with one secret");
}

#[tokio::test]
async fn settings_that_differ_are_changed_and_settings_of_others_are_kept() {
    let workspace = Workspace::start().await;
    workspace.set_up(&["website"]).await;
    let mut headers = json!({});
    workspace.segment.change_public(|destination, subscription| {
        destination["enabled"] = false.into();
        subscription["enabled"] = false.into();
        subscription["trigger"] = "type = \"track\"".into();
        subscription["settings"]["method"] = "PUT".into();
        subscription["settings"]["headers"] = json!({"X-Gateway": "1"});
        headers = subscription["settings"]["headers"].clone();
    });
    let lines = workspace.set_up(&["website"]).await;
    assert_eq!(lines, ["source website: changed: switched on, subscription switched on, trigger, method"]);
    assert_eq!(workspace.sends(), [("source-website".to_owned(), true, URL.to_owned())]);
    assert_eq!(workspace.segment.public_destinations()[0]["subscriptions"][0]["settings"]["headers"], headers);

    let moved = workspace.run(&["--url", "https://other.example/segment", "--source", "website"]).await;
    assert!(moved.out.contains("source website: changed: URL"), "found again by its name: {}", moved.out);
    workspace.segment.change_public(|destination, _| destination["name"] = "Ours".into());
    let renamed = workspace.run(&["--url", "https://other.example/segment", "--source", "website"]).await;
    assert!(renamed.out.contains("source website: unchanged"), "found again by its URL: {}", renamed.out);
}

/// The command was stopped between the destination and its subscription.
#[tokio::test]
async fn an_interrupted_setup_is_completed() {
    let workspace = Workspace::start().await;
    workspace.segment.script_for(SegmentCall::PublicChange, [Fault::Pass, Fault::status(500)]);
    let ran = workspace.run(&["--url", URL, "--source", "website"]).await;
    assert_eq!(ran.code, Some(1));
    let secret = ran.out.split("SEGMENT_SHARED_SECRETS=").nth(1).expect("reported before it failed").trim();
    assert_eq!(workspace.segment.public_destinations()[0]["settings"]["sharedSecret"], *secret);
    assert!(
        ran.err.contains("POST /destinations/id1/subscriptions: Segment answered with the status 500"),
        "{}",
        ran.err
    );
    assert_eq!(workspace.set_up(&["website"]).await, ["source website: changed: a subscription is added"]);
    assert_eq!(workspace.sends(), [("source-website".to_owned(), true, URL.to_owned())]);
}

#[tokio::test]
async fn a_dry_run_prints_the_calls_without_the_secret_and_changes_nothing() {
    let workspace = Workspace::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret").display().to_string();
    let ran = workspace.run(&["--url", URL, "--source", "website", "--dry-run", "--secret-file", &file]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for text in [
        r#"POST /destinations {"enabled":true"#,
        r#""settings":{"sharedSecret":"…"}"#,
        "POST /destinations/<new>/subscriptions {",
        "source website: would be created",
    ] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
    assert_eq!((workspace.changes(), Path::new(&file).exists()), (0, false));
}

#[tokio::test]
async fn a_secret_is_written_for_its_owner_alone_or_printed_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let workspace = Workspace::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    let path = file.display().to_string();
    let arguments = ["--url", URL, "--source", "website", "--secret-file", &path];
    let first = workspace.run(&arguments).await;
    let secret = std::fs::read_to_string(&file).expect("written");
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(first.out.contains(&format!("SEGMENT_SHARED_SECRETS_FILE={path}")) && !first.out.contains(&secret));
    let of_segment = |n: usize| workspace.segment.public_destinations()[n]["settings"]["sharedSecret"].clone();
    assert_eq!(of_segment(0), *secret);
    assert!(workspace.run(&arguments).await.out.contains("source website: unchanged"));
    std::fs::write(&file, "another-secret\n").expect("written");
    assert!(workspace.run(&arguments).await.out.contains("source website: changed: shared secret"));
    assert_eq!(of_segment(0), "another-secret");

    let workspace = Workspace::start().await;
    let reported = workspace.run(&["--url", URL, "--source", "website"]).await;
    let rest = reported.out.split("SEGMENT_SHARED_SECRETS=").nth(1).expect("reported");
    let reported = rest.lines().next().expect("a line").to_owned();
    assert_eq!(workspace.segment.public_destinations()[0]["settings"]["sharedSecret"], *reported);
    let again = workspace.run(&["--url", URL, "--source", "website"]).await;
    assert!(!again.out.contains(&reported), "{}", again.out);
}

#[tokio::test]
async fn lists_are_read_to_their_end_and_a_rate_limit_is_waited_for() {
    let sources: Vec<String> = (1..=7).map(|n| format!("s{n}")).collect();
    let workspace = Workspace::with(SegmentSettings { sources, page_size: 2, ..<_>::default() }).await;
    let limited = || Fault::too_many_calls(Some(0));
    workspace.segment.script_for(SegmentCall::PublicRead, [limited(), limited(), Fault::Pass, limited()]);
    workspace.segment.script_for(SegmentCall::PublicChange, [limited(), limited(), limited(), limited()]);
    assert_eq!(workspace.set_up(&["s7", "s1", "s6"]).await.len(), 3);
    assert_eq!(
        workspace.set_up(&["s7", "s1", "s6"]).await,
        ["s7", "s1", "s6"].map(|slug| format!("source {slug}: unchanged"))
    );
    workspace.segment.script_for(SegmentCall::PublicRead, (0..5).map(|_| limited()));
    let ran = workspace.run(&["--list"]).await;
    assert!(ran.err.contains("Segment limits the rate of calls"), "it gives up in the end: {}", ran.err);
}

#[tokio::test]
async fn destinations_are_listed_with_segments_own_figures_and_removed() {
    let workspace = Workspace::start().await;
    assert!(workspace.run(&["--list"]).await.out.contains("nothing is set up"));
    workspace.set_up(&["website", "backend"]).await;
    let listed = workspace.run(&["--list"]).await;
    for text in ["website", "backend", URL, "successes 41, failures 1"] {
        assert!(listed.out.contains(text), "{text}: {}", listed.out);
    }
    let removed = workspace.run(&["--remove", "--source", "website", "--source", "ios-app", "--dry-run"]).await;
    assert!(removed.out.contains("DELETE /destinations/id1\nsource website: would be removed"), "{}", removed.out);
    let removed = workspace.run(&["--remove", "--source", "website", "--source", "ios-app"]).await;
    assert!(removed.out.ends_with("source website: removed\nsource ios-app: nothing to remove\n"), "{}", removed.out);
    assert_eq!(workspace.sends(), [("source-backend".to_owned(), true, URL.to_owned())]);
}

/// A webhook that somebody else set up is none of ours.
#[tokio::test]
async fn another_webhook_on_the_source_is_left_alone() {
    let workspace = Workspace::start().await;
    workspace.set_up(&["website"]).await;
    workspace.segment.change_public(|destination, subscription| {
        destination["name"] = "Warehouse".into();
        subscription["name"] = "Warehouse".into();
        subscription["settings"]["url"] = "https://warehouse.example/".into();
    });
    let before = workspace.segment.public_destinations();
    assert_eq!(workspace.set_up(&["website"]).await, ["source website: created"]);
    assert_eq!(workspace.segment.public_destinations()[0], before[0]);
    let removed = workspace.run(&["--remove", "--source", "website"]).await;
    assert!(removed.out.contains("source website: removed"), "{}", removed.out);
    assert_eq!(workspace.segment.public_destinations(), before);
}

#[tokio::test]
async fn a_terminal_is_shown_the_sources_and_asked() {
    let workspace = Workspace::start().await;
    for (typed, code, expected) in [
        ("2, website\n", Some(0), "source backend: created\nsource website: created\n"),
        ("4\n", Some(1), "there is no source \"4\""),
        ("\n", Some(1), "no source was chosen"),
        ("\u{4}", Some(1), "no source was chosen"),
    ] {
        let mut command = binary();
        command.args(["connect", "--url", URL]).env("SEGMENT_PUBLIC_API_TOKEN", TOKEN);
        command.env("SEGMENT_PUBLIC_API_BASE_URL", &workspace.base_url);
        let ran = run_at_a_terminal(command, typed).await;
        assert_eq!(ran.code, code, "{typed:?}: {}", ran.seen);
        assert!(ran.seen.contains("   2  backend (The backend)"), "{}", ran.seen);
        assert!(ran.out.contains(expected) || ran.seen.contains(expected), "{typed:?}: {} {}", ran.out, ran.seen);
    }
    assert_eq!(workspace.sends().len(), 2);
}

#[tokio::test]
async fn connect_names_the_events_that_are_not_forwarded() {
    let workspace = Workspace::start().await;
    let ran = workspace.run(&["--url", URL, "--source", "website"]).await;
    assert!(
        ran.err.contains("no deletion of a user") && ran.err.contains("add the classic destination"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn every_error_names_a_remedy() {
    let workspace = Workspace::start().await;
    for (arguments, code, expected) in [
        (&[][..], 2, "--url <URL>"),
        (&["--url", "http://host.example/segment"], 2, "expected https"),
        (&["--url", "host"], 2, "relative URL without a base"),
        (&["--url", URL], 1, "name the sources with --source; there are website, backend, ios-app"),
        (&["--url", URL, "--source", "web"], 1, "there is no source \"web\"; there are website, backend, ios-app"),
        (&["--url", URL, "--source", "website", "--region", "mars"], 2, "[possible values: us, eu]"),
        (&["--list", "--remove"], 2, "cannot be used with"),
    ] {
        let ran = workspace.run(arguments).await;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
    assert_eq!(workspace.changes(), 0);
    let base = ("SEGMENT_PUBLIC_API_BASE_URL", &*workspace.base_url);
    for (environment, expected) in [
        (&[base][..], "SEGMENT_PUBLIC_API_TOKEN is not set"),
        (
            &[base, ("SEGMENT_PUBLIC_API_TOKEN", "wrong")],
            "is not a token of this region's Public API (The token is not valid)",
        ),
        (&[("SEGMENT_PUBLIC_API_BASE_URL", "http://h.example"), ("SEGMENT_PUBLIC_API_TOKEN", "t")], "expected https"),
        (&[("SEGMENT_PUBLIC_API_BASE_URL", "http://127.0.0.1:1"), ("SEGMENT_PUBLIC_API_TOKEN", "t")], "no connection"),
    ] {
        let ran = run(&["connect", "--list"], environment, "").await;
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}
