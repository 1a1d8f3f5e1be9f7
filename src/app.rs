//! Assembly of the service: starts every component, connects them, and stops them. It is the only module that knows every concrete type.
//!
//! In: the configuration, the runtime for deliveries, and the future that ends the service. Out: the addresses of the
//! listeners once they are bound, and an error if the service cannot start or has to end.
//!
//! Start order (startup): the store is opened (an error if another process has the file open, or the tables are of a newer release); stored
//! API keys are opened, if any key is accepted (an error if one cannot be opened); each configured account gets a client, a worker and an
//! endpoint; the listeners are bound; their addresses are announced; the workers of accounts with pending events are woken, and later the
//! workers of accounts that this process becomes the owner of (`ownership`). There is no warm-up and no replay of the log: the
//! deduplication index (SQLite) and the counts of pending events are read while the store is opened, which takes longer the more events are
//! within the deduplication window; a worker reads the log ahead of its deliveries, in portions. `/readyz` answers 200 from the moment the
//! listeners are bound. Recovery after a crash is the same: events that were in flight are pending again. Accounts share the store, the
//! listeners and the clock. Configured accounts with one base URL share their connections to Refersion; those that are not configured share
//! others. `merchant_registry` admits the latter, within the limits of `api_key_verification`.
//!
//! A stop while the store is opened, which may migrate it or wait for another process that does, ends the process at once: that is as
//! harmless as a crash.
//!
//! Stop order (the graceful shutdown): new requests are refused; requests in flight are answered; the workers hand back calls that were not
//! sent, and requests in flight to Refersion finish; accounts without calls in flight are released to other processes. These steps have one
//! deadline (the grace period, or shutdown timeout: `SERVER_DRAIN` (`8s`)). After it the store is closed, which takes as long as its last
//! commits, and the last traces are sent: both together take [`AFTER_DRAIN`] at most, whatever a database or a disk does. Events that are
//! still in flight at the deadline are delivered after the next start; none is lost. If the store fails for good, or a worker or
//! another task that the service needs panics, the service ends with an error, so that its supervisor restarts it.

mod api_key_verification;
mod connect;
mod context;
mod directory;
mod error;
mod merchant_registry;
mod open_files;
mod open_store;
mod ownership;
mod reload;
mod store_api;
mod store_tasks;
mod stored_api_keys;

pub use error::ServeError;
pub use open_store::{StoreOpenError, StoreState, look_at_store, open_source, open_store, open_target};
pub use reload::{LoadConfig, Reloading};
pub use store_api::store_api;

use crate::admin::{self, Access, Admin, ReloadRequest};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::AccountName;
use crate::http::{self, AccountRegistry, MerchantAccounts};
use crate::scrape::Scraper;
use crate::series::SeriesRecorder;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::worker::Runtime;
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use context::AppContext;
use directory::Directory;
use merchant_registry::MerchantRegistry;
use ownership::start_lease_renewal;
use reload::{ConfiguredAccount, ConfiguredAccounts, Reloader, new_clients};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// The addresses of the listeners. Ports are the bound ones, also where the configuration says 0.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The listener for Segment.
    pub server: SocketAddr,
    /// The listener for operators.
    pub ops: SocketAddr,
}

/// The address at which this machine reaches a listener on `address`: loopback if the listener is on all addresses.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// The most connections that may wait to be accepted. A burst can have 100,000 requests.
const LISTEN_BACKLOG: u32 = 4_096;

/// How long closing the store may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How long sending the last traces may take.
pub const LAST_SPANS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a stop may take beyond `SERVER_DRAIN`. A supervisor that kills the process earlier loses no event.
pub const AFTER_DRAIN: Duration = CLOSE_WITHIN.saturating_add(LAST_SPANS_TIMEOUT);

/// The most operators' reloads that may wait for the running one.
const MAX_WAITING_RELOADS: usize = 4;

