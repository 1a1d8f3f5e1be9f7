//! Instructions: those that authenticate, parse and map one event, counted by callgrind. Counts repeat where times do not, so this part is
//! a guard: it fails when the count has grown.
//!
//! This program runs itself under callgrind, once with one event and once with more; the difference is what they cost, without the
//! tables that the first one builds. The count depends on the compiler, so the guard leaves a margin; a count far below it says that
//! [`RECORDED`] should follow.

use crate::Bench;
use crate::event::{API_KEY, SECRET, basic, identify, signature};
use crate::report::{Row, Series, print_line};
use refersion_destination::domain::{ApiKey, Timestamp};
use refersion_destination::mapping::{self, Rules};
use refersion_destination::segment::{Authenticator, Envelope, split_envelope};
use std::hint::black_box;
use std::process::Command;

/// The argument that makes this program do nothing but [`process`] as many events as the next argument says.
pub const EVENTS: &str = "process-events";
/// Instructions per event, as last measured, and by what share they may differ.
const RECORDED: f64 = 94_200.0;
const MARGIN: f64 = 0.1;
const COUNT: u32 = 200;

pub fn run(bench: &mut Bench) -> bool {
    let (Some(one), Some(more)) = (count(1), count(1 + COUNT)) else {
        print_line("  skipped: there is no valgrind here");
        return true;
    };
    let each = (more - one) / f64::from(COUNT);
    let series = Series { ours: vec![each], baseline: vec![RECORDED] };
    let row = Row::new("to authenticate, parse and map an event", "instructions", vec![series]);
    bench.report.add("instructions", row.ratio_to("the recorded count"));
    if each > RECORDED * (1.0 + MARGIN) {
        print_line(&format!(
            "  more than RECORDED in tests/bench/parts/instructions.rs, {RECORDED}: find out why, or set it to {each:.0}"
        ));
        return false;
    }
    if each < RECORDED * (1.0 - MARGIN) {
        print_line(&format!(
            "  fewer than RECORDED in tests/bench/parts/instructions.rs, {RECORDED}: set it to {each:.0}"
        ));
    }
    true
}

/// Instructions of this program when it processes `events`; `None` without valgrind.
fn count(events: u32) -> Option<f64> {
    let this = std::env::current_exe().expect("a path");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this).args([EVENTS, &events.to_string()]);
    let output = valgrind.output().ok()?;
    let report = String::from_utf8_lossy(&output.stderr);
    let line = report.lines().find_map(|line| line.split_once("Collected :"));
    Some(line.and_then(|(_, count)| count.trim().parse().ok()).expect("callgrind prints a count"))
}

/// Authenticates (by the key and by the signature), parses and maps `events` events, as the service does before it stores one
/// and after.
pub fn process(events: Option<&String>) {
    let events: u32 = events.and_then(|count| count.parse().ok()).expect("a number of events");
    let authenticator = Authenticator::new(ApiKey::parse(API_KEY).expect("a key"), vec![SECRET.into()]);
    let (rules, authorization) = (Rules::default(), basic(API_KEY));
    let mut body = Vec::new();
    identify(&mut body, 1, 1, 0);
    let signed = signature(&body);
    for _ in 0..events {
        let (authorizations, signatures) = ([authorization.as_bytes()], [signed.as_bytes()]);
        let pending =
            authenticator.check_headers(authorizations.into_iter(), signatures.into_iter()).expect("authentic");
        authenticator.verify_signatures(&pending, &[black_box(&body)]).expect("authentic");
        let Ok(Envelope::Single(event)) = split_envelope(&body) else { panic!("one event") };
        let event = event.parse().expect("an event");
        black_box(mapping::map(&event, &rules, Timestamp(0)).intent.expect("an intent"));
    }
}
