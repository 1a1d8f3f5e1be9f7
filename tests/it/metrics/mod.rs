//! `/metrics`: the metrics for Prometheus, and the dashboard and alerts that are shipped for them.

mod counts;
mod exposition;
mod shipped;

use crate::support::service::Service;
use crate::support::{Answer, http, say_skipped};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What `/metrics` answers to a client without preferences.
async fn scrape(service: &Service) -> Answer {
    Answer::to(http().get(format!("http://{}/metrics", service.addresses.ops))).await
}

/// The value of a series, named without the prefix; none if there is no such series.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = format!("refersion_destination_{series} ");
    text.lines().find_map(|text| text.strip_prefix(&line)).map(|value| value.parse().expect("a number"))
}

/// The series of a text, without their values.
fn series(text: &str) -> Vec<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').expect("a value").0).collect()
}

/// Runs Prometheus's `promtool` with `input`, and checks that it finds nothing; says that it is skipped where there is none.
fn promtool(arguments: &[&str], input: &str) {
    let command = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = command else {
        say_skipped("there is no promtool here");
        return;
    };
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("reads");
    let output = child.wait_with_output().expect("ends");
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {printed}");
}
