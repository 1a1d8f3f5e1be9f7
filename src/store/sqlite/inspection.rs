//! Reads for operators: pending events, records of events, known accounts.

use super::SqliteStore;
use super::query::Query;
use crate::domain::{AccountName, Timestamp};
use crate::store::rows::inspection::{
    BACKLOG_COLUMNS, EXAMINED, EXAMINED_EVENTS, RECORD_COLUMNS, RECORD_TABLES, examine_event, examine_pending,
    record as event_of,
};
use crate::store::rows::page::PageScan;
use crate::store::rows::timestamp;
use crate::store::{
    BacklogFilter, BacklogPage, EventFilter, EventPage, EventRecord, Inspection, LookupPage, LookupQuery, StoreError,
};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

#[async_trait]
impl Inspection for SqliteStore {
    async fn knows_account(&self, account: &AccountName) -> Result<bool, StoreError> {
        let account = account.clone();
        let sql = "SELECT 1 FROM accounts WHERE name = ?1";
        self.readers.read(move |connection| connection.exists(sql, [account.as_str()])).await
    }

    async fn oldest_pending(&self, accounts: &[AccountName]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let accounts: Vec<String> = accounts.iter().map(ToString::to_string).collect();
        self.readers.read(move |connection| oldest_pending(connection, &accounts)).await
    }

    async fn backlog(&self, filter: &BacklogFilter, after: i64, limit: usize) -> Result<BacklogPage, StoreError> {
        let filter = filter.clone();
        self.readers.read(move |connection| page(connection, &filter, after, limit)).await
    }

    async fn event_record(&self, seq: i64) -> Result<Option<EventRecord>, StoreError> {
        self.readers.read(move |connection| record(connection, seq)).await
    }

    async fn events(&self, filter: &EventFilter, before: i64, limit: usize) -> Result<EventPage, StoreError> {
        let filter = filter.clone();
        self.readers.read(move |connection| events(connection, &filter, before, limit)).await
    }

    async fn lookup(&self, query: &LookupQuery) -> Result<LookupPage, StoreError> {
        self.look_up(query).await
    }
}

/// When the oldest pending event of each of these accounts was received.
pub fn oldest_pending(connection: &Connection, accounts: &[String]) -> Result<Vec<Option<Timestamp>>, StoreError> {
    let sql = "SELECT received_at FROM log INDEXED BY log_waiting
               WHERE account = (SELECT account FROM accounts WHERE name = ?1) AND outcome IS NULL ORDER BY seq LIMIT 1";
    let read = |row: &Row<'_>| Ok(timestamp(row, 0, "log.received_at")?);
    accounts.iter().map(|account| connection.one(sql, [account], read)).collect()
}

fn page(connection: &Connection, filter: &BacklogFilter, after: i64, limit: usize) -> Result<BacklogPage, StoreError> {
    let sql = format!(
        "SELECT {BACKLOG_COLUMNS} FROM log INDEXED BY log_waiting LEFT JOIN attempts USING (seq)
         WHERE log.account = (SELECT account FROM accounts WHERE name = ?1) AND log.outcome IS NULL AND log.seq > ?2
         ORDER BY log.seq LIMIT {EXAMINED}"
    );
    let mut scan = PageScan::new(limit, EXAMINED);
    let values = params![filter.account.as_str(), after];
    connection.each(&sql, values, |row| Ok(examine_pending(&mut scan, filter, row)?))?;
    let (events, next) = scan.page();
    Ok(BacklogPage { events, next })
}

fn events(connection: &Connection, filter: &EventFilter, before: i64, limit: usize) -> Result<EventPage, StoreError> {
    let sql = format!(
        "SELECT {RECORD_COLUMNS} FROM {RECORD_TABLES} WHERE log.seq < ?1 AND (?2 IS NULL OR accounts.name = ?2)
         ORDER BY log.seq DESC LIMIT {EXAMINED_EVENTS}"
    );
    let mut scan = PageScan::new(limit, EXAMINED_EVENTS);
    connection.each(&sql, params![before, filter.account], |row| Ok(examine_event(&mut scan, filter, row)?))?;
    let (events, next) = scan.page();
    Ok(EventPage { events, next })
}

/// The record of the event with this seq.
pub fn record(connection: &Connection, seq: i64) -> Result<Option<EventRecord>, StoreError> {
    let sql = format!("SELECT {RECORD_COLUMNS} FROM {RECORD_TABLES} WHERE log.seq = ?1");
    connection.one(&sql, [seq], |row| Ok(event_of(row)?))
}
