//! Isolation: how long an event of account B takes from its request to its delivery while calls of account A fail or are slow, against
//! when A has nothing to do.
//!
//! B's senders wait for the outcome (`SERVER_WAIT`), so their latency is that of the delivery. A has a backlog of its own
//! and is sent as much as B all the while; only where it is quiet, nothing.

use crate::Bench;
use crate::builds::Build;
use crate::load::{Measured, Target, open};
use crate::refersion::Refersion;
use crate::report::{Goal, Row, Series};
use crate::requests::{Credentials, Kind};
use crate::service::{Service, folder};
use std::path::Path;
use std::time::Duration;

const PART: &str = "isolation";
const RATE: f64 = 200.0;
const CONNECTIONS: usize = 32;
const OTHER_KEY: &str = "pub_other.sec_other";

/// How account A is meanwhile.
#[derive(Clone, Copy, PartialEq)]
enum AccountState {
    Quiet,
    Busy,
    Dead,
    Slow,
    Limited,
    WrongKey,
}

const ACCOUNT_STATES: [(AccountState, &str); 6] = [
    (AccountState::Quiet, "A has nothing to do"),
    (AccountState::Busy, "A is well and busy"),
    (AccountState::Dead, "A's Refersion is down"),
    (AccountState::Slow, "A's Refersion takes 5 s"),
    (AccountState::Limited, "A's Refersion takes 5 calls a second"),
    (AccountState::WrongKey, "A's key is wrong"),
];

pub fn run(bench: &mut Bench) -> bool {
    let mut p99: Vec<Vec<Series>> = ACCOUNT_STATES.iter().map(|_| bench.series()).collect();
    for _ in 0..bench.rounds {
        for (number, build) in bench.builds.iter().enumerate() {
            let measured = ACCOUNT_STATES.map(|(state, _)| round(bench, build, state).percentile(0.99));
            p99.iter_mut().zip(measured).for_each(|(series, p99)| series[number].push(p99, measured[0]));
        }
    }
    for ((state, name), series) in ACCOUNT_STATES.iter().zip(p99) {
        let row = Row::new(format!("p99 of B's deliveries, {name}"), "ms", series);
        let row = match state {
            AccountState::Quiet => row,
            AccountState::Busy => row.ratio_to("undisturbed"),
            _ => row.ratio_to("undisturbed").goal(Goal::AtMost(1.5)),
        };
        bench.report.add(PART, row);
    }
    true
}

/// B under constant arrival, and A beside it.
fn round(bench: &Bench, build: &Build, state: AccountState) -> Measured {
    let upstream_of_a = match state {
        AccountState::Slow => Refersion::start(Duration::from_secs(5)),
        AccountState::Limited => Refersion::limited(5),
        AccountState::WrongKey => Refersion::refusing(),
        AccountState::Quiet | AccountState::Busy | AccountState::Dead => Refersion::start(Duration::ZERO),
    };
    let well = Refersion::start(Duration::from_millis(20));
    // Nothing listens on port 1.
    let base_url = if state == AccountState::Dead { "http://127.0.0.1:1/v2" } else { &upstream_of_a.base_url };
    let folder = folder();
    let file = accounts(folder.path(), base_url);
    // As long as fewer wait than may be in flight at once, every answer is that of the delivery.
    let settings = [("SERVER_WAIT", "60s"), ("REFERSION_CONCURRENCY", "64")];
    let service = Service::configured(build, &well.base_url, folder.path(), &settings, Some(&file));
    let of_a = |events| service.target(Kind { credentials: Credentials::Key(OTHER_KEY), ..Kind::new(events) });
    let of_b = Target { status: 200, ..service.target(Kind::new(1)) };
    if state == AccountState::Quiet {
        return open(of_b, CONNECTIONS, RATE, bench.round);
    }
    service.post(of_a(1000).kind);
    std::thread::scope(|scope| {
        scope.spawn(|| open(of_a(100), 4, RATE, bench.round));
        open(of_b, CONNECTIONS, RATE, bench.round)
    })
}

/// The configuration of account A; B is `main`.
fn accounts(folder: &Path, base_url: &str) -> std::path::PathBuf {
    let file = folder.join("accounts.toml");
    let text =
        format!("[[accounts]]\nname = \"a\"\napi_key = \"{OTHER_KEY}\"\nbase_url = \"{base_url}\"\nconcurrency = 16\n");
    std::fs::write(&file, text).expect("writes");
    file
}
