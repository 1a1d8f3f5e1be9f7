//! The task that counts the tables at intervals, so that this process knows the events that others append and end.
//!
//! In: the connection on which events are ended. Out: the counts ([`Backlogs::counted`](super::backlogs::Backlogs::counted)). Larger tables
//! are counted less often, so counting takes at most a fiftieth of the connection's time: only the time on the server counts, and only if
//! two counts in a row took it, so that a slow network, a lock or a broken connection does not make the counts old. Events that were settled
//! before the first pending event are not examined. The task also notices that a newer release has migrated the tables so far that this one
//! cannot continue.

use super::Owner;
use super::accounts::AccountNumber;
use super::backlogs::{Count, Sums};
use super::error::JobError;
use super::migrate::is_too_old;
use super::session::Session;
use super::shared::Shared;
use crate::domain::{AccountName, Seq};
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};

/// The shortest time between two counts, and its ratio to the duration of a count.
const INTERVAL: Duration = Duration::from_secs(1);
const TIMES_AS_LONG: u32 = 50;
/// The time between two counts while a table is locked: each waits for the lock, and the other work of its connection waits for it.
const INTERVAL_IF_LOCKED: Duration = Duration::from_secs(10);

/// The end of a count: what it means for the following ones.
pub struct Counted {
    /// How long the server took.
    took: Duration,
    /// Whether this release is too old for the tables.
    is_too_old: bool,
    /// Whether it failed.
    has_failed: bool,
}

/// Counts in one statement, so the counts are of one moment. Each account is counted from its bound on, by the index of pending events: see
/// [`super::read`]. In: numbers of accounts in rising order, and their bounds; other accounts are counted as a whole. The last value of a row
/// is the time that the server has taken so far; the sort makes it count all rows before it is computed.
const COUNT: &str = "SELECT pg_postmaster_start_time(), sums.last, sums.dead,
        pending.name, pending.account, pending.events, pending.first, pending.newest,
        extract(epoch FROM clock_timestamp() - statement_timestamp())::float8
    FROM (SELECT coalesce((SELECT max(seq) FROM log), 0) AS last, (SELECT count(*) FROM dead_letters) AS dead) AS sums
        LEFT JOIN (
            SELECT accounts.name, accounts.account, counted.* FROM accounts CROSS JOIN LATERAL (
                SELECT count(*) AS events, min(log.seq) AS first, max(log.seq) AS newest FROM log
                WHERE log.outcome IS NULL AND log.account <= accounts.account AND (log.account, log.seq) >= (accounts.account,
                    CASE WHEN ($1::int[])[width_bucket(accounts.account, $1::int[])] = accounts.account
                        THEN ($2::bigint[])[width_bucket(accounts.account, $1::int[])] ELSE 0 END)
            ) AS counted WHERE counted.events > 0
        ) AS pending ON true
    ORDER BY pending.events";

/// Counts while the store is open, beginning after the first interval.
pub async fn keep_counting(shared: Arc<Shared>, owner: Weak<Owner>) {
    let (mut wait, mut last_took) = (INTERVAL, Duration::ZERO);
    loop {
        sleep(wait).await;
        let Some(owner) = owner.upgrade() else { return };
        let counted = count(&shared, &owner).await;
        let took = counted.as_ref().map_or(Duration::ZERO, |counted| counted.took);
        wait = wait_after(took, last_took);
        last_took = took;
        match counted {
            Ok(Counted { is_too_old: true, .. }) => {
                tracing::error!("a newer release has migrated the tables of the store; this one ends");
                return shared.too_old.cancel();
            }
            Ok(_) | Err(StoreError::Transient(_)) => {} // the connection has logged an error
            Err(StoreError::Closed) => return,
            Err(error) => tracing::warn!(%error, "cannot count pending events"),
        }
    }
}

/// The wait after a count that took `took`, and one before it that took `before`.
fn wait_after(took: Duration, before: Duration) -> Duration {
    INTERVAL.max(took.min(before) * TIMES_AS_LONG)
}

/// Counts once. If that fails, fewer events may be pending in the accounts for which other processes deliver.
pub async fn count(shared: &Arc<Shared>, owner: &Owner) -> Result<Counted, StoreError> {
    let counting = Arc::clone(shared);
    let count = owner.run(move |session| {
        Box::pin(async move {
            let began = Instant::now();
            match count_in(&counting, session).await {
                // There are millions of outdated rows, which cannot be removed while an old transaction lasts, for instance a dump.
                Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                    tracing::warn!("counting pending events took too long; they are counted again later");
                    Ok(Counted { took: began.elapsed(), is_too_old: false, has_failed: true })
                }
                // An administrator has locked a table. That says nothing of the time that a later count takes.
                Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                    tracing::warn!("counting pending events waited too long for a lock; they are counted again");
                    Ok(Counted { took: INTERVAL_IF_LOCKED / TIMES_AS_LONG, is_too_old: false, has_failed: true })
                }
                counted => Ok::<_, JobError>(counted?),
            }
        })
    });
    let counted = count.await;
    if counted.as_ref().map_or(true, |counted| counted.has_failed) {
        shared.backlogs.not_counted(|account| shared.leases.token(account).is_some());
    }
    counted
}

async fn count_in(shared: &Shared, session: &Session) -> Result<Counted, Error> {
    let bounds = shared.backlogs.begin_count();
    let known = bounds.accounts.values().filter_map(|bound| Some((bound.account?, bound.first.0)));
    let known: BTreeMap<AccountNumber, i64> = known.collect();
    let (numbers, firsts): (Vec<AccountNumber>, Vec<i64>) = known.into_iter().unzip();
    let rows = session.query(COUNT, &[&numbers, &firsts]).await?;
    let count = |row: &Row| {
        let (name, pending) =
            (AccountName::from(row.get::<_, Option<String>>(3)?), row.get::<_, i64>(5).unsigned_abs());
        Some((name, Count { account: row.get(4), pending, first: Seq(row.get(6)), newest: Seq(row.get(7)) }))
    };
    let counts = rows.iter().filter_map(count).collect();
    if let Some(row) = rows.first() {
        let sums = Sums { server: row.get(0), last: Seq(row.get(1)), dead: row.get::<_, i64>(2).unsigned_abs() };
        shared.backlogs.counted(&bounds, &counts, sums);
    }
    let took = rows.last().and_then(|row| Duration::try_from_secs_f64(row.get(8)).ok()).unwrap_or_default();
    Ok(Counted { took, is_too_old: is_too_old(session).await?, has_failed: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rarer_only_if_two_in_a_row_took_long() {
        let millis = Duration::from_millis;
        for (took, before, wait) in
            [(2, 0, 1_000), (3_000, 2, 1_000), (2, 3_000, 1_000), (40, 50, 2_000), (90, 60, 3_000)]
        {
            assert_eq!(wait_after(millis(took), millis(before)), millis(wait), "{took} ms after {before} ms");
        }
    }
}
