//! Counting the tables again and again, so that this process learns what others append and end.
//!
//! In: the connection on which events are ended. Out: the counts ([`Backlogs::counted`](super::backlogs::Backlogs::counted)). The more
//! there is to be counted, the less often that is done: it takes no more than a fiftieth of the connection's time. It also notices that a
//! newer release has migrated the tables so far that this one cannot go on.

use super::Owner;
use super::backlogs::Count;
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
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// The least time between two counts, and how many times as long as the count itself it is.
const INTERVAL: Duration = Duration::from_secs(1);
const TIMES_AS_LONG: u32 = 50;

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

/// Counts once; says whether this release is too old for the tables.
pub async fn count(shared: &Arc<Shared>, owner: &Owner) -> Result<bool, StoreError> {
    let shared = Arc::clone(shared);
    let count = owner.run(move |session| {
        Box::pin(async move {
            match count_in(&shared, session).await {
                // Millions of outdated rows that cannot be removed while an old transaction lasts, a dump for instance.
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
    // One statement, so one moment. It is planned anew each time: how many rows are pending changes from nearly none to nearly all.
    let sql = "SELECT accounts.name, pending.events, pending.first, sums.last, sums.dead
        FROM (SELECT coalesce((SELECT max(seq) FROM log), 0) AS last, (SELECT count(*) FROM dead_letters) AS dead) AS sums
            LEFT JOIN (SELECT account, count(*) AS events, min(seq) AS first FROM log WHERE outcome IS NULL GROUP BY account)
                AS pending ON true
            LEFT JOIN accounts ON accounts.account = pending.account";
    let mut counts = BTreeMap::new();
    let (mut last, mut dead) = (Seq::default(), 0);
    for row in session.query_anew(sql).await? {
        (last, dead) = (Seq(row.get(3)), row.get::<_, i64>(4).unsigned_abs());
        if let (Some(name), Some(events), Some(first)) = (row.get::<_, Option<String>>(0), row.get(1), row.get(2)) {
            let pending = i64::unsigned_abs(events);
            counts.insert(AccountName::from(name), Count { pending, first: Seq(first) });
        }
    }
    shared.backlogs.counted(&counts, last, dead);
    is_too_old(session).await
}
