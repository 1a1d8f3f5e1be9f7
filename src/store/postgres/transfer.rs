//! A PostgreSQL store as the [`TransferSource`] or the [`TransferTarget`] of a transfer: its tables as rows of plain values.
//!
//! Invariants: the tables `accounts` and `replicas` are locked during the transfer, so no service appends, settles or starts; a database
//! with a live replica is refused. The source is read as of one moment; everything is written in one transaction. The index of ids is made
//! from the log. Deliberately absent: owners, tokens and replicas, which belong to one run.

use super::columns::text;
use super::compact;
use super::open::{self, PostgresOpenError};
use super::session::Session;
use super::url::PostgresUrl;
use crate::store::StoreError;
use crate::store::transfer::{
    self, ColumnKind, ColumnValue, Identity, TABLES, Table, TableCounts, TransferSource, TransferTarget,
};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_util::bytes::BytesMut;

/// A database whose content is moved.
pub struct PostgresSource(Session);

/// A database to which a store is moved.
pub struct PostgresTarget(Session);

/// The settings of the session: a transfer has no timeout.
const SETTINGS: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
/// Locks out services: a transaction that changes events locks rows of `accounts`, and a process that starts writes to `replicas`.
const LOCK: &str = "LOCK TABLE accounts, replicas IN EXCLUSIVE MODE NOWAIT";

impl PostgresSource {
    /// Opens the database, and begins to read. [`StoreError`]: a service uses it.
    pub async fn open(url: &PostgresUrl) -> Result<Result<Self, StoreError>, PostgresOpenError> {
        let session = open::session(url).await?;
        Ok(begin(&session, "BEGIN ISOLATION LEVEL REPEATABLE READ").await.map(|()| Self(session)))
    }
}

impl PostgresTarget {
    /// Opens the database, and begins to write; its tables are created if there are none. [`StoreError`]: a service uses it, or it is not
    /// empty.
    pub async fn open(url: &PostgresUrl) -> Result<Result<Self, StoreError>, PostgresOpenError> {
        let session = open::session(url).await?;
        let begun = async {
            begin(&session, "BEGIN").await?;
            transfer::check_empty(&counts(&session).await?)
        };
        let begun = begun.await;
        Ok(begun.map(|()| Self(session)))
    }
}

/// Begins a transaction that locks out every service.
async fn begin(session: &Session, begin: &str) -> Result<(), StoreError> {
    let in_use = |by: &str| Err(StoreError::Fatal(format!("the database is in use by {by} of this service")));
    match lock(session, begin).await {
        Ok(0) => Ok(()),
        Ok(1) => in_use("a running process"),
        Ok(alive) => in_use(&format!("{alive} running processes")),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => in_use("a running process"),
        Err(error) => Err(error.into()),
    }
}

/// Locks the tables in a transaction; returns the number of live processes of this service.
async fn lock(session: &Session, begin: &str) -> Result<i64, Error> {
    for sql in [SETTINGS, begin, LOCK] {
        session.run_statements(sql).await?;
    }
    let sql = "SELECT count(*) FROM replicas WHERE until > clock_timestamp()";
    Ok(session.query_one(sql, &[]).await?.get(0))
}

/// The statements for a table.
struct Statements {
    /// The first portion.
    first: String,
    /// The portion after a row.
    next: String,
    insert: String,
    count: String,
}

static STATEMENTS: LazyLock<BTreeMap<&'static str, Statements>> =
    LazyLock::new(|| TABLES.iter().map(|table| (table.name, statements(table))).collect());

fn statements(table: &Table) -> Statements {
    let (all, name) = (0..table.columns.len(), table.name);
    let names = table.list(all.clone(), |_, name, _| name.to_owned());
    let key = table.list(0..table.key, |_, name, _| name.to_owned());
    let marks = table.list(0..table.key, |n, _, kind| format!("${}::{}", n + 1, type_of(kind)));
    let arrays = table.list(all.clone(), |n, _, kind| format!("${}::{}[]", n + 1, type_of(kind)));
    let values = table
        .list(all, |_, name, kind| if kind == ColumnKind::Flag { format!("{name} <> 0") } else { name.to_owned() });
    let (order, portion) = (format!("ORDER BY {key} LIMIT"), table.portion);
    Statements {
        first: format!("SELECT {names} FROM {name} {order} {portion}"),
        next: format!("SELECT {names} FROM {name} WHERE ({key}) > ({marks}) {order} {portion}"),
        insert: format!(
            "INSERT INTO {name} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM unnest({arrays}) AS moved ({names})"
        ),
        count: format!("SELECT count(*) FROM {name}"),
    }
}

fn type_of(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Integer | ColumnKind::Flag => "bigint",
        ColumnKind::Text => "text",
        ColumnKind::Bytes => "bytea",
    }
}

async fn counts(session: &Session) -> Result<TableCounts, StoreError> {
    let mut counts = TableCounts::new();
    for (name, statements) in STATEMENTS.iter() {
        let row = session.query_one(&statements.count, &[]).await?;
        counts.insert((*name).to_owned(), row.get::<_, i64>(0).unsigned_abs());
    }
    let sql = "SELECT name, count(*) FROM log JOIN accounts USING (account) WHERE outcome IS NULL GROUP BY name";
    for row in session.query(sql, &[]).await? {
        counts.insert(format!("pending of {}", row.get::<_, String>(0)), row.get::<_, i64>(1).unsigned_abs());
    }
    Ok(counts)
}

