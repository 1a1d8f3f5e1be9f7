//! `check` and `healthcheck`: they report every problem, and never print a secret.

use super::{Ran, run};
use crate::support::API_KEY;
use crate::support::service::{Refersion, Service};
use insta::assert_snapshot;
use refersion_destination::sandbox::Fault;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use tempfile::TempDir;

/// Runs `check` with a store in `folder`. In what it prints, the room on the disk and the folder are replaced.
async fn check(folder: &TempDir, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let store = format!("sqlite://{}/data/store.db", folder.path().display());
    let ran = run(&[&["check"], arguments].concat(), &[&[("STORE_URL", &*store)], environment].concat(), "").await;
    let shown = |text: &str| {
        let text = text.replace(&folder.path().display().to_string(), "FOLDER");
        match text.split_once(" MB are free") {
            Some((before, after)) => {
                let before = before.trim_end_matches(|digit: char| digit.is_ascii_digit());
                format!("{before}N MB are free{after}")
            }
            None => text,
        }
    };
    Ran { code: ran.code, out: shown(&ran.out), err: shown(&ran.err) }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

const NO_STORE: &str = "\
configuration: no problem
store: there is none at FOLDER/data/store.db yet, and one can be made there
disk: N MB are free where the store is
";

#[tokio::test]
async fn every_problem_of_the_configuration_is_printed_at_once() {
    let environment =
        [("REFERSION_API_KEY", "nodot-marker"), ("REFERSION_TIMEOUT", "10"), ("DELIVERY_RETRY_MEN", "1s")];
    let ran = run(&["check"], &environment, "").await;
    assert_eq!((ran.code, &*ran.out), (Some(64), ""));
    assert_snapshot!(ran.err, @r#"
    the configuration has 3 problems:
      DELIVERY_RETRY_MEN (environment): unknown setting; did you mean DELIVERY_RETRY_MIN?
      REFERSION_API_KEY (environment): found a text without `.`; expected `publickey.secretkey`, Refersion's two keys joined by a dot
      REFERSION_TIMEOUT (environment): found "10", expected a duration with a unit, such as "10s" or "5m"
    "#);
}

#[tokio::test]
async fn a_key_is_verified_by_one_call_and_its_secret_is_never_printed() {
    let refersion = Refersion::start().await;
    let base = ("REFERSION_BASE_URL", refersion.base_url.as_str());
    let folder = folder();
    let accepted = check(&folder, &[base, ("REFERSION_API_KEY", API_KEY)], &[]).await;
    assert_eq!((accepted.code, &*accepted.err), (Some(0), ""));
    let out = accepted.out.replace(&refersion.base_url, "BASE");
    let account = "account main: BASE/ accepts the API key pub_test.…\nclock: agrees with Refersion's\n";
    assert_eq!(out, format!("{NO_STORE}{account}"));
    assert_eq!(refersion.operations(), ["list"]);
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0, "nothing is left behind");

    let refused = check(&folder, &[base, ("REFERSION_API_KEY", "pub_test.marker")], &[]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("rejects the API key pub_test.…; compare it"), "{}", refused.err);
    assert!(!format!("{}{}", refused.out, refused.err).contains("marker"), "{}", refused.err);

    refersion.sandbox.script([Fault::html(200)]);
    let page = check(&folder, &[base, ("REFERSION_API_KEY", API_KEY)], &[]).await;
    assert_eq!(page.code, Some(1));
    assert!(page.err.ends_with("Refersion answered 200 to list without the expected fields\n"), "{}", page.err);
}

#[tokio::test]
async fn a_key_is_not_verified_while_refersion_is_unreachable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let base = format!("http://{closed}/v2");
    let settings = [("REFERSION_BASE_URL", &*base), ("REFERSION_API_KEY", "pub_test.marker")];
    let ran = check(&folder(), &settings, &[]).await;
    assert_eq!(ran.code, Some(1));
    let expected = format!(
        "account main: cannot verify the API key pub_test.… with {base}/: \
         no connection to Refersion: Connection refused (os error 111)\n"
    );
    assert_eq!(ran.err, expected);
}

