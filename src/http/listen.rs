//! Serving a listener: what a connection may cost before its request is authenticated.
//!
//! In go a bound listener and a router, out come answers until told to stop; then requests in flight are answered and every
//! connection is closed. Invariants: a head that does not arrive in time, or is too large, costs its sender the connection;
//! only so many connections are open at once, and further ones wait in the system's backlog; an error of one connection, or
//! of accepting one, ends no other. Deliberately absent: TLS and HTTP/2, which a proxy terminates; limits of bodies
//! (`body`).

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// How long a connection may take to send the head of its next request, the idle time before it included.
    pub header_timeout: Duration,
    /// How many connections are open at once.
    pub max_connections: usize,
}

impl Default for ListenerLimits {
    /// Proxies keep a connection idle for 60 s (nginx, AWS's load balancers) and must be the first to close it: a request
    /// on its way to a connection that is being closed fails. 12,000 connections with the largest of heads are 384 MB.
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(75), max_connections: 12_000 }
    }
}

/// The largest head of a request, and how much of a body is read at once.
const MAX_HEAD: usize = 32 * 1024;
/// How long to leave a listener alone that cannot accept: most likely, there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop` is ready and every request in flight is answered.
pub async fn listen(listener: TcpListener, router: Router, limits: ListenerLimits, stop: impl Future<Output = ()>) {
    let mut http = Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(MAX_HEAD);
    let room = Arc::new(Semaphore::new(limits.max_connections));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let (stream, place) = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = &mut stop => break,
        };
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection failed");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Err: the semaphore is never closed.
    let place = Arc::clone(room).acquire_owned().await.ok();
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Err: the peer has gone already.
                let _ = stream.set_nodelay(true);
                return (stream, place);
            }
            Err(error) if of_the_peer(&error) => {}
            Err(error) => {
                if !failing {
                    tracing::error!(%error, "cannot accept connections; trying on");
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the connection failed, and not the listener.
fn of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
