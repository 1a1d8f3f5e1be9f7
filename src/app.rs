//! The only place that knows every concrete type: what is started in which order, and stopped in which.
//!
//! Start: store (refused if another process has it) → kept API keys opened, where any key is accepted (refused if one does not
//! open) → per account a client, a worker and an endpoint → listeners bound → addresses announced → workers woken for whose
//! accounts events wait. Accounts share the store, the listeners and the clock, and nothing else; those that are not configured
//! share connections to Refersion too. `merchants` admits these, within the bounds of `proofs`.
//! Stop, under one deadline: requests are refused, those in flight are answered, the workers hand back what was not sent, the
//! store is closed. What the deadline cuts off is delivered after the next start; nothing of it is lost. A store that failed
//! for good and a worker that panicked end the service with an error, so that its supervisor restarts it.

mod ground;
mod merchants;
mod proofs;

use crate::account_signals::AccountSignals;
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::domain::AccountName;
use crate::http::{self, AccountRegistry};
use crate::refersion::{BuildError, ConnectionPool};
use crate::store::{Limits, Maintenance, SqliteOpenError, SqliteStore, StoreError};
use crate::telemetry::Metrics;
use crate::worker::Runtime;
use axum::Router;
use ground::Ground;
use merchants::Proved;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why the service cannot run. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration holds no key. [`Config::load`] finds that out before, except for a dry run.
    #[error("REFERSION_API_KEY is not set")]
    NoApiKey,
    /// Any key is to be accepted, and there is no key to seal them with. [`Config::load`] finds that out before.
    #[error("STORE_SEAL_KEY is not set")]
    NoSealKey,
    /// API keys are kept that no seal key opens.
    #[error(
        "{shut} of {kept} kept API keys cannot be opened: they were sealed with a key that STORE_SEAL_KEY does not hold; \
         add it there behind the first, separated by a comma"
    )]
    Sealed {
        /// How many cannot be opened.
        shut: usize,
        /// How many are kept.
        kept: usize,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] SqliteOpenError),
    /// The store was opened and cannot be written.
    #[error(transparent)]
    Write(#[from] StoreError),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is another program using it? Set {variable} to another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting it comes from.
        variable: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A listener failed.
    #[error("a listener failed: {0}")]
    Serve(io::Error),
    /// The worker of an account panicked: a bug. Events would be accepted and never delivered.
    #[error("a worker panicked; what waits is delivered after the next start")]
    WorkerPanicked,
    /// The store ended without being told to: nothing can be accepted or settled any more.
    #[error("the store ended by itself; what waits is delivered after the next start")]
    StoreEnded,
}

/// Where the service listens; ports are the real ones, even if the configuration said 0.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For Segment.
    pub server: SocketAddr,
    /// For operators.
    pub ops: SocketAddr,
}

/// How many connections may wait to be accepted: bursts come by the hundred thousand.
const BACKLOG: u32 = 4_096;

