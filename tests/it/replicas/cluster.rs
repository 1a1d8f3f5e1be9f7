//! A cluster: processes of the service on one database, before one simulated Refersion.

use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{self, Durability, Server};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{API_KEY, Answer, basic, client, poll_until, within};
use refersion_destination::domain::{EventId, HashKey};
use refersion_destination::sandbox::SandboxSettings;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// After so long without a sign of life, other processes take a process's accounts over.
pub const LEASE: Duration = Duration::from_secs(3);

/// After so many renewals of each process in which nothing changed, none of them is going to ask for the account.
const RENEWALS: usize = 2;

/// The database and the simulated Refersion.
pub struct Cluster {
    pub refersion: Refersion,
    /// A server of its own, if the test stops or kills it.
    pub server: Option<Server>,
    pub url: String,
    /// What the processes get in place of `url`.
    pooled_url: Option<String>,
    folder: TempDir,
}

impl Cluster {
    /// On a schema of its own of the server that all tests share. `None`: there is no PostgreSQL here.
    pub async fn start() -> Option<Self> {
        Self::with(SandboxSettings::default()).await
    }

    /// The same with settings of the simulated Refersion.
    pub async fn with(sandbox: SandboxSettings) -> Option<Self> {
        let url = postgres::new_schema()?;
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { refersion: Refersion::with(sandbox).await, server: None, url, pooled_url: None, folder })
    }

    /// On a server of its own, which syncs as in production.
    pub async fn on_own_server(sandbox: SandboxSettings) -> Option<Self> {
        let server = Server::start(Durability::Full)?;
        let (url, folder) = (server.url(), tempfile::tempdir().expect("a folder"));
        let refersion = Refersion::with(sandbox).await;
        Some(Self { refersion, server: Some(server), url, pooled_url: None, folder })
    }

    /// The same, where the processes reach the server through a pooler.
    pub async fn with_pooler() -> Option<(Self, PgBouncer)> {
        let cluster = Self::on_own_server(SandboxSettings::default()).await?;
        let pooler = PgBouncer::start(cluster.server.as_ref().expect("its own").folder(), true)?;
        Some((Self { pooled_url: Some(pooler.url()), ..cluster }, pooler))
    }

    /// The same with a standby, which has every commit before it is acknowledged.
    pub async fn with_standby(sandbox: SandboxSettings) -> Option<(Self, Server)> {
        let cluster = Self::on_own_server(sandbox).await?;
        let primary = cluster.server.as_ref().expect("its own");
        let standby = primary.standby();
        let url = postgres::url_of_either(&[primary.folder(), standby.folder()]);
        let database = cluster.connect().await;
        // Not in the copy that the standby has: once promoted, it goes on alone.
        for sql in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
            database.batch_execute(sql).await.expect("set");
        }
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let follows = || async { database.query_one(sql, &[]).await.expect("counted").get::<_, i64>(0) };
        within(poll_until(follows, |standbys| *standbys == 1)).await;
        Some((Self { url, ..cluster }, standby))
    }

    /// Starts a process.
    pub fn process(&self, settings: &[(&str, &str)]) -> Process {
        let own = [
            ("STORE_URL", self.pooled_url.as_deref().unwrap_or(&self.url)),
            ("STORE_LEASE", "3s"),
            ("SERVER_WAIT", "0s"),
            ("LOG_FILTER", "refersion_destination=info"),
        ];
        Process::start(&self.refersion.base_url, self.folder.path(), &[&own, settings].concat())
    }

    /// Starts processes with `settings`, and others in the place of the later ones, until the first, which has `more` settings, owns
    /// the account `main`.
    pub async fn processes_with_owner(
        &self,
        count: usize,
        settings: &[(&str, &str)],
        more: &[(&str, &str)],
    ) -> Vec<Process> {
        let mut processes = vec![self.process(&[settings, more].concat())];
        processes.extend((1..count).map(|_| self.process(settings)));
        loop {
            let owner = self.settled_owner(&processes).await;
            if owner == 0 {
                return processes;
            }
            let process = std::mem::replace(&mut processes[owner], self.process(settings));
            process.terminate();
            drop(process.ended().await);
        }
    }

    /// Which of the processes owns `main`, once none of them is going to ask for it.
    pub async fn settled_owner(&self, processes: &[Process]) -> usize {
        let database = self.connect().await;
        let sql = "SELECT replicas.replica::text, replicas.until::text, accounts.owner::text FROM replicas, accounts
            WHERE replicas.until > now() AND accounts.owner IS NOT NULL AND accounts.asked_by IS NULL";
        let since = Mutex::new(Since::default());
        let settled = || async {
            let rows = database.query(sql, &[]).await.expect("read");
            let live: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            let all = since.lock().expect("not poisoned").note(rows.first().map(|row| row.get(2)), live);
            if all == Some(processes.len()) { owner(processes).await } else { None }
        };
        within(poll_until(settled, Option::is_some)).await.expect("one")
    }

    /// A connection beside the service's.
    pub async fn connect(&self) -> Client {
        let (client, connection) = within(tokio_postgres::connect(&self.url, NoTls)).await.expect("connected");
        tokio::spawn(connection);
        client
    }

    /// Waits until no event is pending.
    pub async fn drained(&self) {
        let database = self.connect().await;
        let pending = || async {
            let row = database.query_one("SELECT count(*) FROM log WHERE outcome IS NULL", &[]).await;
            row.expect("counted").get::<_, i64>(0)
        };
        tokio::time::timeout(Duration::from_secs(120), poll_until(pending, |pending| *pending == 0))
            .await
            .expect("in time");
    }

    /// The key of the store's hashes, and the ids of its dead letters.
    pub async fn dead_letters(&self) -> (HashKey, BTreeSet<EventId>) {
        let database = self.connect().await;
        let row = database.query_one("SELECT value FROM meta WHERE name = 'hash_key'", &[]).await.expect("a key");
        let key: [u8; 32] = row.get::<_, &[u8]>(0).try_into().expect("32 bytes");
        let rows = database.query("SELECT id FROM dead_letters", &[]).await.expect("read");
        let id = |row: &tokio_postgres::Row| EventId(row.get::<_, &[u8]>(0).try_into().expect("16 bytes"));
        (HashKey::new(&key), rows.iter().map(id).collect())
    }

    /// The operations called so far, in order.
    pub fn calls(&self) -> String {
        self.refersion.operations().join(" ")
    }
}

