//! Chaos tests of the main promise: whatever happens, every event that was answered with 2xx is carried out or accounted for.
//!
//! Senders of many users post to a process that is killed, stopped and started again, while Refersion fails in every way it
//! can; then [`final_state`] checks Refersion and the store for the outcome of each event. The short form runs with every `cargo test`;
//! `CHAOS=long cargo test chaos -- --nocapture` is the long one (1,000 kills), `CHAOS=200` one of 200. Chance is seeded:
//! `CHAOS_SEED` repeats a run's decisions (not the moments at which the system lets them happen), and every failure shows it.

mod backlog;
mod disk;
pub mod final_state;
mod poison_events;
pub mod sender;

use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{TEST_TIMEOUT, within};
use final_state::{Dead, Effects};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use refersion_destination::domain::{AffiliateStatus, Field};
use refersion_destination::sandbox::{Fault, Operation, Sandbox, SandboxSettings};
use sender::{Story, World, taken};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub const USERS: usize = 12;

/// Whether this is the long form.
pub fn is_long() -> bool {
    std::env::var("CHAOS").is_ok_and(|form| form == "long")
}

/// How often something happens: `short` for 20 kills of the short form, and as much more often in a longer one.
pub fn times(short: usize) -> usize {
    let kills = if is_long() { Some(1_000) } else { std::env::var("CHAOS").ok().and_then(|kills| kills.parse().ok()) };
    kills.map_or(short, |kills: usize| short * kills / 20)
}

