//! The shipped files for Grafana, Prometheus and systemd fit the service: every query asks for series that exist, every alert has a
//! runbook, every metric is in the operator's guide.

use super::{promtool, scrape, series};
use crate::support::service::Service;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// By the name of a series, the values of each of its labels.
type KnownSeries = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect("text")
}

/// The series of a new service.
async fn known() -> KnownSeries {
    let text = scrape(&Service::start(&[]).await).await.text;
    let mut known = KnownSeries::new();
    for series in series(&text) {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let known = known.entry(name.to_owned()).or_default();
        for (label, value) in matchers(labels) {
            known.entry(label).or_default().insert(value);
        }
    }
    known
}

/// The labels and their values in `a="1",b="2"}`; of `=~` the alternatives.
fn matchers(labels: &str) -> Vec<(String, String)> {
    let labels = labels.split('}').next().unwrap_or_default();
    let mut found = Vec::new();
    for part in labels.split("\",").filter_map(|part| part.trim_end_matches('"').split_once('"')) {
        let label = part.0.trim_end_matches(['=', '~', '!']).trim();
        found.extend(part.1.split('|').map(|value| (label.to_owned(), value.to_owned())));
    }
    found
}

/// The names of series in a query of Prometheus, each with the labels it asks for.
fn asked(query: &str) -> Vec<(String, Vec<(String, String)>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut asked = Vec::new();
    for (at, _) in query.match_indices("refersion_destination_").chain(query.match_indices("process_")) {
        if at > 0 && query[..at].ends_with(is_name) {
            continue;
        }
        let rest = &query[at..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        asked.push((name.to_owned(), rest.strip_prefix('{').map(matchers).unwrap_or_default()));
    }
    asked
}

/// Why the query asks for something that does not exist.
fn unknown(known: &KnownSeries, query: &str) -> Vec<String> {
    let asked = asked(query);
    let mut unknown = Vec::new();
    for (name, labels) in &asked {
        let Some(has) = known.get(name) else {
            unknown.push(format!("there is no {name}: {query}"));
            continue;
        };
        // Prometheus adds these two; a variable of the dashboard stands for any value.
        let own =
            labels.iter().filter(|(label, value)| !["job", "instance"].contains(&&**label) && !value.contains('$'));
        let missing = own.filter(|(label, value)| !has.get(label).is_some_and(|values| values.contains(value)));
        unknown.extend(missing.map(|(label, value)| format!("{name} has no {label}={value}: {query}")));
        let grouped = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
        for label in grouped.flat_map(|labels| labels.split(',')).map(str::trim) {
            let any = asked.iter().any(|(name, _)| known.get(name).is_some_and(|has| has.contains_key(label)));
            if !any && !["job", "instance"].contains(&label) {
                unknown.push(format!("nothing has a label {label}: {query}"));
            }
        }
    }
    if asked.is_empty() && !query.contains("up{") {
        unknown.push(format!("it asks for nothing of this service: {query}"));
    }
    unknown
}

fn dashboard() -> Value {
    serde_json::from_str(&read("config/grafana/dashboard.json")).expect("JSON")
}

/// The queries of all panels and annotations, and those that fill the variables.
fn dashboard_queries() -> Vec<String> {
    let dashboard = dashboard();
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let panels = array(&dashboard["panels"]);
    let targets: Vec<Value> = panels.iter().flat_map(|panel| array(&panel["targets"])).collect();
    assert!(targets.len() > 30, "the queries were not found");
    let annotations = array(&dashboard["annotations"]["list"]);
    let queries = targets.iter().chain(&annotations).map(|target| target["expr"].as_str().expect("a query").to_owned());
    queries.collect()
}

/// `expr` of every alert, with its name and its runbook. The file is written so that this needs no reader of YAML.
fn alerts() -> Vec<(String, String, String)> {
    let text = read("config/prometheus/alerts.yaml");
    let alerts = text.split("- alert: ").skip(1).map(|alert| {
        let name = alert.lines().next().expect("a name").to_owned();
        let (_, expr) = alert.split_once("expr:").expect("an expression");
        let (expr, rest) = expr.split_once("\n        for:").expect("a duration");
        let (_, runbook) = rest.split_once("runbook: ").expect("a runbook");
        let expr = expr.trim().trim_start_matches('|').split_whitespace().collect::<Vec<_>>().join(" ");
        (name, expr, runbook.lines().next().expect("a line").trim().to_owned())
    });
    alerts.collect()
}

#[tokio::test]
async fn every_query_of_the_dashboard_and_of_the_alerts_names_existing_series() {
    let known = known().await;
    let alerts = alerts();
    assert_eq!(alerts.len(), 10, "{alerts:?}");
    let queries = dashboard_queries().into_iter().chain(alerts.into_iter().map(|(_, expr, _)| expr));
    let unknown: Vec<String> = queries.flat_map(|query| unknown(&known, &query)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// A metric that nobody sees on the dashboard is one that nobody looks at.
#[tokio::test]
async fn every_metric_is_on_the_dashboard_and_in_the_guide() {
    let queries = dashboard_queries().concat();
    let guide = read("config/README.md");
    for name in known().await.into_keys().filter(|name| name.starts_with("refersion_destination_")) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
        let short = base.trim_start_matches("refersion_destination_");
        assert!(short == "build_info" || queries.contains(base), "{name} is not on the dashboard");
        assert!(guide.contains(&format!("`{short}`")), "{name} is not in config/README.md");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_imports() {
    let dashboard = dashboard();
    for key in ["title", "uid", "schemaVersion", "templating", "panels"] {
        assert!(!dashboard[key].is_null(), "{key}");
    }
    assert!(dashboard["id"].is_null(), "an id is another installation's");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title} explains nothing");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(place("x") + place("w") <= 24, "{title} is beyond the edge");
    }
}

#[test]
fn every_alert_has_a_runbook_in_the_guide() {
    let guide = read("config/README.md");
    for (name, _, runbook) in alerts() {
        let anchor = runbook.strip_prefix("config/README.md#").unwrap_or_else(|| panic!("{name}: {runbook}"));
        let heading = |line: &str| {
            line.starts_with('#')
                && line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-").replace(':', "") == anchor
        };
        assert!(guide.lines().any(heading), "{name}: config/README.md has no heading for {runbook}");
    }
}

#[test]
fn promtool_accepts_the_alerts_the_example_and_the_queries_of_the_dashboard() {
    let at = |name: &str| path(name).to_string_lossy().into_owned();
    promtool(&["check", "rules", &at("config/prometheus/alerts.yaml")], "");
    promtool(&["check", "config", &at("config/prometheus/prometheus.yaml")], "");
    let rules: Vec<Value> = (0..)
        .zip(dashboard_queries())
        .map(|(n, query)| serde_json::json!({"record": format!("query:{n}"), "expr": query.replace("$__rate_interval", "5m")}))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yaml");
    let text = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string();
    std::fs::write(&file, text).expect("writes");
    promtool(&["check", "rules", &file.to_string_lossy()], "");
}

#[test]
fn each_alert_fires_under_its_condition_and_not_before() {
    let tests = read("tests/data/prometheus/alerts_test.yaml");
    for (name, ..) in alerts() {
        let cases = tests.matches(&format!("alertname: {name}")).count();
        assert!(cases >= 2, "{name} is not tested both ways");
    }
    promtool(&["test", "rules", &path("tests/data/prometheus/alerts_test.yaml").to_string_lossy()], "");
}

/// The settings that the unit names are settings of this service.
#[test]
fn the_unit_of_systemd_sets_existing_settings() {
    let unit = read("config/systemd/refersion-destination.service");
    let manual = refersion_destination::config::MANUAL;
    for setting in unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('=')) {
        assert!(manual.contains(&format!("# {}", setting.0)), "{} is no setting", setting.0);
    }
    assert!(unit.contains("ExecStart=/usr/local/bin/refersion-destination serve"));
}
