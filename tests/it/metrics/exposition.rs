//! The two text formats, and the series that exist.

use super::{promtool, scrape, series, value};
use crate::support::service::{Refersion, Service};
use crate::support::{Answer, http, identify};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn with_accept(service: &Service, accept: &str) -> Answer {
    Answer::to(http().get(format!("http://{}/metrics", service.addresses.ops)).header("Accept", accept)).await
}

#[tokio::test]
async fn the_format_is_the_one_that_the_client_asks_for() {
    let service = Service::start(&[]).await;
    for (accept, expected) in [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ] {
        let answer = with_accept(&service, accept).await;
        assert_eq!(
            (answer.status, answer.headers["content-type"].to_str().expect("text")),
            (200, expected),
            "{accept}"
        );
        assert_eq!(answer.text.ends_with("# EOF\n"), expected.starts_with("application"), "{accept}");
    }
}

/// The names that both formats show are the same, whatever their comments say.
#[tokio::test]
async fn both_formats_have_the_same_series() {
    let service = Service::start(&[]).await;
    let (plain, open) = (scrape(&service).await.text, with_accept(&service, "application/openmetrics-text").await.text);
    let process = |series: &&str| !series.starts_with("process_");
    let of = |text| series(text).into_iter().filter(process).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(of(&plain), of(&open));
}

/// A rate that begins with the first count needs the series before it.
#[tokio::test]
async fn every_series_exists_from_the_first_scrape() {
    let service = Service::start(&[("DELIVERY_RETRY_MIN", "1ms"), ("SERVER_WAIT", "30s")]).await;
    let before: BTreeSet<String> = series(&scrape(&service).await.text).into_iter().map(str::to_owned).collect();
    let send = async |event: Value| service.send(&event).await.brief();
    assert_eq!(send(identify("1", "u1", &json!({"country": "Nowhere"}))).await, "200 delivered");
    assert_eq!(send(identify("1", "u1", &json!({}))).await, "200 duplicate");
    assert_eq!(send(json!({"type": "track"})).await, "501 unsupported");
    assert_eq!(send(json!({"type": "identify", "userId": "u2"})).await, "400 rejected");
    assert_eq!(send(json!([5, {"type": "delete", "userId": "u1", "messageId": "2"}])).await, "202 accepted");
    service.until_drained().await;
    service.refersion.sandbox.revoke_api_key();
    assert_eq!(send(identify("3", "u3", &json!({}))).await, "401 unauthorized");
    service.refersion.sandbox.restore_api_key();
    service.until_drained().await;
    assert_eq!(Answer::to(http().post(service.url("/segment")).body("{}")).await.status, 401);
    let after = scrape(&service).await.text;
    let new: Vec<_> = series(&after).into_iter().filter(|series| !before.contains(*series)).collect();
    assert_eq!(new, [""; 0], "in\n{after}");
    assert!(value(&after, r#"events_received_total{account="main",type="delete",status="accepted"}"#) == Some(1.0));
}

/// Prometheus stores every series of every scrape, and an agency may have a thousand accounts.
#[tokio::test]
async fn a_thousand_accounts_have_no_more_series_than_the_limit_allows() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("accounts.toml");
    let account = |n| format!("[[accounts]]\nname = \"brand-{n}\"\napi_key = \"pub_{n}.sec_{n}\"\n");
    std::fs::write(&file, (0..1_000).map(account).collect::<String>()).expect("written");
    let service = Service::configured(Refersion::start().await, folder, &[], &[file]).await;
    let text = scrape(&service).await.text;
    let series = series(&text);
    let of = |account: &str| series.iter().filter(|series| series.contains(&format!("account=\"{account}\""))).count();
    let each = of("main");
    assert!((150..=200).contains(&each), "an account has {each} series");
    assert_eq!((of("brand-98"), of("brand-99"), of("(other)")), (each, 0, each));
    assert!(series.len() < 101 * each + 600 && text.len() < 2_000_000, "{} series, {} bytes", series.len(), text.len());
    assert_eq!(value(&text, r#"accounts_owned{account="(other)"}"#), Some(901.0));
}

#[tokio::test]
async fn promtool_finds_nothing_to_improve() {
    let service = Service::start(&[]).await;
    promtool(&["check", "metrics"], &scrape(&service).await.text);
}

#[tokio::test]
async fn the_process_and_the_build_are_shown() {
    let service = Service::start(&[]).await;
    let text = scrape(&service).await.text;
    let process =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("process_{name} "))?.parse().ok());
    for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds", "threads"] {
        assert!(process(name).is_some_and(|value: f64| value >= 0.0), "{name} in\n{text}");
    }
    let build = format!(r#"build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&text, &build), Some(1.0));
}