/// How often settled events' space is given back and old event ids are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// How often something is committed, so that health is up to date while no event comes.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Runs the service until `stop` is ready, then drains it. Workers run on `deliveries`, which may be another runtime's: then an
/// answer to Segment never waits for a delivery that thinks. `announce` is called once, when the listeners are bound.
pub async fn serve(
    config: Config,
    deliveries: &Handle,
    announce: impl FnOnce(Addresses),
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let StoreUrl::Sqlite(path) = &config.store.url;
    let limits =
        Limits { max_backlog: config.delivery.max_backlog, deduplication_memory: config.store.deduplication_memory };
    let store = Arc::new(SqliteStore::open(path, limits)?);
    let (shutdown, failed) = (CancellationToken::new(), CancellationToken::new());
    let (handle, tracker) = (deliveries.clone(), TaskTracker::new());
    let runtime = Runtime { handle, tracker: tracker.clone(), shutdown: shutdown.clone(), failed: failed.clone() };
    let ground =
        Ground { config: Arc::new(config), store, clock: Clock::start(), metrics: Metrics::default(), runtime };
    let (config, store) = (&ground.config, &ground.store);
    let doors = Arc::new(doors(&ground).await?);
    let server = bind(config.server.listen, "SERVER_LISTEN")?;
    let ops = bind(config.ops.listen, "OPS_LISTEN")?;
    let bound = |listener: &TcpListener| listener.local_addr().map_err(ServeError::Serve);
    let addresses = Addresses { server: bound(&server)?, ops: bound(&ops)? };
    tracing::info!("webhook on http://{}/segment, health on http://{}/readyz", addresses.server, addresses.ops);
    announce(addresses);

    let tidying = tokio::spawn(tidy(Arc::clone(store), ground.clock, config.store.deduplication_window));
    let probing = tokio::spawn(probe(Arc::clone(store)));
    let public = tokio::spawn(listen(server, http::public_router(Arc::clone(&doors)), shutdown.clone()));
    let private = tokio::spawn(listen(ops, http::ops_router(Arc::clone(&doors)), shutdown.clone()));
    doors.wake_accounts_with_pending_events();
    let failure = tokio::select! {
        () = stop => None,
        () = failed.cancelled() => Some(ServeError::WorkerPanicked),
        () = store.closed() => Some(ServeError::StoreEnded),
    };

    tracing::info!("stopping: answering requests in flight, handing back what was not sent");
    shutdown.cancel();
    tracker.close();
    tidying.abort();
    probing.abort();
    let finished = async { (public.await, private.await, tracker.wait().await) };
    if tokio::time::timeout(config.server.drain, finished).await.is_err() {
        tracing::warn!("the deadline passed; what was in flight is delivered after the next start");
    }
    store.close().await;
    tracing::info!("stopped");
    failure.map_or(Ok(()), Err)
}

/// Makes a worker and an endpoint for every configured account, and what admits the others.
async fn doors(ground: &Ground) -> Result<AccountRegistry, ServeError> {
    let Ground { config, store, .. } = ground;
    let accounts = config.every_account();
    let configured: Vec<AccountName> = accounts.iter().map(|account| account.name.clone()).collect();
    let operator = config.operator_key().ok_or(ServeError::NoApiKey)?;
    let (mut known, mut merchants) = (configured.clone(), None);
    if config.segment.accept_any_api_key {
        let mut keys = merchants::open(&config.store.seal_keys, store).await?;
        keys.retain(|(name, _)| !configured.contains(name));
        known.extend(keys.iter().map(|(name, _)| name.clone()));
        merchants = Some(Proved::new(ground.clone(), keys)?);
    } else if accounts.is_empty() {
        return Err(ServeError::NoApiKey);
    }
    warn_of_strangers(&store.waiting(), &known);
    let mut doors = Vec::new();
    for account in accounts {
        let signals = AccountSignals::default();
        let client = ConnectionPool::new(&account.base_url, config.refersion.timeout)?.client(&account.api_key)?;
        let worker = ground.worker(&account, client, signals.clone());
        doors.push(ground.door(account, signals, worker));
    }
    let doors = AccountRegistry::new(ground.store(), ground.clock, ground.runtime.shutdown.clone(), doors);
    let doors = doors.with_operator_key(operator).with_metrics(ground.metrics.clone());
    Ok(match merchants {
        Some(proved) => doors.with_merchants(Arc::new(proved)),
        None => doors,
    })
}

/// Events of an account that is no longer configured are kept, and somebody should know.
fn warn_of_strangers(waiting: &BTreeMap<String, u64>, known: &[AccountName]) {
    for (name, events) in waiting.iter().filter(|(_, events)| **events > 0) {
        if !known.iter().any(|account| account.as_str() == name) {
            tracing::warn!(account = name, events, "events wait for an account that is not configured; they are kept");
        }
    }
}

fn bind(address: SocketAddr, variable: &'static str) -> Result<TcpListener, ServeError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| ServeError::Listen { address, variable, source })
}

/// Serves until the service shuts down and every request in flight is answered.
async fn listen(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    http::listen(listener, router, http::ListenerLimits::default(), shutdown.cancelled_owned()).await;
}

async fn tidy(store: Arc<SqliteStore>, clock: Clock, window: Duration) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        if let Err(error) = store.tidy(clock.now().before(window)).await {
            tracing::debug!(%error, "cannot tidy the store");
        }
    }
}

async fn probe(store: Arc<SqliteStore>) {
    loop {
        // Err: the store says so itself, once, and `/readyz` as long as it lasts.
        let _ = store.probe().await;
        tokio::time::sleep(PROBE_EVERY).await;
    }
}
