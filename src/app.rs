//! The only place that knows every concrete type: what is started in which order, and stopped in which.
//!
//! Start: store (refused if another process has it, mended if the clock was set back) → kept API keys opened, where any key is
//! accepted (refused if one does not open) → per account a client, a worker and a door → listeners bound → addresses announced
//! → workers → doors open. Accounts share the store, the listeners and the clock, and nothing else; those that are not
//! configured share connections to Refersion too. `merchants` admits these, within the bounds of `proofs`.
//! Stop, under one deadline: doors refuse, requests in flight are answered, the workers hand back what they have not begun,
//! the store is closed. What the deadline cuts off is taken up at the next start; nothing of it is lost.

mod ground;
mod merchants;
mod proofs;

use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::domain::AccountName;
use crate::http::{self, Doors};
use crate::notice::Notice;
use crate::queue::{Queue, QueueError, SqliteOpenError, SqliteQueue};
use crate::refersion::{BuildError, Route};
use crate::telemetry::Metrics;
use crate::worker::Worker;
use axum::Router;
use ground::Ground;
use merchants::Proved;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

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
    Queue(#[from] QueueError),
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
    /// The worker of an account ended without being told to: a bug. Events would be taken in and never delivered.
    #[error("a worker ended by itself; what waits is taken up at the next start")]
    WorkerEnded,
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

/// Who serves: the doors, and the workers behind them.
struct House {
    doors: Doors,
    notices: Vec<Notice>,
    workers: Vec<Worker>,
    merchants: Option<Proved>,
    hired: UnboundedReceiver<Worker>,
}

/// Runs the service until `stop` is ready, then drains it. Workers run on `deliveries`, which may be another runtime's: then an
/// answer to Segment never waits for a delivery that thinks. `announce` is called once, when the listeners are bound.
pub async fn serve(
    config: Config,
    deliveries: &Handle,
    announce: impl FnOnce(Addresses),
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let StoreUrl::Sqlite(path) = &config.store.url;
    let queue = Arc::new(SqliteQueue::open(path, config.delivery.max_backlog)?);
    let clock = Clock::start();
    queue.mend(clock.now()).await?;
    let ground = Ground { config: Arc::new(config), queue, clock, metrics: Metrics::default() };
    let (config, queue) = (&ground.config, &ground.queue);
    let stopping = Notice::default();
    let House { doors, notices, workers, merchants, mut hired } = house(&ground, &stopping).await?;
    let doors = Arc::new(doors);
    let server = bind(config.server.listen, "SERVER_LISTEN")?;
    let ops = bind(config.ops.listen, "OPS_LISTEN")?;
    let bound = |listener: &TcpListener| listener.local_addr().map_err(ServeError::Serve);
    let addresses = Addresses { server: bound(&server)?, ops: bound(&ops)? };
    tracing::info!("webhook on http://{}/segment, health on http://{}/readyz", addresses.server, addresses.ops);
    announce(addresses);

    let tidying = tokio::spawn(tidy(Arc::clone(queue), clock, config.store.deduplication_window));
    let mut working: JoinSet<()> = JoinSet::new();
    for worker in workers {
        working.spawn_on(worker.run(), deliveries);
    }
    let public = tokio::spawn(listen(server, http::public(Arc::clone(&doors)), stopping.clone()));
    let private = tokio::spawn(listen(ops, http::ops(doors), stopping.clone()));
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(worker) = hired.recv() => drop(working.spawn_on(worker.run(), deliveries)),
            Some(_) = working.join_next() => {
                queue.close().await;
                return Err(ServeError::WorkerEnded);
            }
        }
    }

    tracing::info!("stopping: answering what is in flight, handing back what waits");
    stopping.drain();
    notices.iter().for_each(Notice::drain);
    merchants.iter().for_each(Proved::drain);
    tidying.abort();
    let finished = async { (public.await, private.await, while working.join_next().await.is_some() {}) };
    if tokio::time::timeout(config.server.drain, finished).await.is_err() {
        tracing::warn!("the deadline passed; what was under way is taken up at the next start");
    }
    queue.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Makes a worker and a door for every configured account, and what admits the others.
async fn house(ground: &Ground, stopping: &Notice) -> Result<House, ServeError> {
    let Ground { config, queue, .. } = ground;
    let accounts = config.every_account();
    let configured: Vec<AccountName> = accounts.iter().map(|account| account.name.clone()).collect();
    let operator = config.operator_key().ok_or(ServeError::NoApiKey)?;
    let (hire, hired) = unbounded_channel();
    let waiting = queue.waiting().await?;
    let (mut known, mut merchants) = (configured.clone(), None);
    if config.segment.accept_any_api_key {
        let mut keys = merchants::open(&config.store.seal_keys, queue).await?;
        keys.retain(|(name, _)| !configured.contains(name));
        known.extend(keys.iter().map(|(name, _)| name.clone()));
        let proved = Proved::new(ground.clone(), keys, hire)?;
        proved.work(&waiting)?;
        merchants = Some(proved);
    } else if accounts.is_empty() {
        return Err(ServeError::NoApiKey);
    }
    warn_of_strangers(&waiting, &known);
    let (mut notices, mut workers, mut doors) = (Vec::new(), Vec::new(), Vec::new());
    for account in accounts {
        let notice = Notice::default();
        let route = Route::new(&account.base_url, config.refersion.timeout)?;
        let client = route.client(&account.api_key, account.max_requests_per_second)?;
        workers.push(ground.worker(&account, client, notice.clone()));
        doors.push(ground.door(account, notice.clone()));
        notices.push(notice);
    }
    let doors = Doors::new(ground.store(), ground.clock, stopping.clone(), doors);
    let doors = doors.operated_with(operator).counted_by(ground.metrics.clone());
    let doors = match &merchants {
        Some(proved) => doors.and(Arc::new(proved.clone())),
        None => doors,
    };
    Ok(House { doors, notices, workers, merchants, hired })
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

/// Serves until the service drains and every request in flight is answered.
async fn listen(listener: TcpListener, router: Router, notice: Notice) {
    http::listen(listener, router, http::Limits::default(), notice.until_draining()).await;
}

async fn tidy(queue: Arc<SqliteQueue>, clock: Clock, window: Duration) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        if let Err(error) = queue.tidy(clock.now().before(window)).await {
            tracing::warn!(%error, "cannot tidy the store");
        }
    }
}
