//! Status, account health and compaction: the trait [`Maintenance`] of the engine.
//!
//! Compaction has a separate session, because a vacuum may take long and no other work may wait for it. The session is opened when it is
//! first needed.

use super::compact::exclusively;
use super::connect::Connector;
use super::key_blocks::Horizon;
use super::migrate::set_meta;
use super::session::Session;
use super::vacuum::Vacuum;
use super::{PostgresStore, append_rows, compact, deletions, key_blocks, measure, remembered, rights};
use crate::domain::{AccountName, UserKey};
use crate::store::portions::LogPositions;
use crate::store::rows::affiliates::{EMAIL_CONFLICT_COLUMNS, email_conflict};
use crate::store::{
    EmailConflict, Ledger as _, Maintenance, Measured, OnCommit, Retention, StoreError, StoreStatus, user_keys,
};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_postgres::Error;

/// How long a silent server can delay the end of the process: for less time than the service waits (`app.rs`).
const CLOSE_WITHIN: Duration = Duration::from_secs(4);

/// The vacuum is a part of compaction. Tables are as large as what a vacuum finds to free, and one that finds little is cheap.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(5);

/// The settings of the session: it waits for no lock, and its statements have no timeout. A vacuum pauses, so that other work gets the disk,
/// but five times more rarely than PostgreSQL's own, which 16,000 events a second outrun. Behind a pooler no setting is possible, and
/// PostgreSQL's own vacuum does the work.
const SETTINGS: &str = "SET lock_timeout = '100ms'; SET statement_timeout = 0;
    SET vacuum_cost_delay = '2ms'; SET vacuum_cost_limit = 1000";

static EMAIL_CONFLICTS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {EMAIL_CONFLICT_COLUMNS} FROM affiliates JOIN accounts USING (account)
         WHERE email_conflict AND affiliate > $1 AND ($2::text IS NULL OR name = $2) ORDER BY affiliate LIMIT $3"
    )
});

#[async_trait]
impl Maintenance for PostgresStore {
    fn status(&self) -> StoreStatus {
        let mut status = self.shared.published.lock().status.clone();
        status.write_error = self.append.health().failure().or_else(|| self.owner.health().failure());
        status
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let healths = [self.append.health(), self.owner.health()].map(Arc::clone);
        let probe = self.append.run(move |session| {
            Box::pin(async move {
                // A right to another table may be missing although this one can be written.
                rights::check(session).await?;
                set_meta(session, "probe", &[]).await?;
                // On a full disk this change fits into a page that exists, and appends do not fit.
                if healths.iter().any(|health| health.has_full_disk()) {
                    append_rows::try_insert(session).await?;
                    for health in &healths {
                        health.clear_full_disk();
                    }
                }
                Ok::<_, Error>(())
            })
        });
        probe.await
    }

    async fn measure(&self) -> Result<Measured, StoreError> {
        let accounts: Vec<AccountName> =
            self.shared.published.lock().pending.keys().cloned().map(AccountName::from).collect();
        let accounts = self.first_pending(&accounts);
        let measured =
            self.owner.run(move |session| Box::pin(async move { measure::measure(session, accounts).await }));
        let remembered_dropped = self.shared.remembered_dropped.load(Ordering::Relaxed);
        let ledger_dropped = self.shared.ledger.dropped();
        Ok(Measured { remembered_dropped, ledger_dropped, ..measured.await? })
    }

    fn on_commit(&self, on_commit: OnCommit) {
        self.shared.published.observer.set(on_commit);
    }

    fn pending(&self) -> BTreeMap<String, u64> {
        self.shared.published.lock().pending.clone()
    }

    async fn health(&self, account: &AccountName) -> Result<Option<String>, StoreError> {
        let (account, sql) = (account.clone(), "SELECT health FROM accounts WHERE name = $1");
        let read = self
            .owner
            .pipelined(move |session| Box::pin(async move { session.query_opt(sql, &[&account.as_str()]).await }));
        Ok(read.await?.and_then(|row| row.get(0)))
    }

    async fn save_health(&self, account: &AccountName, health: String) -> Result<(), StoreError> {
        let (held, sql) = (self.token(account)?, "UPDATE accounts SET health = $3 WHERE account = $1 AND token = $2");
        let save = self.owner.pipelined(move |session| {
            Box::pin(async move { session.execute(sql, &[&held.account, &held.token, &health]).await })
        });
        if save.await? > 0 { Ok(()) } else { Err(StoreError::NotOwner) }
    }

    async fn unlink(&self, users: Vec<UserKey>) -> Result<(), StoreError> {
        let users: Vec<Vec<u8>> = users.iter().map(|key| user_keys::tagged(key).to_vec()).collect();
        let unlink = self.owner.pipelined(move |session| {
            Box::pin(async move { session.execute("DELETE FROM links WHERE key = ANY ($1)", &[&users]).await })
        });
        unlink.await.map(drop)
    }

