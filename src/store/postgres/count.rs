//! The task that counts the tables at intervals, so that this process knows the events that others append and end.
//!
//! In: the connection on which events are ended. Out: the counts ([`Backlogs::counted`](super::backlogs::Backlogs::counted)). Larger tables
//! are counted less often, so counting takes at most a fiftieth of the connection's time. Events that were settled before the first pending
//! event are not examined. The task also notices that a newer release has migrated the tables so far that this one cannot continue.

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

/// Counts in one statement, so the counts are of one moment. Each account is counted from its bound on, by the index of pending events: see
/// [`super::read`]. In: numbers of accounts in rising order, and their bounds; other accounts are counted as a whole.
const COUNT: &str = "SELECT pg_postmaster_start_time(), sums.last, sums.dead,
        pending.name, pending.account, pending.events, pending.first, pending.newest
    FROM (SELECT coalesce((SELECT max(seq) FROM log), 0) AS last, (SELECT count(*) FROM dead_letters) AS dead) AS sums
        LEFT JOIN (
            SELECT accounts.name, accounts.account, counted.* FROM accounts CROSS JOIN LATERAL (
                SELECT count(*) AS events, min(log.seq) AS first, max(log.seq) AS newest FROM log
                WHERE log.outcome IS NULL AND log.account <= accounts.account AND (log.account, log.seq) >= (accounts.account,
                    CASE WHEN ($1::int[])[width_bucket(accounts.account, $1::int[])] = accounts.account
                        THEN ($2::bigint[])[width_bucket(accounts.account, $1::int[])] ELSE 0 END)
            ) AS counted WHERE counted.events > 0
        ) AS pending ON true";

/// Counts while the store is open, beginning after the first interval.
pub async fn keep_counting(shared: Arc<Shared>, owner: Weak<Owner>) {
    let mut wait = INTERVAL;
    loop {
        sleep(wait).await;
        let Some(owner) = owner.upgrade() else { return };
        let began = Instant::now();
        let counted = count(&shared, &owner).await;
        wait = INTERVAL.max(began.elapsed() * TIMES_AS_LONG);
        match counted {
            Ok(false) | Err(StoreError::Transient(_)) => {} // the connection has logged it
            Ok(true) => {
                tracing::error!("a newer release has migrated the tables of the store; this one ends");
                return shared.too_old.cancel();
            }
            Err(StoreError::Closed) => return,
            Err(error) => tracing::warn!(%error, "cannot count pending events"),
        }
    }
}

/// Counts once; returns whether this release is too old for the tables.
pub async fn count(shared: &Arc<Shared>, owner: &Owner) -> Result<bool, StoreError> {
    let shared = Arc::clone(shared);
    let count = owner.run(move |session| {
        Box::pin(async move {
            match count_in(&shared, session).await {
                // There are millions of outdated rows, which cannot be removed while an old transaction lasts, for instance a dump.
                Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                    tracing::warn!("counting pending events took too long; they are counted again later");
                    Ok(false)
                }
                counted => Ok::<_, JobError>(counted?),
            }
        })
    });
    count.await
}

async fn count_in(shared: &Shared, session: &Session) -> Result<bool, Error> {
    let bounds = shared.backlogs.bounds();
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
    is_too_old(session).await
}