/// Without the header, Refersion or a proxy may send an encoding that is not decoded here.
#[tokio::test]
async fn a_call_to_refersion_asks_for_an_answer_without_encoding() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}/v2", listener.local_addr().expect("bound"));
    let head = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a call");
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>()
    });
    check(&folder(), &[("REFERSION_BASE_URL", &base), ("REFERSION_API_KEY", API_KEY)], &[]).await;
    let head = head.join().expect("read");
    assert!(head.iter().any(|line| line.eq_ignore_ascii_case("accept-encoding: identity")), "{head:?}");
}

#[tokio::test]
async fn healthcheck_reports_whether_the_service_is_healthy() {
    let service = Service::start(&[]).await;
    let ops = service.addresses.ops.to_string();
    let healthy = run(&["healthcheck"], &[("OPS_LISTEN", &ops)], "").await;
    assert_eq!((healthy.code, &*healthy.out), (Some(0), "healthy\n"));
    let ready = run(&["healthcheck", &format!("http://{ops}/readyz")], &[], "").await;
    assert_eq!(ready.code, Some(0));
    let wrong = run(&["healthcheck", &format!("http://{ops}/nowhere")], &[], "").await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.ends_with("/nowhere answered 404\n"), "{}", wrong.err);
    service.stop().await;
    let stopped = run(&["healthcheck"], &[("OPS_LISTEN", &ops)], "").await;
    assert_eq!(stopped.code, Some(1));
    assert!(stopped.err.contains("Connection refused"), "{}", stopped.err);
}

/// The health check of an image is one command for every configuration. A mistake in a file, made since the service started, says
/// nothing about the running service.
#[tokio::test]
async fn healthcheck_asks_where_the_configuration_files_say() {
    let service = Service::start(&[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    let ops = format!("[ops]\nlisten = \"{}\"\n", service.addresses.ops);
    let write = |text: &str| std::fs::write(&file, text).expect("writes");
    write(&ops);
    let named = ("CONFIG_FILES", file.to_str().expect("UTF-8"));
    let healthy = run(&["healthcheck"], &[named], "").await;
    assert_eq!((healthy.code, &*healthy.out, &*healthy.err), (Some(0), "healthy\n", ""));
    write(&format!("{ops}[refersion]\ntimeout = \"soon\"\ntmeout = \"1s\"\n"));
    let healthy = run(&["healthcheck"], &[named], "").await;
    assert_eq!((healthy.code, &*healthy.out, &*healthy.err), (Some(0), "healthy\n", ""));
    service.stop().await;
    let stopped = run(&["healthcheck"], &[named], "").await;
    assert_eq!(stopped.code, Some(1));
    assert!(stopped.err.contains("Connection refused") && stopped.err.contains("unknown setting"), "{}", stopped.err);
    write("[ops]\nlisten = \"9090\"\n");
    let wrong = run(&["healthcheck"], &[named], "").await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("ops.listen") && wrong.err.contains("OPS_LISTEN is not valid"), "{}", wrong.err);
}

/// An image that holds nothing but this program has no certificates.
#[tokio::test]
async fn certificates_are_needed_for_https_alone_and_their_absence_is_said() {
    let refersion = Refersion::start().await;
    let none = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nonexistent"), ("REFERSION_API_KEY", API_KEY)];
    let plain = [none.as_slice(), &[("REFERSION_BASE_URL", refersion.base_url.as_str())]].concat();
    assert_eq!(run(&["check"], &plain, "").await.code, Some(0));
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite://{}/store.db", folder.path().display());
    let tls = [none.as_slice(), &[("REFERSION_BASE_URL", "https://127.0.0.1:1"), ("STORE_URL", &*store)]].concat();
    for command in ["check", "serve"] {
        let ran = run(&[command], &tls, "").await;
        assert_eq!(ran.code, Some(1), "{command}");
        assert!(ran.err.contains("No CA certificates were loaded"), "{command}: {}", ran.err);
        assert!(
            ran.err.contains("install the package ca-certificates, or set SSL_CERT_FILE"),
            "{command}: {}",
            ran.err
        );
    }
}

/// The endpoint answers once, with a redirect to itself: a client that followed it would find no listener.
#[tokio::test]
async fn healthcheck_uses_no_proxy_and_follows_no_redirect() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/healthz", listener.local_addr().expect("bound"));
    let response = format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        std::io::Read::read(&mut stream, &mut [0; 1024]).expect("a request");
        std::io::Write::write_all(&mut stream, response.as_bytes()).expect("answered");
    });
    let ran = run(&["healthcheck", &url], &[("http_proxy", "http://127.0.0.1:1"), ("NO_PROXY", "")], "").await;
    assert_eq!((ran.code, &*ran.err), (Some(1), &*format!("refersion-destination: {url} answered 302\n")));
    server.join().expect("served");
}

