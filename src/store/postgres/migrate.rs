//! Migrations: creates the tables, or brings them to this release's version.
//!
//! In: a session. Out: the tables, and the store's hash key. Invariants: one process migrates at a time, under a lock that is tried
//! repeatedly instead of waited for, so no statement hangs; each migration is one transaction together with its version; newer tables are
//! used unchanged, unless they state that this release is too old; tables of another program are left alone. If there is nothing to
//! migrate, nothing is written, and no right to create tables is needed.

use super::error::text;
use super::schema::{META, migrations, schema_of_tables, tables_after, version};
use super::session::Session;
use futures_util::future::BoxFuture;
use rand::Rng;
use std::time::Duration;
use tokio::time::sleep;
use tokio_postgres::Error;

/// The lock of the process that migrates, for each schema: "refe" in ASCII.
const LOCK: i32 = 0x7265_6665;

/// How often the lock is tried, and the wait between two tries: another process may be migrating many rows.
const TRIES: u32 = 1_500;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// The oldest supported server: PostgreSQL 14.
const OLDEST_SERVER: i32 = 140_000;

/// Until the transaction ends, tables are made beside those that exist already, even if another schema stands first in `search_path`.
const IN_SCHEMA_OF_TABLES: &str = concat!(
    "SELECT set_config('search_path', quote_ident(nspname), true) FROM pg_namespace WHERE oid = ",
    schema_of_tables!()
);

/// Why the tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// PostgreSQL failed or refused.
    #[error("{}", text(.0))]
    Failed(#[from] Error),
    /// The tables are of a newer release, and state that this one cannot work with them.
    #[error(
        "its tables were made by a newer release (version {found}), which this one (version {}) cannot work with; \
         start that release instead",
        version()
    )]
    Newer {
        /// Their version.
        found: i64,
    },
    /// Another process holds the lock.
    #[error("another process has been migrating its tables for five minutes; wait for it, or end it")]
    Locked,
    /// The server is too old.
    #[error("PostgreSQL {0} is too old; 14 is the oldest that is supported")]
    OldServer(String),
    /// The database cannot hold every text.
    #[error("the database has the encoding {0}; it must be UTF8")]
    Encoding(String),
    /// Another program uses the schema.
    #[error(
        "its schema has tables of another program by the names that a start would make ({}); use another database, or another schema, \
         which the URL names by `options=-c%20search_path%3DNAME`",
        .0.join(", ")
    )]
    NamesTaken(Vec<String>),
    /// No schema of `search_path` exists.
    #[error("none of the schemas in search_path exists; create the schema, or correct search_path")]
    NoSchema,
    /// A row of `meta` cannot be read.
    #[error("the row {0} of its table meta is damaged")]
    Damaged(&'static str),
}

/// Brings the tables to this release's version; returns the store's hash key.
pub async fn migrate(session: &Session) -> Result<[u8; 32], MigrateError> {
    check_server(session).await?;
    for attempt in 0..TRIES {
        let found = found(session).await?;
        check(&found)?;
        if found.version >= version() {
            return found.hash_key.ok_or(MigrateError::Damaged("hash_key"));
        }
        session
            .run_statements("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
            .await?;
        let migrated = under_lock(session).await;
        session.run_statements(if matches!(migrated, Ok(true)) { "COMMIT" } else { "ROLLBACK" }).await?;
        if !migrated? {
            if attempt == 0 {
                tracing::info!("another process is migrating the tables; waiting for it");
            }
            sleep(BETWEEN_TRIES).await;
        }
    }
    Err(MigrateError::Locked)
}

/// The tables of a database, compared with this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// There are no tables.
    Absent,
    /// Tables of an earlier release, which a start migrates.
    Older,
    /// Tables with which this release works.
    Current,
}

/// The tables that a start would find; an error if it would refuse them.
pub async fn tables(session: &Session) -> Result<Tables, MigrateError> {
    check_server(session).await?;
    let found = found(session).await?;
    check(&found)?;
    check_names(session, &found).await?;
    Ok(match found.version {
        0 => Tables::Absent,
        older if older < version() => Tables::Older,
        _ => Tables::Current,
    })
}

