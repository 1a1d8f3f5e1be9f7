//! The only place that knows every concrete type: what is started in which order, and stopped in which.
//!
//! Start: store (refused if another process has it) → client → listeners bound → addresses announced → worker → doors open.
//! Stop, under one deadline: doors refuse, requests in flight are answered, the worker hands back what it has not begun,
//! the store is closed. What the deadline cuts off is taken up at the next start; nothing of it is lost.

use crate::config::{Config, StoreUrl};
use crate::domain::{AccountName, ApiKey, Timestamp};
use crate::http::{self, Door};
use crate::notice::Notice;
use crate::queue::{Queue, SqliteOpenError, SqliteQueue};
use crate::refersion::{self, BuildError, Client};
use crate::segment::Trust;
use crate::worker::{self, Worker};
use axum::Router;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;

/// Why the service cannot run. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration holds no key. [`Config::load`] finds that out before, except for a dry run.
    #[error("REFERSION_API_KEY is not set")]
    NoApiKey,
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] SqliteOpenError),
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
    /// The worker ended without being told to: a bug. Events would be taken in and never delivered.
    #[error("the worker ended by itself; what waits is taken up at the next start")]
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

/// How often settled events' space is given back and old event ids are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// Runs the service until `stop` is ready, then drains it. `announce` is called once, when the listeners are bound.
pub async fn serve(
    config: Config,
    announce: impl FnOnce(Addresses),
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let StoreUrl::Sqlite(path) = &config.store.url;
    let queue: Arc<dyn Queue> = Arc::new(SqliteQueue::open(path, config.delivery.max_backlog)?);
    let notice = Notice::default();
    let api_key = config.refersion.api_key.clone().ok_or(ServeError::NoApiKey)?;
    let worker = worker(&config, api_key.clone(), Arc::clone(&queue), notice.clone())?;
    let door = Arc::new(door(&config, api_key, Arc::clone(&queue), notice.clone()));
    let server = bind(config.server.listen, "SERVER_LISTEN").await?;
    let ops = bind(config.ops.listen, "OPS_LISTEN").await?;
    let bound = |listener: &TcpListener| listener.local_addr().map_err(ServeError::Serve);
    let addresses = Addresses { server: bound(&server)?, ops: bound(&ops)? };
    tracing::info!("webhook on http://{}/segment, health on http://{}/readyz", addresses.server, addresses.ops);
    announce(addresses);

    let tidying = tokio::spawn(tidy(Arc::clone(&queue), config.store.deduplication_window));
    let mut working = tokio::spawn(worker.run());
    let public = tokio::spawn(listen(server, http::public(Arc::clone(&door)), notice.clone()));
    let private = tokio::spawn(listen(ops, http::ops(door), notice.clone()));
    tokio::select! {
        () = stop => {}
        _ = &mut working => {
            queue.close().await;
            return Err(ServeError::WorkerEnded);
        }
    }

    tracing::info!("stopping: answering what is in flight, handing back what waits");
    notice.drain();
    tidying.abort();
    let finished = async { (public.await, private.await, working.await) };
    if tokio::time::timeout(config.server.drain, finished).await.is_err() {
        tracing::warn!("the deadline passed; what was under way is taken up at the next start");
    }
    queue.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn worker(config: &Config, api_key: ApiKey, queue: Arc<dyn Queue>, notice: Notice) -> Result<Worker, BuildError> {
    let refersion = &config.refersion;
    let client = Client::new(refersion::Settings {
        base_url: refersion.base_url.clone(),
        api_key,
        timeout: refersion.timeout,
        max_requests_per_second: refersion.max_requests_per_second,
    })?;
    let settings = worker::Settings {
        account: AccountName::main(),
        client,
        rules: config.rules.clone(),
        policy: config.delivery.policy,
        backoff: config.delivery.backoff,
        max_age: config.delivery.max_age,
        concurrency: refersion.concurrency.get(),
        lease: lease(refersion),
    };
    Ok(Worker::new(settings, queue, notice))
}

/// Longer than any call can take: its turn under the ceiling of requests per second, then its timeout, then some.
fn lease(refersion: &crate::config::Refersion) -> Duration {
    let turns = u32::try_from(refersion.concurrency.get()).unwrap_or(u32::MAX);
    let per_turn = refersion
        .max_requests_per_second
        .map_or(Duration::ZERO, |rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX));
    Duration::from_secs(60)
        .saturating_add(refersion.timeout.saturating_mul(2))
        .saturating_add(per_turn.saturating_mul(turns))
}

fn door(config: &Config, api_key: ApiKey, queue: Arc<dyn Queue>, notice: Notice) -> Door {
    Door {
        account: AccountName::main(),
        trust: Trust::new(api_key, config.segment.shared_secrets.clone()),
        rules: config.rules.clone(),
        queue,
        notice,
        wait: config.server.wait,
        at_once: config.refersion.concurrency.get() as u64,
    }
}

async fn bind(address: SocketAddr, variable: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, variable, source })
}

/// Serves until the service drains and every request in flight is answered.
async fn listen(listener: TcpListener, router: Router, notice: Notice) {
    http::listen(listener, router, http::Limits::default(), notice.until_draining()).await;
}

async fn tidy(queue: Arc<dyn Queue>, window: Duration) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        let now = Timestamp::from(SystemTime::now());
        let forget_before = Timestamp(now.0.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX)));
        if let Err(error) = queue.tidy(forget_before).await {
            tracing::warn!(%error, "cannot tidy the store");
        }
    }
}
