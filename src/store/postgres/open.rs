//! Opening the store: it connects, migrates the tables, and counts their rows.

use super::append::Appender;
use super::connect::Connector;
use super::connect_error::ConnectError;
use super::connection::Connection;
use super::count;
use super::listen;
use super::migrate::{self, MigrateError};
use super::outcomes::OutcomeWaiters;
use super::ownership::{LeaseTimes, Replica};
use super::session::Session;
use super::settle::Settler;
use super::shared::Shared;
use super::tls::TlsError;
use super::{PostgresStore, PostgresUrl};
use crate::domain::HashKey;
use crate::scheduling::ReplicaId;
use crate::store::{StoreError, StoreLimits};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOpenError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server cannot be reached, or refuses this user.
    #[error("cannot connect to PostgreSQL at {location}: {source}")]
    Connect {
        /// The hosts and the database.
        location: String,
        /// The errors of the hosts.
        source: ConnectError,
    },
    /// The tables cannot be used.
    #[error("cannot use the PostgreSQL database {location}: {source}")]
    Migrate {
        /// The hosts and the database.
        location: String,
        /// Why.
        source: MigrateError,
    },
    /// The tables cannot be read.
    #[error("cannot read the PostgreSQL database {location}: {source}")]
    Read {
        /// The hosts and the database.
        location: String,
        /// Why.
        source: StoreError,
    },
}

/// Connects to the database. Creates the tables if there are none, and migrates them if they are of an earlier release. Also returns the
/// hash key of the store.
async fn connect_and_migrate(url: &PostgresUrl) -> Result<(Connector, Session, [u8; 32]), PostgresOpenError> {
    let connector = Connector::new(url)?;
    let connect = |source| PostgresOpenError::Connect { location: url.location(), source };
    let session = connector.connect().await.map_err(connect)?;
    let migrated = migrate::migrate(&session).await;
    let hash_key = migrated.map_err(|source| PostgresOpenError::Migrate { location: url.location(), source })?;
    Ok((connector, session, hash_key))
}

/// A session with a database whose tables are of this release's version.
pub async fn session(url: &PostgresUrl) -> Result<Session, PostgresOpenError> {
    Ok(connect_and_migrate(url).await?.1)
}

impl PostgresStore {
    /// Opens the database, beside other processes that may have it open; creates the tables if there are none, and migrates them
    /// if they are of an earlier release.
    ///
    /// `lease`: the time without a heartbeat after which other processes take over the accounts of this one; at least two seconds.
    pub async fn open(url: &PostgresUrl, limits: StoreLimits, lease: Duration) -> Result<Self, PostgresOpenError> {
        let (connector, session, hash_key) = connect_and_migrate(url).await?;
        let connector = Arc::new(connector);
        let connect = |source| PostgresOpenError::Connect { location: url.location(), source };
        let read = |source| PostgresOpenError::Read { location: url.location(), source };
        let former = session.query_opt("SELECT 1 FROM meta WHERE name = 'former_ids'", &[]).await;
        let former = former.map_err(|error| read(error.into()))?;
        let (hash, me) = (HashKey::new(&hash_key), ReplicaId(rand::random()));
        let shared = Arc::new(Shared::new(hash, limits.max_backlog, former.is_some(), me));
        let channel = listen::channel(&session).await.map_err(|error| read(error.into()))?;
        let another = connector.connect().await.map_err(connect)?;
        let settler = Arc::new(Settler(Arc::clone(&shared)));
        let owner = Arc::new(Connection::start("owner", Arc::clone(&connector), session, Arc::clone(&settler)));
        let appender = Arc::new(Appender(Arc::clone(&shared)));
        let append = Connection::start("append", Arc::clone(&connector), another, appender);
        count::count(&shared, &owner).await.map_err(read)?;
        let (sender, notifications) = unbounded_channel();
        let listening = Arc::new(connector.listening(channel.clone(), sender));
        let third = listening.connect().await.map_err(connect)?;
        let listen = Arc::new(Connection::start("listen", listening, third, settler));
        let replica = Replica::new(LeaseTimes(lease), notifications);
        let (outcomes, mut tasks) = (Arc::<OutcomeWaiters>::default(), JoinSet::new());
        tasks.spawn(count::keep_counting(Arc::clone(&shared), Arc::downgrade(&owner)));
        let (for_hints, connection) = (Arc::clone(&shared), Arc::clone(&listen));
        tasks.spawn(async move { for_hints.hints.send(&connection, &channel).await });
        tasks.spawn(Arc::clone(&outcomes).poll(Arc::clone(&listen)));
        Ok(Self {
            connector,
            shared,
            append,
            owner,
            listen,
            replica,
            outcomes,
            tasks: Mutex::new(tasks),
            compaction: Mutex::default(),
        })
    }
}