/// What is done to the service during a run.
struct Disruptions {
    name: &'static str,
    /// How often its process ends.
    ends: usize,
    /// The share of ends by SIGTERM; the others are by SIGKILL.
    graceful: f64,
    /// Whether Refersion fails as well.
    faults: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_obligation_is_met_although_the_process_is_killed_at_any_moment() {
    run(Disruptions { name: "kill -9", ends: times(20), graceful: 0.0, faults: false }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_obligation_is_met_when_the_process_is_stopped_under_load() {
    run(Disruptions { name: "SIGTERM", ends: times(5), graceful: 1.0, faults: false }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_obligation_is_met_although_the_process_is_killed_and_refersion_fails_in_every_way() {
    run(Disruptions { name: "all together", ends: times(25), graceful: 0.2, faults: true }).await;
}

async fn run(disruptions: Disruptions) {
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("{}: CHAOS_SEED={seed}", disruptions.name);
    let mut chance = StdRng::seed_from_u64(seed);
    let refersion =
        Refersion::with(SandboxSettings { latency: Duration::from_millis(4), ..SandboxSettings::default() }).await;
    for user in 0..USERS {
        let email = taken(user);
        refersion.sandbox.add(AffiliateStatus::Active, &[(Field::Email, email)].into_iter().collect()).expect("added");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = start(&refersion, folder.path(), &mut chance);
    let (server, servers) = watch::channel(vec![process.server.clone()]);
    let (enough, until) = watch::channel(false);
    let answered = watch::Sender::new(0);
    let (sandbox, timeout) = (refersion.sandbox.clone(), TEST_TIMEOUT);
    let world = World { sandbox, servers, timeout, answered: answered.clone(), enough: until };
    let mut senders: JoinSet<(usize, Story)> = (0..USERS)
        .map(|user| {
            let world = world.clone();
            async move { (user, sender::send(user, seed, world).await) }
        })
        .collect();

    let (mut effects, mut kills) = (Effects::default(), 0);
    for end in 0..disruptions.ends {
        if disruptions.faults {
            script_faults(&refersion.sandbox, &mut chance);
        }
        tokio::select! {
            () = random_moment(&refersion.sandbox, &answered, &mut chance) => {}
            ended = senders.join_next() => panic!("a sender gave up: {ended:?}"),
        }
        effects.read(&refersion.sandbox);
        if chance.random_bool(disruptions.graceful) {
            stop(process).await;
        } else {
            process.kill();
            kills += 1;
        }
        process = start(&refersion, folder.path(), &mut chance);
        server.send_replace(vec![process.server.clone()]);
        if (end + 1) % 100 == 0 {
            eprintln!("{}: {} of {} ends", disruptions.name, end + 1, disruptions.ends);
        }
    }
    refersion.sandbox.restore_api_key();
    enough.send_replace(true);
    let mut stories = BTreeMap::new();
    while let Some(ended) = within(senders.join_next()).await {
        let (user, story) = ended.expect("every event is answered at last");
        stories.insert(user, story);
    }
    let ready = drained(&process).await;
    process.kill();
    effects.read(&refersion.sandbox);
    let dead = Dead::read(&folder.path().join("store.db"));
    assert_eq!(ready["dead_letters"], dead.len());
    final_state::check(&stories, &refersion.sandbox, &effects, &dead);
    eprintln!("{}: {kills} kills, {} stops, {}", disruptions.name, disruptions.ends - kills, figures(&stories));
    eprintln!("{}: {} calls, {} dead letters", disruptions.name, refersion.sandbox.calls_total(), dead.len());
}

pub fn figures(stories: &BTreeMap<usize, Story>) -> String {
    let sum = |count: fn(&Story) -> usize| stories.values().map(count).sum::<usize>();
    let (events, again, repeats) =
        (sum(|story| story.sent.len()), sum(|story| story.again), sum(|story| story.repeats));
    format!("{events} events, {again} sent again, {repeats} repeats; lost 0, doubled 0, out of order 0")
}

/// Starts the service; some of the time, answers wait for the outcome.
fn start(refersion: &Refersion, folder: &Path, chance: &mut StdRng) -> Process {
    let settings = [
        ("SERVER_WAIT", if chance.random_bool(0.5) { "0s" } else { "50ms" }),
        ("SERVER_DRAIN", "500ms"),
        ("REFERSION_CONCURRENCY", "5"),
        ("REFERSION_TIMEOUT", "300ms"),
        ("DELIVERY_MAX_BACKLOG", "200"),
        ("LOG_FILTER", "refersion_destination::app=info"),
    ];
    Process::start(&refersion.base_url, folder, &settings)
}

/// Waits for a random moment: after some calls, or some answers; sometimes not at all.
pub async fn random_moment(sandbox: &Sandbox, answered: &watch::Sender<u64>, chance: &mut StdRng) {
    let calls = sandbox.calls_total() + chance.random_range(0..40);
    let answers = *answered.borrow() + chance.random_range(0..80);
    let mut answered = answered.subscribe();
    within(async {
        tokio::select! {
            () = sandbox.until(|sandbox| sandbox.calls_total() >= calls) => {}
            _ = answered.wait_for(|answered| *answered >= answers) => {}
        }
    })
    .await;
}

/// Adds faults to the next calls to Refersion.
pub fn script_faults(sandbox: &Sandbox, chance: &mut StdRng) {
    let every = [
        Fault::status(500),
        Fault::html(502),
        Fault::html(503),
        Fault::html(200),
        Fault::too_many_calls(None),
        Fault::too_many_calls(Some(0)),
        Fault::too_many_calls(Some(1)),
        Fault::CloseConnection,
        Fault::LoseResponse,
        Fault::TruncateResponse,
        Fault::SlowResponse,
        Fault::Hang { effect: false },
        Fault::Hang { effect: true },
        Fault::status(401),
    ];
    if sandbox.pending_faults() < 8 {
        let count = chance.random_range(0..6);
        sandbox.script((0..count).filter_map(|_| every.choose(chance).cloned()).collect::<Vec<_>>());
        if chance.random_bool(0.3) {
            // An event is refused for good, in an edit alone, so that its effect is known, and by words that blame none of its
            // values: a value that is blamed is left out, which other tests hold.
            let refusal = "Your account plan does not support this feature (error 1).";
            sandbox.script_for(Operation::Edit, [Fault::unprocessable(refusal)]);
        }
    }
    if sandbox.api_key_revoked() {
        sandbox.restore_api_key();
    } else if chance.random_bool(0.1) {
        sandbox.revoke_api_key();
    }
}

/// Stops the process with SIGTERM.
async fn stop(process: Process) {
    process.terminate();
    let (status, logged) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{logged}");
}

/// Waits until no event is pending; a backlog takes longer than one event.
async fn drained(process: &Process) -> Value {
    tokio::time::timeout(2 * TEST_TIMEOUT, process.drained()).await.expect("in time")
}
