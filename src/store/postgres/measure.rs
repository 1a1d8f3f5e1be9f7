//! Measurements of the store: the ages of backlogs, dead letters by reason, sizes.
//!
//! Deliberately absent: the free space on the server's disk, which is not known here, and the memory of a deduplication index, because ids
//! are in a table.

use super::remembered;
use super::schema::schema_of_tables;
use super::session::{Session, Values};
use crate::domain::Timestamp;
use crate::store::Measured;
use futures_util::future::try_join4;
use tokio_postgres::Error;

/// The first pending event of each of these accounts, from its bound on.
pub const OLDEST: &str = "SELECT wanted.name, (SELECT log.received_at FROM log
        WHERE log.outcome IS NULL AND (log.account, log.seq) >= (accounts.account, wanted.first)
            AND log.account <= accounts.account
        ORDER BY log.account, log.seq LIMIT 1)
    FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS wanted (name, first, place) LEFT JOIN accounts USING (name)
    ORDER BY wanted.place";
const DEAD_LETTERS: &str = "SELECT accounts.name, dead_letters.code, count(*)
    FROM dead_letters JOIN accounts USING (account) GROUP BY accounts.name, dead_letters.code";
const SIZE: &str = concat!(
    "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = ",
    schema_of_tables!()
);

/// Measures everything at once. `accounts` and `firsts`: the accounts with pending events, and their bounds.
pub async fn measure(session: &Session, (accounts, firsts): (Vec<String>, Vec<i64>)) -> Result<Measured, Error> {
    session.prepare(&[OLDEST, DEAD_LETTERS, SIZE, remembered::SIZES]).await?;
    let accounts: Values<'_> = &[&accounts, &firsts];
    let (oldest, dead_letters) = (session.query(OLDEST, accounts), session.query(DEAD_LETTERS, &[]));
    let (size, remembered) = (session.query_one(SIZE, &[]), session.query(remembered::SIZES, &[]));
    let (oldest, dead_letters, size, remembered) = try_join4(oldest, dead_letters, size, remembered).await?;
    Ok(Measured {
        oldest_pending: oldest
            .iter()
            .filter_map(|row| Some((row.get(0), Timestamp(row.get::<_, Option<_>>(1)?))))
            .collect(),
        dead_letters: dead_letters
            .iter()
            .map(|row| ((row.get(0), row.get(1)), row.get::<_, i64>(2).unsigned_abs()))
            .collect(),
        remembered: remembered::sizes(&remembered),
        size: size.get::<_, i64>(0).unsigned_abs(),
        ..Measured::default()
    })
}
