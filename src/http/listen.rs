//! Serves a listener: accepts connections and limits what each may cost before a request is authenticated.
//!
//! In: a bound listener, and a router for each peer. Out: responses, until the service shuts down; then every request in flight is answered
//! and every connection is closed. Invariants: a connection whose request header does not arrive in time, or is too large, is closed; the
//! number of open connections is limited; a further one is served in place of the oldest one that has no request in flight, so that idle
//! connections keep nobody out, and waits in the system's backlog only while all have one; an error of one connection ends no other; a
//! client that closes its side after its request (half-close) is answered. The accept loop is our own because `axum::serve` (0.8) limits
//! neither the time for a header nor the connections. Deliberately absent: TLS and HTTP/2, which a proxy terminates; limits of bodies
//! (`body`); the list of open connections ([`super::open_connections`]).

use super::open_connections::OpenConnections;
use axum::Router;
use axum::serve::{Listener as _, ListenerExt as _};
use hyper::server::conn::http1::Builder;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// The limits of one listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// How long a connection may take for the header of its next request, including the idle time before it.
    pub header_timeout: Duration,
    /// The most open connections.
    pub max_connections: usize,
}

impl Default for ListenerLimits {
    /// Limits for proxies that keep an idle connection for 60 s (nginx, AWS's load balancers). A proxy must close it first, because a
    /// request that is sent while this side closes the connection fails. 12,000 connections with the largest headers need 384 MB.
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(75), max_connections: 12_000 }
    }
}

impl ListenerLimits {
    /// The usual limits, with `max_connections` connections if these are fewer, and at least one.
    #[must_use]
    pub fn with_max_connections(max_connections: usize) -> Self {
        let usual = Self::default();
        Self { max_connections: usual.max_connections.min(max_connections).max(1), ..usual }
    }
}

/// The largest header of a request, and the most of a body that is read at once, in bytes.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Serves until `shutdown` is ready and every request in flight is answered. `router` is called once for each connection, with the
/// address of its peer.
pub async fn listen(
    listener: TcpListener,
    router: impl Fn(SocketAddr) -> Router,
    limits: ListenerLimits,
    shutdown: impl Future<Output = ()>,
) {
    let mut http = Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(MAX_HEADER_BYTES);
    // Without this, a client that closes its side after its request would count as disconnected, and would get no answer.
    http.half_close(true);
    let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0))); // for a warning
    let connections = OpenConnections::new(limits.max_connections, address);
    // Err: the peer has closed the connection.
    let mut listener = listener.tap_io(|stream: &mut TcpStream| _ = stream.set_nodelay(true));
    let mut shutdown = pin!(shutdown);
    loop {
        let accept = async {
            let (stream, peer) = listener.accept().await;
            (stream, peer, connections.open().await)
        };
        let (stream, peer, open) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        let (router, state) = (TowerToHyperService::new(router(peer)), open.state());
        let service = service_fn(move |request| {
            let (in_flight, response) = (state.begin_request(), router.call(request));
            async move {
                let response = response.await;
                drop(in_flight);
                response
            }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = open.close_requested() => {
                    connection.as_mut().graceful_shutdown();
                    open.until_ended(connection).await
                }
            };
            if let Some(Err(error)) = ended {
                tracing::trace!(%error, "a connection failed");
            }
        });
    }
    drop(listener);
    connections.close_all().await;
}