/// Whether this release cannot work with the tables any more, because a newer one has migrated them.
pub async fn is_too_old(session: &Session) -> Result<bool, Error> {
    Ok(check(&found(session).await?).is_err())
}

async fn check_server(session: &Session) -> Result<(), MigrateError> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                      current_setting('server_encoding'), current_schema() IS NULL";
    let row = session.query_one(sql, &[]).await?;
    if row.get::<_, i32>(0) < OLDEST_SERVER {
        return Err(MigrateError::OldServer(row.get(1)));
    }
    if row.get(3) {
        return Err(MigrateError::NoSchema);
    }
    let encoding: String = row.get(2);
    if encoding == "UTF8" { Ok(()) } else { Err(MigrateError::Encoding(encoding)) }
}

/// The content of the table `meta`.
#[derive(Debug, Default)]
struct MetaTable {
    version: i64,
    oldest_reader: i64,
    hash_key: Option<[u8; 32]>,
}

/// Reads `meta`; empty if there is none, or if it has not its columns.
async fn found(session: &Session) -> Result<MetaTable, Error> {
    let mut found = MetaTable::default();
    let sql = "SELECT count(*) = 2 FROM pg_attribute WHERE attrelid = to_regclass('meta')
               AND (attname, atttypid) IN (('name', 'text'::regtype), ('value', 'bytea'::regtype))";
    if !session.query_one(sql, &[]).await?.get::<_, bool>(0) {
        return Ok(found);
    }
    let sql = "SELECT name, value FROM meta WHERE name IN ('version', 'oldest_reader', 'hash_key')";
    for row in session.query(sql, &[]).await? {
        let value: &[u8] = row.get(1);
        let number = || value.try_into().map(i64::from_be_bytes).unwrap_or_default();
        match row.get(0) {
            "version" => found.version = number(),
            "oldest_reader" => found.oldest_reader = number(),
            "hash_key" => found.hash_key = value.try_into().ok(),
            _ => {}
        }
    }
    Ok(found)
}

fn check(found: &MetaTable) -> Result<(), MigrateError> {
    let too_new = found.version > version() && found.oldest_reader > version();
    if too_new { Err(MigrateError::Newer { found: found.version }) } else { Ok(()) }
}

/// Checks that nothing has the name of a table that a migration would make.
async fn check_names(session: &Session, found: &MetaTable) -> Result<(), MigrateError> {
    let sql = concat!(
        "SELECT relname::text FROM pg_class WHERE relname = ANY ($1) AND relnamespace = ",
        schema_of_tables!(),
        " ORDER BY relname"
    );
    let taken = session.query(sql, &[&tables_after(found.version)]).await?;
    if taken.is_empty() { Ok(()) } else { Err(MigrateError::NamesTaken(taken.iter().map(|row| row.get(0)).collect())) }
}

/// Migrates, within the caller's transaction. `false`: another process holds the lock.
fn under_lock(session: &Session) -> BoxFuture<'_, Result<bool, MigrateError>> {
    Box::pin(async move {
        let sql = "SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema()))";
        let locked = session.query_one(sql, &[&LOCK]).await?;
        if !locked.get::<_, bool>(0) {
            return Ok(false);
        }
        let before = found(session).await?;
        check(&before)?;
        check_names(session, &before).await?;
        session.query_one(IN_SCHEMA_OF_TABLES, &[]).await?;
        session.run_statements(META).await?;
        for migration in migrations().iter().filter(|migration| migration.version > before.version) {
            session.run_statements(migration.sql).await?;
            set_meta(session, "version", &migration.version.to_be_bytes()).await?;
            set_meta(session, "oldest_reader", &migration.oldest_reader.to_be_bytes()).await?;
        }
        if before.hash_key.is_none() {
            let mut hash_key = [0; 32];
            rand::rng().fill_bytes(&mut hash_key);
            set_meta(session, "hash_key", &hash_key).await?;
        }
        Ok(true)
    })
}

/// Sets a row of the table `meta`.
pub async fn set_meta(session: &Session, name: &str, value: &[u8]) -> Result<(), Error> {
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    session.execute(sql, &[&name, &value]).await.map(drop)
}
