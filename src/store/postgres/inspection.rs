//! Reads for operators: pending events, records of events, known accounts.

use super::PostgresStore;
use super::columns::text;
use super::dead_letters;
use super::error::JobError;
use super::measure::OLDEST;
use super::session::Session;
use crate::domain::{AccountName, Timestamp};
use crate::store::rows::dead_letters::PageStart;
use crate::store::rows::inspection::{
    BACKLOG_COLUMNS, BacklogScan, EXAMINED, EXAMINED_EVENTS, EventScan, RECORD_COLUMNS, RECORD_TABLES,
    record as event_of,
};
use crate::store::{
    BacklogFilter, BacklogPage, DeadLetterFilter, DeadLetterPage, EventFilter, EventPage, EventRecord, Inspection,
    LookupPage, LookupQuery, StoreError,
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
        let known = self.owner.run(move |session| Box::pin(async move { session.query_opt(sql, &[&name]).await }));
        Ok(known.await?.is_some())
    }

    async fn oldest_pending(&self, accounts: &[AccountName]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let (names, firsts) = self.first_pending(accounts);
        let rows =
            self.owner.run(move |session| Box::pin(async move { session.query(OLDEST, &[&names, &firsts]).await }));
        Ok(rows.await?.iter().map(|row| row.get::<_, Option<i64>>(1).map(Timestamp)).collect())
    }

    async fn backlog(&self, filter: &BacklogFilter, after: i64, limit: usize) -> Result<BacklogPage, StoreError> {
        let (account, mut scan) = (text(filter.account.as_str()), BacklogScan::new(filter, after, limit.max(1)));
        let rows =
            self.owner.run(move |session| Box::pin(async move { session.query(&BACKLOG, &[&account, &after]).await }));
        for row in &rows.await? {
            if scan.examine(row)? {
                break;
            }
        }
        Ok(scan.page())
    }

    async fn newest_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        before: i64,
        limit: usize,
    ) -> Result<DeadLetterPage, StoreError> {
        let filter = DeadLetterFilter { account: filter.account.as_deref().map(text), ..filter.clone() };
        let page = self.owner.run(move |session| {
            Box::pin(async move { dead_letters::page(session, &filter, PageStart::Before(before), limit.max(1)).await })
        });
        Ok(page.await??)
    }

    async fn event_record(&self, seq: i64) -> Result<Option<EventRecord>, StoreError> {
        self.owner.run(move |session| Box::pin(record(session, seq))).await
    }

    async fn events(&self, filter: &EventFilter, before: i64, limit: usize) -> Result<EventPage, StoreError> {
        let (account, mut scan) = (filter.account.as_deref().map(text), EventScan::new(filter, limit.max(1)));
        // A separate session, as for a lookup, so that no settlement waits for it.
        let session = self.connector.connect().await?;
        let rows = session.query(&EVENTS, &[&before, &account]).await?;
        for row in &rows {
            if scan.examine(row)? {
                break;
            }
        }
        Ok(scan.page())
    }

    async fn lookup(&self, query: &LookupQuery) -> Result<LookupPage, StoreError> {
        self.look_up(query).await
    }
}

/// The record of the event with this seq.
pub async fn record(session: &Session, seq: i64) -> Result<Option<EventRecord>, JobError> {
    let row = session.query_opt(&RECORD, &[&seq]).await?;
    Ok(row.map(|row| event_of(&row)).transpose().map_err(StoreError::from)?)
}