#[tokio::test]
async fn the_key_of_every_account_is_verified_and_reported() {
    let refersion = Refersion::start().await;
    let (folder, files) = (folder(), tempfile::tempdir().expect("a folder"));
    let file = files.path().join("accounts.toml");
    let account = |name: &str, key: &str| format!("[[accounts]]\nname = \"{name}\"\napi_key = \"{key}\"\n");
    let text = account("wrong", "pub_w.marker") + &account("unsaid", "pub_u.marker");
    std::fs::write(&file, text).expect("writes");
    let environment = [("REFERSION_BASE_URL", refersion.base_url.as_str()), ("REFERSION_API_KEY", API_KEY)];
    let file = file.to_str().expect("UTF-8");
    let ran = check(&folder, &environment, &["--config", file]).await;
    assert_eq!(ran.code, Some(1), "one rejected key is enough");
    let out = ran.out.replace(&refersion.base_url, "BASE");
    let account = "account main: BASE/ accepts the API key pub_test.…\nclock: agrees with Refersion's\n";
    assert_eq!(out, format!("{NO_STORE}{account}"));
    let reported: Vec<_> =
        ran.err.lines().filter_map(|line| line.split_once("; compare")).map(|(line, _)| line).collect();
    let rejects =
        |name: &str, public: &str| format!("account {name}: {}/ rejects the API key {public}.…", refersion.base_url);
    assert_eq!(reported, [rejects("wrong", "pub_w"), rejects("unsaid", "pub_u")]);
    assert!(!format!("{}{}", ran.out, ran.err).contains("marker"), "{}", ran.err);
    assert_eq!(refersion.operations(), ["list"; 3], "one cheap call each");
    let trial = run(&["serve", "--sandbox", "--config", file], &[], "").await;
    assert_eq!(trial.code, Some(64));
    assert!(trial.err.contains("expected none with --sandbox"), "{}", trial.err);
}

/// A Refersion that accepts every key, and whose clock is `ahead` seconds ahead.
fn refersion_with_another_clock(ahead: u64) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + std::time::Duration::from_secs(ahead));
    let body = r#"{"results":[]}"#;
    let length = body.len();
    let response = format!(
        "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        std::io::Read::read(&mut stream, &mut [0; 4096]).expect("a request");
        std::io::Write::write_all(&mut stream, response.as_bytes()).expect("answered");
    });
    base_url
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_reported() {
    let base_url = refersion_with_another_clock(7_205);
    let settings = [("REFERSION_BASE_URL", &*base_url), ("REFERSION_API_KEY", API_KEY)];
    let ran = check(&folder(), &settings, &[]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.starts_with("clock: 2h"), "{}", ran.err);
    assert!(ran.err.contains(" behind Refersion's: ") && ran.err.contains("synchronise it (NTP)"), "{}", ran.err);
}