/// What was seen since the account, or one of the processes, came or went.
#[derive(Default)]
struct Since {
    owner: Option<String>,
    /// Until when each process was alive, as it said.
    renewals: BTreeMap<String, BTreeSet<String>>,
}

impl Since {
    /// Notes who owns the account and until when each process is alive. How many there are, once each has renewed that often enough.
    fn note(&mut self, owner: Option<String>, live: BTreeMap<String, String>) -> Option<usize> {
        if self.owner != owner || self.renewals.keys().ne(live.keys()) {
            *self = Self { owner, renewals: BTreeMap::new() };
        }
        for (replica, until) in live {
            self.renewals.entry(replica).or_default().insert(until);
        }
        let settled = self.owner.is_some() && self.renewals.values().all(|renewals| renewals.len() > RENEWALS);
        settled.then_some(self.renewals.len())
    }
}

/// Which of these processes says that it owns `main`; none if it is not exactly one.
pub async fn owner(processes: &[Process]) -> Option<usize> {
    let mut owners = Vec::new();
    for (index, process) in processes.iter().enumerate() {
        if process.ready().await.json().pointer("/accounts/main/owner") == Some(&Value::Bool(true)) {
            owners.push(index);
        }
    }
    <[usize; 1]>::try_from(owners).ok().map(|[owner]| owner)
}

/// Waits until one of these processes owns `main`.
pub async fn until_owned(processes: &[Process]) -> usize {
    within(poll_until(|| owner(processes), Option::is_some)).await.expect("one")
}

/// Posts `event` to this server; `None` if it did not answer.
pub async fn post(server: &str, event: &Value) -> Option<Answer> {
    post_with(server, API_KEY, event).await
}

/// The same with another key.
pub async fn post_with(server: &str, key: &str, event: &Value) -> Option<Answer> {
    let client = client().pool_max_idle_per_host(0).build().expect("a client");
    let request = client.post(format!("{server}/segment")).header("Authorization", basic(key));
    Answer::read(request.body(event.to_string()).send().await.ok()?).await
}
