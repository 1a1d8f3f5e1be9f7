//! A SQLite store as the [`TransferSource`] or the [`TransferTarget`] of a transfer: its tables as rows of plain values.
//!
//! Invariants: the file is locked meanwhile, so no service runs on it; the source is only read (a file of an earlier release is migrated
//! first, as the service would); everything is written in one transaction. An affiliate key is a link with its own tag here, and a column
//! of the affiliate in a transfer.

use super::open::{self, SqliteOpenError};
use super::query::Query;
use super::schema::{self, FORMER_IDS_BELOW, IDS_FORGOTTEN_UP_TO, NEXT_SEQ};
use super::writer::SqliteFile;
use super::{bodies, dead_letters};
use crate::store::StoreError;
use crate::store::transfer::{
    ColumnValue, Identity, TABLES, Table, TableCounts, TransferSource, TransferTarget, check_empty,
};
use crate::store::user_keys::{AFFILIATE, with_tag};
use async_trait::async_trait;
use rusqlite::types::Value as Stored;
use rusqlite::{Connection, Row, params_from_iter};
use std::borrow::Cow;
use std::path::Path;

/// The memory for the index of ids, which is read when the file is opened and not used.
const DEDUPLICATION_MEMORY: usize = 16 * 1024 * 1024;

/// A file whose content is moved.
pub struct SqliteSource(SqliteFile);

/// A file to which a store is moved.
pub struct SqliteTarget(SqliteFile);

impl SqliteSource {
    /// Opens the file, which must exist, for this process only.
    pub fn open(path: &Path) -> Result<Self, SqliteOpenError> {
        if !path.exists() {
            return Err(SqliteOpenError::Absent(path.to_owned()));
        }
        open::open(path, DEDUPLICATION_MEMORY).map(Self)
    }
}

impl SqliteTarget {
    /// Opens the file for this process only, or creates it. [`StoreError`]: it is not empty, or cannot be written.
    pub fn open(path: &Path) -> Result<Result<Self, StoreError>, SqliteOpenError> {
        let file = open::open(path, DEDUPLICATION_MEMORY)?;
        let begun = begin(&file.connection);
        Ok(begun.map(|()| Self(file)))
    }
}

fn begin(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    check_empty(&counts(connection)?)
}

/// The SQL source of the rows of a table: an affiliate has its affiliate key in the table `links`, a dead letter its body in `bodies`.
fn rows_of(table: &Table) -> Cow<'static, str> {
    let sql = match table.name {
        // In the order of the log, without an index.
        "bodies" => {
            let place = bodies::place("log.seq");
            let pending = "FROM log NOT INDEXED CROSS JOIN bodies";
            return format!("(SELECT log.seq, body {pending} WHERE bodies.seq = {place} AND outcome IS NULL)").into();
        }
        "dead_letters" => {
            let body = dead_letters::body_of_letter();
            return format!("(SELECT dead_letters.*, {body} AS body FROM dead_letters)").into();
        }
        "affiliates" => {
            "(SELECT affiliates.*, substr(links.key, 2) AS key FROM affiliates JOIN links USING (affiliate)
              WHERE links.key >= x'03' AND links.key < x'04')"
        }
        "links" => "(SELECT * FROM links WHERE key < x'03')",
        name => name,
    };
    sql.into()
}

fn counts(connection: &Connection) -> Result<TableCounts, StoreError> {
    let mut counts = TableCounts::new();
    let number = |row: &Row<'_>, column| Ok(row.get::<_, i64>(column).map(i64::unsigned_abs)?);
    for table in &TABLES {
        let sql = format!("SELECT count(*) FROM {}", rows_of(table));
        counts.insert(table.name.to_owned(), connection.one(&sql, [], |row| number(row, 0))?.unwrap_or(0));
    }
    let sql = "SELECT name, count(*) FROM log JOIN accounts USING (account) WHERE outcome IS NULL GROUP BY name";
    let pending = |row: &Row<'_>| Ok((format!("pending of {}", row.get::<_, String>(0)?), number(row, 1)?));
    counts.extend(connection.all(sql, [], pending)?);
    Ok(counts)
}