#[async_trait]
impl TransferSource for PostgresSource {
    async fn identity(&mut self) -> Result<Identity, StoreError> {
        let sql = "SELECT (SELECT value FROM meta WHERE name = 'hash_key'),
                          (SELECT last_value + is_called::int FROM log_seq),
                          (SELECT coalesce(max(seq) + 1, 0) FROM ids WHERE former)";
        let row = self.0.query_one(sql, &[]).await?;
        let forgotten = compact::ids_forgotten_up_to(&self.0).await?;
        Ok(Identity {
            hash_key: row.get(0),
            next_seq: row.get(1),
            former_ids_below: row.get(2),
            ids_forgotten_up_to: forgotten,
        })
    }

    async fn counts(&mut self) -> Result<TableCounts, StoreError> {
        counts(&self.0).await
    }

    async fn read(
        &mut self,
        table: &'static Table,
        after: Option<&[ColumnValue]>,
    ) -> Result<Vec<Vec<ColumnValue>>, StoreError> {
        let Some(statements) = STATEMENTS.get(table.name) else { return Ok(Vec::new()) };
        let sql = if after.is_some() { &statements.next } else { &statements.first };
        let after: Vec<&(dyn ToSql + Sync)> = after.unwrap_or_default().iter().map(|value| value as _).collect();
        let rows = self.0.query(sql, &after).await?;
        rows.iter().map(|row| table.values(row)).collect()
    }
}

/// As a parameter of a statement. PostgreSQL accepts no text with the character NUL, which a message of Refersion may have.
impl ToSql for ColumnValue {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql(kind, out),
            Self::Text(value) => text(value).to_sql(kind, out),
            Self::Bytes(bytes) => bytes.to_sql(kind, out),
        }
    }

    accepts!(INT8, TEXT, BYTEA);
    to_sql_checked!();
}

#[async_trait]
impl TransferTarget for PostgresTarget {
    async fn write(&mut self, table: &'static Table, rows: Vec<Vec<ColumnValue>>) -> Result<(), StoreError> {
        let Some(statements) = STATEMENTS.get(table.name) else { return Ok(()) };
        let column = |n: usize| rows.iter().map(|row| &row[n]).collect();
        let columns: Vec<Vec<&ColumnValue>> = (0..table.columns.len()).map(column).collect();
        let columns: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
        Ok(self.0.execute(&statements.insert, &columns).await.map(drop)?)
    }

    async fn complete(&mut self, identity: &Identity) -> Result<TableCounts, StoreError> {
        complete(&self.0, identity).await?;
        counts(&self.0).await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.run_statements("COMMIT").await?;
        let tables: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        // Err: PostgreSQL analyzes the tables itself, later.
        let _ = self.0.run_statements(&format!("ANALYZE {}, ids", tables.join(", "))).await;
        Ok(())
    }
}

/// Makes the derived data: the index of ids, the next seq, the next numbers of accounts and affiliates.
async fn complete(session: &Session, identity: &Identity) -> Result<(), Error> {
    let sql = "INSERT INTO ids (id, seq, former) SELECT id, max(seq), bool_or(seq < $1) FROM log
               WHERE NOT answered AND (seq > $2 OR outcome IS NULL OR seq IN (SELECT seq FROM dead_letters)) GROUP BY id";
    session.execute(sql, &[&identity.former_ids_below, &identity.ids_forgotten_up_to]).await?;
    compact::set_ids_forgotten_up_to(session, identity.ids_forgotten_up_to).await?;
    // The store reads once, when it is opened, whether there are former ids.
    let sql = "INSERT INTO meta (name, value) SELECT 'former_ids', '' WHERE EXISTS (SELECT 1 FROM ids WHERE former)";
    session.execute(sql, &[]).await?;
    session.execute("UPDATE meta SET value = $1 WHERE name = 'hash_key'", &[&identity.hash_key]).await?;
    session.query("SELECT setval('log_seq', $1, false)", &[&identity.next_seq.max(1)]).await?;
    for sql in [
        "SELECT setval(pg_get_serial_sequence('accounts', 'account'), coalesce(max(account), 0) + 1, false) FROM accounts",
        "SELECT setval(pg_get_serial_sequence('affiliates', 'affiliate'), coalesce(max(affiliate), 0) + 1, false)
         FROM affiliates",
    ] {
        session.query(sql, &[]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_after_its_key_and_written_in_arrays() {
        let statements = statements(&TABLES[7]);
        assert_eq!(
            [&*statements.next, &*statements.insert],
            [
                "SELECT key, seq FROM dead_keys WHERE (key, seq) > ($1::bytea, $2::bigint) ORDER BY key, seq LIMIT 5000",
                "INSERT INTO dead_keys (key, seq) OVERRIDING SYSTEM VALUE SELECT key, seq FROM unnest($1::bytea[], \
                 $2::bigint[]) AS moved (key, seq)",
            ]
        );
    }
}
