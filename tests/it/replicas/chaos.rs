//! The main promise with three processes before one sender: they are killed, frozen, stopped and started again, while Refersion
//! fails in every way it can. The check at the end is that of [`crate::chaos::final_state`].

use super::cluster::Cluster;
use crate::chaos::final_state::{self, Dead, Effects};
use crate::chaos::sender::{self, Story, World, taken};
use crate::chaos::{USERS, figures, random_moment, script_faults, times};
use crate::support::postgres::Server;
use crate::support::process::Process;
use crate::support::within;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use refersion_destination::domain::{AffiliateStatus, Field};
use refersion_destination::sandbox::SandboxSettings;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const PROCESSES: usize = 3;

/// What is done to one of the processes, or to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Disruption {
    Kill,
    /// It freezes, and wakes up after the next disruption.
    Freeze,
    Stop,
    /// PostgreSQL crashes and is started again.
    KillDatabase,
    /// Every connection to it is cut.
    CutConnections,
    /// PostgreSQL crashes, and its standby is promoted: once, in the middle of the run.
    Promote,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_obligation_is_met_although_three_processes_are_killed_frozen_and_stopped() {
    use Disruption::{Freeze, Kill, Stop};
    run("three processes", times(8), &[Kill, Kill, Freeze, Freeze, Stop], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_obligation_of_three_processes_is_met_although_the_database_fails() {
    use Disruption::{CutConnections, Freeze, Kill, KillDatabase};
    run("and their database", times(8), &[KillDatabase, CutConnections, CutConnections, Kill, Freeze], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_obligation_of_three_processes_is_met_although_the_standby_is_promoted() {
    use Disruption::{CutConnections, Freeze, Kill, Promote};
    run("and a standby", times(6), &[Promote, CutConnections, Kill, Freeze], true).await;
}

/// A cluster under disruptions.
struct Run {
    cluster: Cluster,
    standby: Option<Server>,
    processes: Vec<Process>,
    frozen: Option<usize>,
    chance: StdRng,
    done: BTreeMap<Disruption, usize>,
    servers: watch::Sender<Vec<String>>,
}

async fn run(name: &str, disruptions: usize, kinds: &[Disruption], faults: bool) {
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("{name}: CHAOS_SEED={seed}");
    let sandbox = SandboxSettings { latency: Duration::from_millis(4), ..SandboxSettings::default() };
    let started = if kinds.contains(&Disruption::Promote) {
        Cluster::with_standby(sandbox).await.map(|(cluster, standby)| (cluster, Some(standby)))
    } else if kinds.contains(&Disruption::KillDatabase) {
        Cluster::on_own_server(sandbox).await.map(|cluster| (cluster, None))
    } else {
        Cluster::with(sandbox).await.map(|cluster| (cluster, None))
    };
    let Some((cluster, standby)) = started else { return };
    let refersion = cluster.refersion.sandbox.clone();
    for user in 0..USERS {
        let email = taken(user);
        refersion.add(AffiliateStatus::Active, &[(Field::Email, email)].into_iter().collect()).expect("added");
    }
    let processes: Vec<Process> = (0..PROCESSES).map(|_| start(&cluster)).collect();
    let (servers, addresses) = watch::channel(Vec::new());
    let (chance, done) = (StdRng::seed_from_u64(seed), BTreeMap::new());
    let mut run = Run { cluster, standby, processes, frozen: None, chance, done, servers };
    run.announce();
    let (enough, until) = watch::channel(false);
    let answered = watch::Sender::new(0);
    let timeout = Duration::from_secs(2);
    let world =
        World { sandbox: refersion.clone(), servers: addresses, timeout, answered: answered.clone(), enough: until };
    let mut senders: JoinSet<(usize, Story)> = (0..USERS)
        .map(|user| {
            let world = world.clone();
            async move { (user, sender::send(user, seed, world).await) }
        })
        .collect();
    let mut effects = Effects::default();
    for number in 0..disruptions {
        if faults {
            script_faults(&refersion, &mut run.chance);
        }
        tokio::select! {
            () = random_moment(&refersion, &answered, &mut run.chance) => {}
            ended = senders.join_next() => panic!("a sender gave up: {ended:?}"),
        }
        effects.read(&refersion);
        let kind = match kinds {
            [Disruption::Promote, ..] if number == disruptions / 2 => Disruption::Promote,
            [Disruption::Promote, others @ ..] | others => *others.choose(&mut run.chance).expect("some"),
        };
        run.disrupt(kind).await;
        // Until somebody delivers again.
        let calls = refersion.calls_total();
        within(refersion.until(|sandbox| sandbox.calls_total() > calls + 20)).await;
        effects.read(&refersion);
        run.wake_up();
    }
    refersion.restore_api_key();
    enough.send_replace(true);
    let mut stories = BTreeMap::new();
    while let Some(ended) = within(senders.join_next()).await {
        let (user, story) = ended.expect("every event is answered at last");
        stories.insert(user, story);
    }
    run.cluster.drained().await;
    effects.read(&refersion);
    let (hash, ids) = run.cluster.dead_letters().await;
    let dead = Dead::new(hash, ids);
    final_state::check(&stories, &refersion, &effects, &dead);
    eprintln!("{name}: {:?}, {}", run.done, figures(&stories));
    eprintln!("{name}: {} calls, {} dead letters", refersion.calls_total(), dead.len());
}

/// Starts a process; the answers of some wait for the outcome.
fn start(cluster: &Cluster) -> Process {
    cluster.process(&[
        ("SERVER_WAIT", "50ms"),
        ("SERVER_DRAIN", "500ms"),
        ("REFERSION_CONCURRENCY", "5"),
        ("REFERSION_TIMEOUT", "300ms"),
        ("DELIVERY_MAX_BACKLOG", "200"),
        ("LOG_FILTER", "refersion_destination::app=info"),
    ])
}

impl Run {
    async fn disrupt(&mut self, kind: Disruption) {
        *self.done.entry(kind).or_default() += 1;
        let chosen = self.chance.random_range(0..PROCESSES);
        match kind {
            Disruption::Kill => self.replace(chosen).kill(),
            Disruption::Freeze => {
                self.processes[chosen].signal("STOP");
                self.frozen = Some(chosen);
            }
            Disruption::Stop => {
                let process = self.replace(chosen);
                process.terminate();
                let (status, logged) = process.ended().await;
                assert_eq!(status.code(), Some(0), "{logged}");
            }
            Disruption::KillDatabase => {
                let server = self.cluster.server.as_mut().expect("its own");
                server.kill();
                server.run();
            }
            Disruption::CutConnections => {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'refersion-destination' AND datname = current_database()";
                self.cluster.connect().await.execute(sql, &[]).await.expect("cut");
            }
            Disruption::Promote => {
                self.cluster.server.as_mut().expect("its own").kill();
                self.standby.as_ref().expect("a standby").promote();
            }
        }
    }

    /// Starts a process in the place of this one.
    fn replace(&mut self, index: usize) -> Process {
        let old = std::mem::replace(&mut self.processes[index], start(&self.cluster));
        self.announce();
        old
    }

    fn wake_up(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            self.processes[frozen].signal("CONT");
        }
    }

    fn announce(&self) {
        self.servers.send_replace(self.processes.iter().map(|process| process.server.clone()).collect());
    }
}
