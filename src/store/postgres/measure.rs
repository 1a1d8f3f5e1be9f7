//! Measures the store: the ages of backlogs, dead letters by reason, sizes.
//!
//! The room left on the server's disk is not known here, and ids are found in a table: no index of them is in memory.

use super::remembered;
use super::session::Session;
use crate::domain::Timestamp;
use crate::store::Measured;
use futures_util::future::try_join4;
use tokio_postgres::Error;

/// The first pending event of each account.
const OLDEST: &str = "SELECT accounts.name, oldest.received_at
    FROM accounts CROSS JOIN LATERAL (
        SELECT received_at FROM log
        WHERE log.outcome IS NULL AND (log.account, log.seq) > (accounts.account, 0) AND log.account <= accounts.account
        ORDER BY log.account, log.seq LIMIT 1
    ) AS oldest
    WHERE accounts.name = ANY ($1)";
const DEAD_LETTERS: &str = "SELECT accounts.name, dead_letters.code, count(*)
    FROM dead_letters JOIN accounts USING (account) GROUP BY accounts.name, dead_letters.code";
const SIZE: &str = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint
    FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";

/// Measures everything at once; `accounts` are those with pending events.
pub async fn measure(session: &Session, accounts: &[String]) -> Result<Measured, Error> {
    session.prepare(&[OLDEST, DEAD_LETTERS, SIZE, remembered::SIZES]).await?;
    let accounts = [&accounts as _];
    let (oldest, dead_letters) = (session.query(OLDEST, &accounts), session.query(DEAD_LETTERS, &[]));
    let (size, remembered) = (session.query_one(SIZE, &[]), session.query(remembered::SIZES, &[]));
    let (oldest, dead_letters, size, remembered) = try_join4(oldest, dead_letters, size, remembered).await?;
    Ok(Measured {
        oldest_pending: oldest.iter().map(|row| (row.get(0), Timestamp(row.get(1)))).collect(),
        dead_letters: dead_letters
            .iter()
            .map(|row| ((row.get(0), row.get(1)), row.get::<_, i64>(2).unsigned_abs()))
            .collect(),
        remembered: remembered::sizes(&remembered),
        size: size.get::<_, i64>(0).unsigned_abs(),
        ..Measured::default()
    })
}
