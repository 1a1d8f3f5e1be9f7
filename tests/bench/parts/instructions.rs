//! Instructions: what it takes to authenticate, parse and map one event, counted by callgrind. Counts repeat where times do not,
//! so this part is a guard: it fails when the count has grown.
//!
//! This program runs itself under callgrind, once for no event and once for some; the difference is theirs. The count
//! depends on the compiler, so the guard leaves a margin; a count far below it says that [`KEPT`] should follow.

use crate::Bench;
use crate::event::{API_KEY, SECRET, basic, identify, signature};
use crate::report::{Row, Series, say};
use refersion_destination::domain::{ApiKey, Timestamp};
use refersion_destination::mapping::{self, Rules};
use refersion_destination::segment::{self, Authenticator};
use std::hint::black_box;
use std::process::Command;

/// The argument that makes this program do nothing but think, and is followed by how many events about.
pub const EVENTS: &str = "think";
/// Instructions per event, as last measured, and by what share they may differ.
const KEPT: f64 = 101_000.0;
const MARGIN: f64 = 0.1;
const COUNT: u32 = 200;

pub fn run(bench: &mut Bench) -> bool {
    let (Some(none), Some(some)) = (count(0), count(COUNT)) else {
        say("  skipped: there is no valgrind here");
        return true;
    };
    let each = (some - none) / f64::from(COUNT);
    let series = Series { ours: vec![each], beside: vec![KEPT] };
    let row = Row::new("to authenticate, parse and map an event", "instructions", vec![series]);
    bench.report.add("instructions", row.against("those kept"));
    if each > KEPT * (1.0 + MARGIN) {
        say(&format!(
            "  more than the {KEPT} kept in tests/bench/parts/instructions.rs: find out why, or keep {each:.0}"
        ));
        return false;
    }
    if each < KEPT * (1.0 - MARGIN) {
        say(&format!("  fewer than the {KEPT} kept in tests/bench/parts/instructions.rs: keep {each:.0}"));
    }
    true
}

/// Instructions of this program when it thinks about `events`; `None` without valgrind.
fn count(events: u32) -> Option<f64> {
    let this = std::env::current_exe().expect("a path");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this).args([EVENTS, &events.to_string()]);
    let output = valgrind.output().ok()?;
    let told = String::from_utf8_lossy(&output.stderr);
    let line = told.lines().find_map(|line| line.split_once("Collected :"));
    Some(line.and_then(|(_, count)| count.trim().parse().ok()).expect("callgrind tells a count"))
}

/// What the service does with an event before the store and after it: authenticates it twice over (by its key, and by its
/// signature), parses it, maps it.
pub fn think(events: Option<&String>) {
    let events: u32 = events.and_then(|count| count.parse().ok()).expect("a number of events");
    let authenticator = Authenticator::new(ApiKey::parse(API_KEY).expect("a key"), vec![SECRET.into()]);
    let (rules, authorization) = (Rules::default(), basic(API_KEY));
    let mut body = Vec::new();
    identify(&mut body, 1, 1, 0);
    let signed = signature(&body);
    for _ in 0..events {
        let (authorizations, signatures) = ([authorization.as_bytes()], [signed.as_bytes()]);
        let pending =
            authenticator.authenticate(authorizations.into_iter(), signatures.into_iter()).expect("authentic");
        authenticator.verify_signatures(&pending, &[black_box(&body)]).expect("authentic");
        let raw = segment::check(&body).expect("JSON");
        assert!(segment::several(raw).expect("JSON").is_none(), "one event");
        let event = segment::understand(raw).expect("an event");
        black_box(mapping::map(&event, &rules, Timestamp(0)).intent.expect("an intent"));
    }
}