#[async_trait]
impl TransferSource for SqliteSource {
    async fn identity(&mut self) -> Result<Identity, StoreError> {
        let connection = &self.0.connection;
        let sql = "SELECT value, (SELECT coalesce(max(seq), 0) FROM log) FROM meta WHERE name = 'hash_key'";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?));
        let (hash_key, last) = connection.one(sql, [], read)?.unwrap_or_default();
        let next_seq = schema::meta(connection, NEXT_SEQ)?.max(last + 1);
        Ok(Identity {
            hash_key,
            next_seq,
            former_ids_below: schema::meta(connection, FORMER_IDS_BELOW)?,
            ids_forgotten_up_to: schema::meta(connection, IDS_FORGOTTEN_UP_TO)?,
        })
    }

    async fn counts(&mut self) -> Result<TableCounts, StoreError> {
        counts(&self.0.connection)
    }

    async fn read(
        &mut self,
        table: &'static Table,
        after: Option<&[ColumnValue]>,
    ) -> Result<Vec<Vec<ColumnValue>>, StoreError> {
        let columns = table.list(0..table.columns.len(), |_, name, _| name.to_owned());
        let key = table.list(0..table.key, |_, name, _| name.to_owned());
        let marks = table.list(0..table.key, |_, _, _| "?".to_owned());
        let beyond = if after.is_some() { format!("WHERE ({key}) > ({marks})") } else { String::new() };
        let sql = format!("SELECT {columns} FROM {} {beyond} ORDER BY {key} LIMIT {}", rows_of(table), table.portion);
        let after = after.unwrap_or_default().iter().cloned().map(Stored::from);
        self.0.connection.all(&sql, params_from_iter(after), |row| table.values(row))
    }
}

#[async_trait]
impl TransferTarget for SqliteTarget {
    async fn write(&mut self, table: &'static Table, rows: Vec<Vec<ColumnValue>>) -> Result<(), StoreError> {
        let connection = &self.0.connection;
        rows.into_iter().try_for_each(|row| insert(connection, table, row))
    }

    async fn complete(&mut self, identity: &Identity) -> Result<TableCounts, StoreError> {
        let connection = &self.0.connection;
        schema::set_meta(connection, "hash_key", &identity.hash_key)?;
        // Bodies of dead letters get separate places.
        let places = "SELECT 1 + coalesce(max(seq), 0) FROM bodies";
        let next_place = connection.one(places, [], |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or_default();
        schema::set_meta(connection, NEXT_SEQ, identity.next_seq.max(next_place))?;
        schema::set_meta(connection, FORMER_IDS_BELOW, identity.former_ids_below)?;
        schema::set_meta(connection, IDS_FORGOTTEN_UP_TO, identity.ids_forgotten_up_to)?;
        counts(connection)
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(self.0.connection.execute_batch("COMMIT")?)
    }
}

fn insert(connection: &Connection, table: &Table, mut row: Vec<ColumnValue>) -> Result<(), StoreError> {
    let mut names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    if table.name == "affiliates"
        && let Some(key) = names.iter().position(|name| *name == "key")
    {
        names.remove(key);
        let own = if let ColumnValue::Bytes(own) = row.remove(key) { own } else { Vec::new() };
        let own: [u8; 16] = own.try_into().unwrap_or_default();
        let sql = "INSERT INTO links (key, affiliate) VALUES (?1, ?2)";
        connection.run(sql, (with_tag(AFFILIATE, &own).as_slice(), Stored::from(row[0].clone())))?;
    }
    if table.name == "dead_letters"
        && let Some(column) = names.iter().position(|name| *name == "body")
    {
        names[column] = "erased";
        let body = std::mem::replace(&mut row[column], ColumnValue::Integer(0));
        if body == ColumnValue::Null {
            row[column] = ColumnValue::Integer(1);
        } else {
            // After all others: see bodies.rs. The log was moved before, and none of its seqs may be used as a place.
            let sql = "INSERT INTO bodies (seq, event, body)
                       SELECT 1 + max(coalesce((SELECT max(seq) FROM log), 0), coalesce((SELECT max(seq) FROM bodies), 0)), ?1, ?2";
            connection.run(sql, (Stored::from(row[0].clone()), Stored::from(body)))?;
        }
    }
    let marks = vec!["?"; names.len()].join(", ");
    let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", table.name, names.join(", "));
    connection.run(&sql, params_from_iter(row.into_iter().map(Stored::from))).map(drop)
}

impl From<ColumnValue> for Stored {
    fn from(value: ColumnValue) -> Self {
        match value {
            ColumnValue::Null => Self::Null,
            ColumnValue::Integer(number) => Self::Integer(number),
            ColumnValue::Text(text) => Self::Text(text),
            ColumnValue::Bytes(bytes) => Self::Blob(bytes),
        }
    }
}