#[tokio::test]
async fn each_finding_is_a_json_object_on_its_line_if_asked_for() {
    let refersion = Refersion::start().await;
    let settings = [("REFERSION_BASE_URL", &*refersion.base_url), ("REFERSION_API_KEY", "pub_test.marker")];
    let ran = check(&folder(), &settings, &["--json"]).await;
    assert_eq!((ran.code, &*ran.err), (Some(1), ""));
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of =
        |line: &Value| (line["check"].as_str().expect("a name").to_owned(), line["ok"].as_bool().expect("a truth"));
    let found: Vec<(String, bool)> = lines.iter().map(of).collect();
    let expected = [("configuration", true), ("store", true), ("disk", true), ("account", false), ("clock", true)];
    assert_eq!(found, expected.map(|(check, ok)| (check.to_owned(), ok)));
    assert_eq!(lines[3]["account"], "main");
    assert!(
        lines.iter().all(|line| line["message"].as_str().is_some_and(|message| !message.is_empty())),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn a_store_that_exists_is_opened_and_one_in_use_is_left_alone() {
    let service = Service::start(&[]).await;
    let base = ("REFERSION_BASE_URL", service.refersion.base_url.clone());
    let store = format!("sqlite://{}/store.db", service.folder.path().display());
    let settings = [(base.0, &*base.1), ("REFERSION_API_KEY", API_KEY), ("STORE_URL", &*store)];
    let in_use = run(&["check"], &settings, "").await;
    assert_eq!(in_use.code, Some(0), "{}", in_use.err);
    assert!(in_use.out.contains("store.db is in use by a running service, so it is not opened"), "{}", in_use.out);
    assert!(in_use.out.contains(" MB are free where the store is"), "the room matters most then: {}", in_use.out);
    let (_refersion, folder) = service.stop().await;
    let stopped = run(&["check"], &settings, "").await;
    assert_eq!(stopped.code, Some(0), "{}", stopped.err);
    assert!(stopped.out.contains("store.db opens; 0 pending events, 0 dead letters"), "{}", stopped.out);

    let connection = rusqlite::Connection::open(folder.path().join("store.db")).expect("opens");
    for (version, code, words) in
        [(99, 1, "made by a newer release"), (6, 0, "of an earlier release; the first start migrates it")]
    {
        connection.pragma_update(None, "user_version", version).expect("written");
        let ran = run(&["check"], &settings, "").await;
        assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(words) || ran.err.contains(words), "{version}: {}{}", ran.out, ran.err);
        let left: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("read");
        assert_eq!(left, version, "nothing was migrated");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_store_in_use_is_left_alone_under_any_name_of_the_file() {
    let service = Service::start(&[]).await;
    let store = service.folder.path().join("store.db");
    let links = tempfile::tempdir_in(service.folder.path()).expect("a folder");
    let [symbolic, hard] = ["symbolic.db", "hard.db"].map(|name| links.path().join(name));
    std::os::unix::fs::symlink(&store, &symbolic).expect("linked");
    std::fs::hard_link(&store, &hard).expect("linked");
    for name in [symbolic, hard] {
        let url = format!("sqlite://{}", name.display());
        let base_url = service.refersion.base_url.as_str();
        let settings = [("REFERSION_BASE_URL", base_url), ("REFERSION_API_KEY", API_KEY), ("STORE_URL", &*url)];
        let ran = run(&["check"], &settings, "").await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""));
        let expected = format!("{} is in use by a running service, so it is not opened", name.display());
        assert!(ran.out.contains(&expected), "{}", ran.out);
        for suffix in ["-wal", "-shm"] {
            assert!(!std::path::Path::new(&format!("{}{suffix}", name.display())).exists(), "SQLite did not open it");
        }
    }
    service.stop().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_made_is_reported() {
    let (refersion, folder) = (Refersion::start().await, folder());
    std::fs::write(folder.path().join("data"), "a file, not a folder").expect("written");
    let settings = [("REFERSION_BASE_URL", &*refersion.base_url), ("REFERSION_API_KEY", API_KEY)];
    let ran = check(&folder, &settings, &[]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.starts_with("store: cannot make FOLDER/data"), "{}", ran.err);
}

#[tokio::test]
async fn kept_api_keys_that_no_seal_key_opens_are_reported() {
    use refersion_destination::domain::{AccountName, ApiKey, SealKey};
    use refersion_destination::store::{ApiKeyVault as _, Maintenance as _, SqliteStore, StoreLimits};
    let (refersion, folder) = (Refersion::start().await, folder());
    let store = SqliteStore::open(&folder.path().join("data/store.db"), StoreLimits::default()).expect("made");
    let account = AccountName::from("key-0123456789abcdef".to_owned());
    let sealed = SealKey::new([1; 32]).seal(&account, &ApiKey::parse("pub_kept.sec_kept").expect("a key"), &[2; 24]);
    store.keep_api_keys(vec![sealed]).await.expect("kept");
    store.close().await;
    drop(store);
    for (byte, code, words) in
        [("01", 0, "1 of 1 are opened by STORE_SEAL_KEY\n"), ("02", 1, "0 of 1 are opened by STORE_SEAL_KEY: ")]
    {
        let seal_key = byte.repeat(32);
        let settings = [
            ("REFERSION_BASE_URL", &*refersion.base_url),
            ("REFERSION_API_KEY", API_KEY),
            ("STORE_SEAL_KEY", &*seal_key),
        ];
        let ran = check(&folder, &settings, &[]).await;
        assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
        let shown = if code == 0 { &ran.out } else { &ran.err };
        assert!(shown.contains(&format!("stored API keys: {words}")), "{}{}", ran.out, ran.err);
    }
}