    async fn email_conflicts(
        &self,
        account: Option<&AccountName>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<EmailConflict>, StoreError> {
        let (account, limit) = (account.map(ToString::to_string), i64::try_from(limit).unwrap_or(i64::MAX));
        let read = self.owner.pipelined(move |session| {
            Box::pin(async move { session.query(&EMAIL_CONFLICTS, &[&after, &account, &limit]).await })
        });
        Ok(read.await?.iter().map(email_conflict).collect::<Result<_, _>>()?)
    }

    fn compaction_interval(&self) -> Duration {
        COMPACTION_INTERVAL
    }

    async fn compact(&self, before: Retention) -> Result<(), StoreError> {
        self.owner.run(|_| Box::pin(async { Ok::<_, Error>(()) })).await?; // the store is open, and the server is reachable
        let mut compaction = self.compaction.lock().await;
        let compacted = compaction.run(&self.connector, before, &self.shared.remembered_dropped).await;
        if compacted.is_err() {
            compaction.session = None; // the next one opens another
        }
        compacted
    }

    async fn closed(&self) {
        tokio::select! {
            () = self.append.closed() => {}
            () = self.owner.closed() => {}
            () = self.shared.too_old.cancelled() => {}
            () = until_one_panics(&self.tasks) => {}
        }
    }

    async fn close(&self) {
        let close = async {
            // Err: the store has ended already, or cannot be written.
            let _ = self.write_recorded().await;
            // Err: other processes take over the accounts of this process when the lease has ended.
            let _ = self.resign().await;
            self.listen.close().await;
            self.append.close().await;
            self.owner.close().await;
        };
        if tokio::time::timeout(CLOSE_WITHIN, close).await.is_err() {
            tracing::warn!(
                "PostgreSQL does not answer; other processes take over the accounts when the lease has ended"
            );
        }
        if let Ok(mut compaction) = self.compaction.try_lock() {
            compaction.session = None; // otherwise it runs to its end, without an effect
        }
    }
}

/// The state of compaction between two runs.
#[derive(Debug, Default)]
pub struct Compaction {
    session: Option<Session>,
    /// Where the next run continues in the log.
    positions: LogPositions,
    /// The horizon up to which filters are made when everything has committed; none before the first run.
    horizon: Option<Horizon>,
    vacuum: Vacuum,
}

impl Compaction {
    async fn run(&mut self, connector: &Connector, before: Retention, dropped: &AtomicU64) -> Result<(), StoreError> {
        let session = match self.session.take().filter(|session| !session.has_ended()) {
            Some(session) => session,
            None => open(connector).await?,
        };
        let session = self.session.insert(session);
        while exclusively(session, compact::forget_ids(session, before.ids)).await? == Some(true) {}
        let remove = |after| compact::remove_portion(session, after, before);
        Box::pin(self.positions.advance(remove)).await?; // boxed, because this future is large
        self.horizon = Some(build_filters(session, self.horizon).await?);
        while deletions::remove(session, before.deletions).await? {}
        remove_remembered(session, before, dropped).await?;
        if !session.is_pooled() {
            self.vacuum.run(session).await?;
        }
        Ok(())
    }
}

/// Returns when one of these tasks has panicked, which is a bug: without it, the store must not go on.
async fn until_one_panics(tasks: &Mutex<JoinSet<()>>) {
    let mut tasks = tasks.lock().await;
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn open(connector: &Connector) -> Result<Session, StoreError> {
    let session = connector.connect().await?;
    if !session.is_pooled() {
        session.run_statements(SETTINGS).await?;
    }
    Ok(session)
}

/// Makes filters of the blocks up to `horizon`, if everything has committed up to there; returns the next horizon.
async fn build_filters(session: &Session, horizon: Option<Horizon>) -> Result<Horizon, Error> {
    let Some(horizon) = horizon else {
        // A process of an earlier release may have removed the rows of blocks.
        exclusively(session, key_blocks::remove_all_empty(session)).await?;
        return Horizon::now(session).await;
    };
    let Some(until) = horizon.passed(session).await? else { return Ok(horizon) };
    while exclusively(session, key_blocks::build(session, until)).await? == Some(true) {}
    Horizon::now(session).await
}

/// Removes expired remembered traits, and those above the limits. Adds the number of users above the limits to `dropped`.
async fn remove_remembered(session: &Session, before: Retention, dropped: &AtomicU64) -> Result<(), Error> {
    while remembered::remove_expired(session, before.now).await? {}
    loop {
        match exclusively(session, remembered::remove_surplus(session, before.max_traits)).await? {
            None | Some(0) => return Ok(()),
            Some(removed) => dropped.fetch_add(removed, Ordering::Relaxed),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_task_that_panics_ends_the_store_and_one_that_ends_does_not() {
        let tasks = Mutex::new(JoinSet::new());
        tasks.lock().await.spawn(async {});
        tokio::task::yield_now().await;
        assert!(until_one_panics(&tasks).now_or_never().is_none());
        tasks.lock().await.spawn(async { panic!("a bug") });
        until_one_panics(&tasks).await;
    }
}
