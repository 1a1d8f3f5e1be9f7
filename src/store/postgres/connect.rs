//! Connecting to PostgreSQL: the address, the TLS settings, and the checks that a server must pass.
//!
//! In: a [`PostgresUrl`]. Out: sessions. Invariants: a server that only reads (a standby) is refused, so of several hosts the primary is
//! used; each host has its own deadline, so a host that accepts a connection and is then silent does not prevent the next attempt; a peer
//! that becomes silent later is noticed within seconds (TCP keepalive, and a bound on unacknowledged bytes); the password is in no error.

use super::connect_error::{ConnectError, HostError};
use super::error::text;
use super::session::Session;
use super::tls::{self, TlsError};
use super::url::{PostgresUrl, host_names};
use std::future::poll_fn;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

/// How much longer than `connect_timeout` TLS, authentication and settings may take.
const SETUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes sessions.
pub struct Connector {
    /// The configuration of each host, in their order.
    hosts: Vec<Config>,
    tls: MakeRustlsConnect,
    /// See [`PostgresUrl::is_pooled`].
    is_pooled: bool,
    listens: Option<ListenChannel>,
}

/// The channel that a session listens to, and the receiver of the texts of notifications.
#[derive(Clone)]
struct ListenChannel {
    channel: String,
    notifications: UnboundedSender<String>,
}

impl Connector {
    /// A connector to the server of `url`.
    pub fn new(url: &PostgresUrl) -> Result<Self, TlsError> {
        let tls = tls::connector(url.verification, url.root_certificates.as_deref())?;
        Ok(Self { hosts: url.each_host(), tls, is_pooled: url.is_pooled, listens: None })
    }

    /// A connector to the same server whose sessions listen to `channel` and send the texts of its notifications to `notifications`. Behind
    /// a pooler no session can be notified.
    pub fn listening(&self, channel: String, notifications: UnboundedSender<String>) -> Self {
        let (hosts, tls, listens) =
            (self.hosts.clone(), self.tls.clone(), Some(ListenChannel { channel, notifications }));
        Self { hosts, tls, is_pooled: self.is_pooled, listens }
    }

    /// Opens a session with the first usable host.
    pub async fn connect(&self) -> Result<Session, ConnectError> {
        let mut errors = Vec::new();
        for config in &self.hosts {
            let deadline = config.get_connect_timeout().map_or(SETUP_TIMEOUT, |timeout| *timeout + SETUP_TIMEOUT);
            let source = match timeout(deadline, self.open(config)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            errors.push(HostError { host: host_names(config), source });
        }
        Err(ConnectError(errors))
    }

    async fn open(&self, config: &Config) -> Result<Session, Error> {
        let (client, mut connection) = config.connect(self.tls.clone()).await?;
        let ended = CancellationToken::new();
        let cancel_at_end = ended.clone().drop_guard();
        let listens = self.listens.clone();
        let notifications = listens.clone().map(|listens| listens.notifications);
        tokio::spawn(async move {
            let _cancel_at_end = cancel_at_end;
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(notification)) => {
                        // Err: the caller has stopped waiting.
                        let _ = notifications
                            .as_ref()
                            .map(|notifications| notifications.send(notification.payload().to_owned()));
                    }
                    Ok(_) => {} // a notice
                    Err(error) => {
                        tracing::debug!(error = text(&error), "a connection to PostgreSQL ended");
                        return;
                    }
                }
            }
        });
        let session = Session::open(client, self.is_pooled, ended).await?;
        if let Some(listens) = listens.filter(|_| !self.is_pooled) {
            session.run_statements(&format!("LISTEN {}", listens.channel)).await?;
        }
        Ok(session)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
