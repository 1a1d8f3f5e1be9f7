//! The state of a database, for the command `check`: its tables as a start would find them, and the rights of its user. Changes nothing.
//!
//! In: a URL. Out: the version of the tables, the missing rights, the counts and the stored API keys. Invariant: the session only reads, so
//! nothing is migrated under processes of an earlier release.

use super::connect::Connector;
use super::migrate::{self, Tables};
use super::open::PostgresOpenError;
use super::operators::kept_api_keys;
use super::session::Session;
use super::{PostgresStore, PostgresUrl, rights};
use crate::domain::SealedApiKey;
use tokio_postgres::Error;

/// The state that a start would find.
#[derive(Debug)]
pub struct DatabaseState {
    /// The hosts and the database.
    pub location: String,
    /// The version of the tables.
    pub tables: Tables,
    /// The missing rights, in words; empty if there are none.
    pub missing_rights: Vec<String>,
    /// The content of the tables, if they are of this release or a newer one.
    pub content: Option<DatabaseContent>,
}

/// The content of the tables.
#[derive(Debug)]
pub struct DatabaseContent {
    /// The number of pending events.
    pub pending: u64,
    /// The number of dead letters.
    pub dead: u64,
    /// The stored API keys, sealed.
    pub api_keys: Vec<SealedApiKey>,
}

impl PostgresStore {
    /// Examines the database of `url` as a start would, but neither makes tables nor migrates them.
    pub async fn look(url: &PostgresUrl) -> Result<DatabaseState, PostgresOpenError> {
        let location = || url.location();
        let session = Connector::new(url)?.connect().await;
        let session = session.map_err(|source| PostgresOpenError::Connect { location: location(), source })?;
        let read = |error: Error| PostgresOpenError::Read { location: location(), source: error.into() };
        if !session.is_pooled() {
            session.run_statements("SET default_transaction_read_only = on").await.map_err(read)?;
        }
        let tables = migrate::tables(&session)
            .await
            .map_err(|source| PostgresOpenError::Migrate { location: location(), source })?;
        let (missing_rights, content) = match tables {
            Tables::Absent | Tables::Older => (rights::missing_to_migrate(&session).await.map_err(read)?, None),
            Tables::Current => {
                let missing = rights::missing_to_use(&session).await.map_err(read)?;
                let content = if missing.is_empty() { Some(content(&session).await.map_err(read)?) } else { None };
                (missing, content)
            }
        };
        Ok(DatabaseState { location: location(), tables, missing_rights, content })
    }
}

async fn content(session: &Session) -> Result<DatabaseContent, Error> {
    let sql = "SELECT (SELECT count(*) FROM log WHERE outcome IS NULL), (SELECT count(*) FROM dead_letters)";
    let row = session.query_one(sql, &[]).await?;
    let (pending, dead) = (row.get::<_, i64>(0).unsigned_abs(), row.get::<_, i64>(1).unsigned_abs());
    Ok(DatabaseContent { pending, dead, api_keys: kept_api_keys(session).await? })
}
