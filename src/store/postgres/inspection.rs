//! Reads for operators: pending events, records of events, known accounts.

use super::PostgresStore;
use super::columns::text;
use super::error::JobError;
use super::measure::OLDEST;
use super::session::Session;
use crate::domain::{AccountName, Timestamp};
use crate::store::rows::inspection::{
    BACKLOG_COLUMNS, EXAMINED, EXAMINED_EVENTS, RECORD_COLUMNS, RECORD_TABLES, examine_event, examine_pending,
    record as event_of,
};
use crate::store::rows::page::PageScan;
use crate::store::{
    BacklogFilter, BacklogPage, EventFilter, EventPage, EventRecord, Inspection, LookupPage, LookupQuery, StoreError,
};
use async_trait::async_trait;
use std::sync::LazyLock;

static BACKLOG: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {BACKLOG_COLUMNS}
         FROM log LEFT JOIN LATERAL (SELECT * FROM attempts WHERE attempts.seq = log.seq LIMIT 1) AS attempts ON true
         WHERE log.account = (SELECT account FROM accounts WHERE name = $1) AND log.outcome IS NULL AND log.seq > $2
         ORDER BY log.seq LIMIT {EXAMINED}"
    )
});

static EVENTS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {RECORD_COLUMNS} FROM {RECORD_TABLES} WHERE log.seq < $1 AND ($2::text IS NULL OR accounts.name = $2)
         ORDER BY log.seq DESC LIMIT {EXAMINED_EVENTS}"
    )
});

static RECORD: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {RECORD_COLUMNS} FROM {RECORD_TABLES} WHERE log.seq = $1"));

#[async_trait]
impl Inspection for PostgresStore {
    async fn knows_account(&self, account: &AccountName) -> Result<bool, StoreError> {
        let (name, sql) = (text(account.as_str()), "SELECT 1 FROM accounts WHERE name = $1");
        let known =
            self.owner.pipelined(move |session| Box::pin(async move { session.query_opt(sql, &[&name]).await }));
        Ok(known.await?.is_some())
    }

    async fn oldest_pending(&self, accounts: &[AccountName]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let (names, firsts) = self.first_pending(accounts);
        let rows = self
            .owner
            .pipelined(move |session| Box::pin(async move { session.query(OLDEST, &[&names, &firsts]).await }));
        Ok(rows.await?.iter().map(|row| row.get::<_, Option<i64>>(1).map(Timestamp)).collect())
    }

    async fn backlog(&self, filter: &BacklogFilter, after: i64, limit: usize) -> Result<BacklogPage, StoreError> {
        let account = text(filter.account.as_str());
        let rows = self
            .owner
            .pipelined(move |session| Box::pin(async move { session.query(&BACKLOG, &[&account, &after]).await }));
        let scan = PageScan::new(limit, EXAMINED);
        let (events, next) = scan.read(&rows.await?, |scan, row| examine_pending(scan, filter, row))?;
        Ok(BacklogPage { events, next })
    }

    async fn event_record(&self, seq: i64) -> Result<Option<EventRecord>, StoreError> {
        self.owner.pipelined(move |session| Box::pin(record(session, seq))).await
    }

    async fn events(&self, filter: &EventFilter, before: i64, limit: usize) -> Result<EventPage, StoreError> {
        let account = filter.account.as_deref().map(text);
        // A separate session, as for a lookup, so that no settlement waits for it.
        let session = self.connector.connect().await?;
        let rows = session.query(&EVENTS, &[&before, &account]).await?;
        let scan = PageScan::new(limit, EXAMINED_EVENTS);
        let (events, next) = scan.read(&rows, |scan, row| examine_event(scan, filter, row))?;
        Ok(EventPage { events, next })
    }

    async fn lookup(&self, query: &LookupQuery) -> Result<LookupPage, StoreError> {
        self.look_up(query).await
    }
}

/// The record of the event with this seq.
pub async fn record(session: &Session, seq: i64) -> Result<Option<EventRecord>, JobError> {
    let row = session.query_opt(&RECORD, &[&seq]).await?;
    Ok(row.map(|row| event_of(&row)).transpose()?)
}
