//! The transfer of a whole store to another one, of the same engine or another: every table as rows of plain values, in portions.
//!
//! In: a [`TransferSource`] and a [`TransferTarget`]. Out: the counts of both, which agree. Invariants: the source does not change; the
//! target is empty before, and afterwards has everything or is as empty as before; no service runs on either of them meanwhile; seqs stay,
//! so dead letters keep their ids, events keep their followers, and no seq is assigned twice. Deliberately absent: data that is derived
//! from the log (the deduplication index), which the target makes again; and the owners of accounts.

use super::StoreError;
use super::rows::Columns;
use async_trait::async_trait;
use std::collections::BTreeMap;

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnValue {
    /// Nothing.
    Null,
    /// A number, or a truth value as 0 or 1.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// The kind of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Numbers.
    Integer,
    /// Truth values.
    Flag,
    /// Texts.
    Text,
    /// Bytes.
    Bytes,
}

/// A table of every engine. Its first columns are its primary key.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The number of columns of its primary key.
    pub key: usize,
    /// Its columns.
    pub columns: &'static [(&'static str, ColumnKind)],
    /// The rows that are read and written at once.
    pub portion: i64,
}

/// The portion of a table without bodies, whose rows are narrow.
const NARROW: i64 = 5_000;
/// The portion of a table with bodies, each of which may have hundreds of kilobytes.
const WITH_BODY: i64 = 200;

macro_rules! tables {
    ($($name:ident, $key:literal, $portion:ident: $($column:ident $kind:ident),+;)+) => {
        [$(Table {
            name: stringify!($name),
            key: $key,
            columns: &[$((stringify!($column), ColumnKind::$kind)),+],
            portion: $portion,
        }),+]
    };
}

/// Every table, in the order in which they are moved. `affiliates.key` is the hash of the affiliate itself, 16 bytes.
pub const TABLES: [Table; 11] = tables! {
    accounts, 1, NARROW: account Integer, name Text, health Text;
    log, 1, NARROW: seq Integer, account Integer, id Bytes, keys Bytes, received_at Integer, outcome Integer, source Text,
        answered Flag;
    bodies, 1, WITH_BODY: seq Integer, body Bytes;
    attempts, 1, NARROW: seq Integer, begun Flag, followers Bytes, progress Text, failures Integer, failing_for Integer,
        wait Integer, noted_at Integer, history Text;
    affiliates, 1, NARROW: affiliate Integer, account Integer, key Bytes, code Text, id Integer, found Flag, sent Bytes,
        email_conflict Flag;
    links, 1, NARROW: key Bytes, affiliate Integer;
    dead_letters, 1, WITH_BODY: seq Integer, account Integer, id Bytes, code Text, reason Text, failures Integer,
        received_at Integer, died_at Integer, body Bytes, keys Bytes, history Text;
    dead_keys, 2, NARROW: key Bytes, seq Integer;
    deleted_users, 1, NARROW: key Bytes, deleted_at Integer, received_at Integer;
    sealed_keys, 1, NARROW: account Text, sealed Bytes;
    remembered_traits, 1, WITH_BODY: key Bytes, account Integer, email Bytes, expires_at Integer, size Integer, names Text,
        sealed Bytes;
};

impl Table {
    /// The names of these columns, separated by commas, each as `write` writes it.
    pub fn list(&self, columns: std::ops::Range<usize>, write: impl Fn(usize, &str, ColumnKind) -> String) -> String {
        let written = self.columns[columns.clone()].iter().zip(columns).map(|((name, kind), n)| write(n, name, *kind));
        written.collect::<Vec<_>>().join(", ")
    }

    /// The values of a row with these columns; an error if one is of another kind than its column.
    pub fn values(&self, row: &impl Columns) -> Result<Vec<ColumnValue>, StoreError> {
        let mut values = Vec::with_capacity(self.columns.len());
        for (column, (name, kind)) in self.columns.iter().enumerate() {
            let value = match kind {
                ColumnKind::Integer | ColumnKind::Flag => {
                    row.integer(column, name).map(|v| v.map(ColumnValue::Integer))
                }
                ColumnKind::Text => row.text(column, name).map(|v| v.map(|text| ColumnValue::Text(text.to_owned()))),
                ColumnKind::Bytes => row.blob(column, name).map(|v| v.map(|bytes| ColumnValue::Bytes(bytes.to_vec()))),
            };
            let value = value.map_err(|_| self.damaged(&values, name))?;
            values.push(value.unwrap_or(ColumnValue::Null));
        }
        Ok(values)
    }

