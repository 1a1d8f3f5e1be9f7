//! The benchmark: `cargo bench`, or parts of it by name: `cargo bench -- accept latency`.
//!
//! Each part measures one thing of the real service (the release binary as a process, with a synced store on a real disk) and a
//! baseline to compare it with, alternately, so that whatever else the machine does affects both. The ratios count, of rates
//! and of processor time; each is given as its median and its range over the rounds. `BENCH_OTHER=/path/to/binary` measures another release in the same rounds.
//! `--quick` shortens every round (to see that it works, not to quote), `--long` adds what takes an hour, `--svg DIR` writes
//! the graphs, `--pinned SECONDS` says how long PostgreSQL may remove no outdated row, `--events NUMBER` how many
//! events go through its tables (`postgres_space`). At the end it prints a table in Markdown. Needs Linux 5.11 for `/proc` and `epoll_pwait2`, and valgrind for
//! `instructions` alone. Deliberately absent: assertions about time. Only counts decide the exit code, because only counts
//! repeat.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are given to three digits"
)]

mod bare;
mod builds;
mod event;
mod graph;
mod load;
mod parts;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../it/support/postgres.rs"]
mod postgres_server;
mod process;
mod refersion;
mod report;
mod requests;
mod service;
#[path = "../it/support/skipped.rs"]
mod skipped;
mod wire;

use builds::Build;
use report::{Report, Series, print_line};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long everything takes, and where results go.
pub struct Bench {
    /// One measurement.
    pub round: Duration,
    /// How often each is repeated.
    pub rounds: usize,
    /// Whether this run only shows that the benchmark works.
    pub quick: bool,
    /// Whether it may take an hour.
    pub long: bool,
    /// How long an old transaction keeps PostgreSQL from removing outdated rows.
    pub pinned: Duration,
    /// How many events go through PostgreSQL's tables.
    pub events: u64,
    /// The programs that are measured alternately; this tree's first.
    pub builds: Vec<Build>,
    /// What was measured so far.
    pub report: Report,
    /// Drawn so far: file name and content.
    pub graphs: Vec<(&'static str, String)>,
}

impl Bench {
    /// `count`, or in a quick run a tenth of it.
    pub fn scaled(&self, count: u64) -> u64 {
        if self.quick { count / 10 } else { count }
    }

    /// An empty series for each build.
    pub fn series(&self) -> Vec<Series> {
        vec![Series::default(); self.builds.len()]
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(bare::AXUM) => bare::serve_axum(),
        Some(parts::instructions::EVENTS) => parts::instructions::process(arguments.get(1)),
        _ if arguments.iter().any(|argument| argument == "--bench") => return bench(&arguments),
        _ => print_line("this is a benchmark: `cargo bench`"),
    }
    ExitCode::SUCCESS
}

fn bench(arguments: &[String]) -> ExitCode {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (quick, long) = (has("--quick"), has("--long"));
    let place = |flag: &str| arguments.iter().position(|argument| argument == flag).map(|place| place + 1);
    let (svg, pinned, events) = (place("--svg"), place("--pinned"), place("--events"));
    let is_name = |place: usize| ![svg, pinned, events].contains(&Some(place));
    let names = arguments.iter().enumerate().filter(|(place, name)| !name.starts_with("--") && is_name(*place));
    let names: Vec<&str> = names.map(|(_, name)| name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !parts::ALL.iter().any(|(part, _)| part == *name)) {
        let known: Vec<&str> = parts::ALL.iter().map(|(part, _)| *part).collect();
        print_line(&format!("there is no part {unknown}; there are {}", known.join(", ")));
        return ExitCode::from(2);
    }
    let round = Duration::from_millis(if quick { 500 } else { 3000 });
    let rounds = if quick { 2 } else { 5 };
    let number = |place: Option<usize>| place.and_then(|place| arguments.get(place)?.parse().ok());
    let pinned = Duration::from_secs(number(pinned).unwrap_or(if quick { 6 } else { 60 }));
    let events = number(events).unwrap_or(if quick { 100_000 } else { 1_000_000 });
    // These need no service.
    let builds = if matches!(names[..], ["instructions" | "postgres_space" | "postgres_utilisation"]) {
        Vec::new()
    } else {
        builds::all()
    };
    let report =
        Report::new(std::iter::once(builds::THIS).chain(builds.iter().skip(1).map(|build| build.name.as_str())));
    let mut bench = Bench { round, rounds, quick, long, pinned, events, builds, report, graphs: Vec::new() };
    let mut well = true;
    for (name, part) in parts::ALL.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        print_line(&format!("{name}:"));
        well &= part(&mut bench);
    }
    print_line(&format!("\n{}", bench.report.table()));
    if let Some(folder) = svg.and_then(|place| arguments.get(place)).map(PathBuf::from) {
        std::fs::create_dir_all(&folder).expect("the folder for graphs can be created");
        for (name, graph) in &bench.graphs {
            std::fs::write(folder.join(name), graph).expect("the folder for graphs is writable");
        }
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