/// Runs the service until `stop` is ready, then drains it. Workers run on `deliveries`. `deliveries` may be the handle of another runtime:
/// then a response to Segment never waits for the computation of a delivery. `announce` is called once, when the listeners are bound.
/// `reloading` reads the configuration again.
pub async fn serve(
    config: Config,
    reloading: Reloading,
    deliveries: &Handle,
    announce: impl FnOnce(Addresses),
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (limits, mut stop) = (open_files::raise_and_divide(), pin!(stop));
    let Some(store) = open_unless_stopped(&config, stop.as_mut()).await? else { return Ok(()) };
    let metrics = Metrics::new(config.ops.metrics_accounts);
    let commits = metrics.clone();
    store.on_commit(Box::new(move |commit| commits.committed(commit.requests, commit.took)));
    let clock = store.time().await?.map_or_else(Clock::start, Clock::start_at);
    let context = AppContext::new(config, store, clock, metrics, Runtime::new(deliveries.clone()));
    let (config, store, runtime) = (&context.config(), &context.store, &context.runtime);
    let (registry, merchants, accounts) = new_registry(&context).await?;
    let registry = Arc::new(registry);
    let server = bind(config.server.listen, "SERVER_LISTEN")?;
    let ops = bind(config.ops.listen, "OPS_LISTEN")?;
    let bound = |listener: &TcpListener| listener.local_addr().map_err(ServeError::Serve);
    let addresses = Addresses { server: bound(&server)?, ops: bound(&ops)? };
    tracing::info!("webhook on http://{}/segment, health on http://{}/readyz", addresses.server, addresses.ops);
    let pages = connect::pages(&context, addresses)?;
    announce(addresses);

    let windows = (config.store.deduplication_window, config.store.ledger_window);
    let compaction = tokio::spawn(runtime.essential(store_tasks::compact(Arc::clone(store), context.clock, windows)));
    let ledger =
        tokio::spawn(runtime.essential(store_tasks::write_ledger(Arc::clone(store), runtime.shutdown.clone())));
    let probing = tokio::spawn(runtime.essential(store_tasks::probe(Arc::clone(store))));
    let router = http::public_router(Arc::clone(&registry), pages);
    let public =
        http::listen(server, move |_| router.clone(), limits.public, runtime.shutdown.clone().cancelled_owned());
    let public = tokio::spawn(runtime.essential(public));
    let series = SeriesRecorder::new(context.metrics.clone(), Arc::clone(store), context.clock);
    let sampling = tokio::spawn(series.clone().run()); // of charts alone
    let (reload, requests) = mpsc::channel(MAX_WAITING_RELOADS);
    let operators = admin_router(&context, &registry, series, reload, addresses.ops);
    // The handlers of the operators' listener see the address of the peer.
    let of_peer = move |peer: SocketAddr| operators.clone().layer(Extension(ConnectInfo(peer)));
    let private = http::listen(ops, of_peer, limits.operators, runtime.shutdown.clone().cancelled_owned());
    let private = tokio::spawn(runtime.essential(private));
    let leases = start_lease_renewal(runtime, Arc::clone(store), Arc::clone(&registry));
    registry.wake_accounts_with_pending_events();
    let reloader = Reloader { reloading, requests, context: context.clone(), registry, merchants, accounts };
    let reloads = tokio::spawn(runtime.essential(reloader.run()));
    let failure = tokio::select! {
        () = stop => None,
        () = runtime.failed.cancelled() => Some(ServeError::Panicked),
        () = store.closed() => Some(ServeError::StoreFailed),
    };

    tracing::info!("stopping: answering requests in flight, handing back calls that were not sent");
    runtime.shutdown.cancel();
    runtime.tracker.close();
    sampling.abort();
    for task in [reloads, compaction, probing] {
        task.abort();
    }
    let finished = async { (public.await, private.await, ledger.await, runtime.tracker.wait().await) };
    if tokio::time::timeout(config.server.drain, finished).await.is_err() {
        tracing::warn!("the deadline passed; events in flight are delivered after the next start");
    }
    if let Some(leases) = leases {
        leases.abort();
    }
    close(store.as_ref()).await;
    tracing::info!("stopped");
    failure.map_or(Ok(()), Err)
}