    fn damaged(&self, row: &[ColumnValue], column: &str) -> StoreError {
        let key: Vec<String> = row.iter().take(self.key).map(ColumnValue::in_message).collect();
        StoreError::Corrupt(format!("{}.{column} of the row {}", self.name, key.join(", ")))
    }
}

impl ColumnValue {
    /// The value for a message: only a number is shown.
    fn in_message(&self) -> String {
        if let Self::Integer(number) = self { number.to_string() } else { "…".to_owned() }
    }
}

/// The state of a store besides its tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The hash key.
    pub hash_key: Vec<u8>,
    /// The next seq; no lower one is assigned again.
    pub next_seq: i64,
    /// Events below this seq may have an id of releases before 0.3.0.
    pub former_ids_below: i64,
    /// The seq up to which only the ids of pending events and of dead letters count.
    pub ids_forgotten_up_to: i64,
}

/// The number of rows of each table, by its name; and the number of pending events of each account (`pending of main`).
pub type TableCounts = BTreeMap<String, u64>;

/// The store to move.
#[async_trait]
pub trait TransferSource: Send {
    /// The state besides the tables.
    async fn identity(&mut self) -> Result<Identity, StoreError>;

    /// Its counts.
    async fn counts(&mut self) -> Result<TableCounts, StoreError>;

    /// Reads the portion of a table after the row with this primary key (none: the first portion), in the order of the primary keys.
    async fn read(
        &mut self,
        table: &'static Table,
        after: Option<&[ColumnValue]>,
    ) -> Result<Vec<Vec<ColumnValue>>, StoreError>;
}

/// The store to move to.
#[async_trait]
pub trait TransferTarget: Send {
    /// Writes rows of a table.
    async fn write(&mut self, table: &'static Table, rows: Vec<Vec<ColumnValue>>) -> Result<(), StoreError>;

    /// Makes the derived data, and returns the counts of the written rows.
    async fn complete(&mut self, identity: &Identity) -> Result<TableCounts, StoreError>;

    /// Commits everything. A target that is dropped before stays empty.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// Moves everything. `progress` gets the number of rows moved so far, and the number of all rows.
pub async fn transfer(
    source: &mut dyn TransferSource,
    mut target: Box<dyn TransferTarget>,
    mut progress: impl FnMut(u64, u64),
) -> Result<TableCounts, StoreError> {
    let (identity, counts) = (source.identity().await?, source.counts().await?);
    let all = TABLES.iter().filter_map(|table| counts.get(table.name)).sum();
    let mut moved = 0;
    progress(moved, all);
    for table in &TABLES {
        let mut after: Option<Vec<ColumnValue>> = None;
        loop {
            let rows = source.read(table, after.as_deref()).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last[..table.key].to_vec());
            moved += rows.len() as u64;
            target.write(table, rows).await?;
            progress(moved, all);
        }
    }
    let written = target.complete(&identity).await?;
    if written != counts {
        return Err(StoreError::Fatal(format!("the counts differ: {}", differences(&counts, &written))));
    }
    target.commit().await?;
    Ok(counts)
}

fn differences(source: &TableCounts, target: &TableCounts) -> String {
    let names = source.keys().chain(target.keys()).collect::<std::collections::BTreeSet<_>>();
    let count = |counts: &TableCounts, name: &String| counts.get(name).copied().unwrap_or(0);
    let differing = names.into_iter().filter(|name| count(source, name) != count(target, name));
    let shown = differing.map(|name| format!("{name}: {} of {}", count(target, name), count(source, name)));
    shown.collect::<Vec<_>>().join(", ")
}

/// Refuses a target that is not empty.
pub fn check_empty(counts: &TableCounts) -> Result<(), StoreError> {
    let held: Vec<String> =
        counts.iter().filter(|(_, rows)| **rows > 0).map(|(name, n)| format!("{n} {name}")).collect();
    if held.is_empty() {
        return Ok(());
    }
    Err(StoreError::Fatal(format!("the target is not empty ({})", held.join(", "))))
}