/// Opens the store; `None` if `stop` is ready before. A migration may take minutes, and that of another process is waited for.
async fn open_unless_stopped(
    config: &Config,
    stop: impl Future<Output = ()>,
) -> Result<Option<Arc<dyn Store>>, StoreOpenError> {
    tokio::select! {
        opened = open_store(config) => opened.map(Some),
        () = stop => {
            tracing::info!("stopped before the store was open");
            Ok(None)
        }
    }
}

/// Closes the store, unless the database or the disk takes too long.
async fn close(store: &dyn Store) {
    if tokio::time::timeout(CLOSE_WITHIN, store.close()).await.is_err() {
        tracing::warn!(
            "the store could not be closed in time; nothing is lost, and the next start reads it as after a crash"
        );
    }
}

/// The registry of all accounts: a worker and an endpoint for each configured account, and the registry of merchants' accounts
/// if any API key is accepted.
async fn new_registry(context: &AppContext) -> Result<NewAccounts, ServeError> {
    let (config, store) = (context.config(), &context.store);
    let accounts = config.every_account();
    let configured: Vec<AccountName> = accounts.iter().map(|account| account.name.clone()).collect();
    let (mut known, mut merchants) = (configured.clone(), None);
    if config.segment.accept_any_api_key {
        let mut api_keys = stored_api_keys::open_stored_api_keys(&config.store.seal_keys, &**store).await?;
        api_keys.retain(|(name, _)| !configured.contains(name));
        known.extend(api_keys.iter().map(|(name, _)| name.clone()));
        merchants = Some(MerchantRegistry::new(context.clone(), api_keys)?);
    } else if accounts.is_empty() {
        return Err(ServeError::NoApiKey);
    }
    warn_about_unconfigured_accounts(&store.pending(), &known);
    let (mut endpoints, mut workers) = (Vec::new(), ConfiguredAccounts::new());
    let clients = new_clients(&accounts, config.refersion.timeout)?;
    for (account, client) in accounts.into_iter().zip(clients) {
        let (name, known) = (account.name.clone(), ConfiguredAccount::new(context, &account, client));
        endpoints.push(context.new_endpoint(account, &known.worker));
        workers.insert(name, known);
    }
    let AppContext { clock, metrics, runtime, .. } = context;
    let admitting = merchants.clone().map(|merchants| Arc::new(merchants) as Arc<dyn MerchantAccounts>);
    let (store, shutdown) = (Arc::clone(store), runtime.shutdown.clone());
    let registry = AccountRegistry::new(store, *clock, metrics.clone(), shutdown, endpoints, admitting);
    Ok((registry, merchants, workers))
}

/// The accounts that have a worker or may get one.
type NewAccounts = (AccountRegistry, Option<MerchantRegistry>, ConfiguredAccounts);

/// The routes of the operators' listener, which is bound to `address`.
fn admin_router(
    context: &AppContext,
    registry: &Arc<AccountRegistry>,
    series: SeriesRecorder,
    reload: mpsc::Sender<ReloadRequest>,
    address: SocketAddr,
) -> Router {
    let config = context.config();
    let admin = Admin {
        store: Arc::clone(&context.store),
        clock: context.clock,
        started_at: context.clock.now(),
        metrics: context.metrics.clone(),
        scraper: Scraper::new(context.metrics.clone(), Arc::clone(&context.store)),
        series,
        reload,
        accounts: Arc::new(Directory { context: context.clone(), registry: Arc::clone(registry) }),
        shutdown: context.runtime.shutdown.clone(),
    };
    admin::router(Arc::new(admin), Access::new(config.ops.token.clone(), address))
}

/// Logs a warning for each account with pending events that is not in `known`: its events are kept, but not delivered. `pending` holds the
/// number of pending events for each account's name.
fn warn_about_unconfigured_accounts(pending: &BTreeMap<String, u64>, known: &[AccountName]) {
    for (name, events) in pending.iter().filter(|(_, events)| **events > 0) {
        if !known.iter().any(|account| account.as_str() == name) {
            tracing::warn!(
                account = %name,
                events,
                "an account that is not configured has pending events; they are kept"
            );
        }
    }
}

fn bind(address: SocketAddr, variable: &'static str) -> Result<TcpListener, ServeError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(LISTEN_BACKLOG)
    };
    listen().map_err(|source| ServeError::Listen { address, variable, source })
}
