//! The service's own vacuum: it frees the space of deleted and outdated rows within their tables, so that a store does not grow with the
//! number of events that went through it. It overwrites nothing: see promise 9 of [`crate::store`].
//!
//! PostgreSQL itself vacuums a table when a fifth of it is outdated. Every event leaves an outdated row of `log`, a deleted row of `bodies`
//! and entries of indexes, nearly all within seconds. In: the counts that PostgreSQL keeps of each table. Out: the vacuum of tables that
//! are due. Invariants: a vacuum waits for no lock, and delays no other work; while an old transaction (for instance a dump) prevents the
//! removal of outdated rows, a table is vacuumed again only when it has twice as many of them; a table that another vacuum had locked is
//! vacuumed the next time. Deliberately absent: `VACUUM FULL`, which locks a table, and returning space to the system.

use super::schema::{schema_of_tables, tables};
use super::session::Session;
use std::collections::HashMap;
use tokio_postgres::{Error, Row};

/// The outdated rows from which a table that grows with the events is due; a fiftieth of its live rows is added.
const OF_EVENTS: i64 = 5_000;
/// The same number for a table with few rows that are updated all the time (ownership, test commits), or with large rows.
const OF_FEW_ROWS: i64 = 500;

/// These tables have few rows, or large ones.
const WITH_FEW_ROWS: [&str; 4] = ["key_blocks", "accounts", "replicas", "meta"];

const LIVE_PER_OUTDATED: i64 = 50;

/// The vacuum of the tables that are due. PostgreSQL 14 counts with a delay, so there a table may be vacuumed again at once.
#[derive(Debug, Default)]
pub struct Vacuum {
    /// The outdated rows that the last vacuum of each table could not remove.
    left: HashMap<&'static str, i64>,
}

impl Vacuum {
    /// Vacuums the tables that are due. The session must have no timeout of statements.
    pub async fn run(&mut self, session: &Session) -> Result<(), Error> {
        let before = outdated(session).await?;
        let due: Vec<&str> = tables().into_iter().filter(|table| self.is_due(table, before.get(*table))).collect();
        if due.is_empty() {
            return Ok(());
        }
        for table in &due {
            session.run_statements(&format!("VACUUM (SKIP_LOCKED, TRUNCATE false) {table}")).await?;
        }
        let after = outdated(session).await?;
        for table in due {
            if let (Some(before), Some(after)) = (before.get(table), after.get(table))
                && after.vacuums > before.vacuums
            {
                self.left.insert(table, after.outdated);
            }
        }
        Ok(())
    }

    fn is_due(&self, table: &str, rows: Option<&RowCounts>) -> bool {
        let least = if WITH_FEW_ROWS.contains(&table) { OF_FEW_ROWS } else { OF_EVENTS };
        let left = self.left.get(table).copied().unwrap_or(0);
        rows.is_some_and(|rows| rows.outdated >= (least + rows.live / LIVE_PER_OUTDATED).max(2 * left))
    }
}

/// The rows of a table, as PostgreSQL counts them.
#[derive(Clone, Copy, Debug)]
struct RowCounts {
    live: i64,
    outdated: i64,
    /// The number of its vacuums, without those that PostgreSQL began itself.
    vacuums: i64,
}

async fn outdated(session: &Session) -> Result<HashMap<String, RowCounts>, Error> {
    let sql = concat!(
        "SELECT pg_class.relname::text, n_live_tup, n_dead_tup, vacuum_count
         FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid WHERE relnamespace = ",
        schema_of_tables!()
    );
    let rows = session.query(sql, &[]).await?;
    let counts = |row: &Row| RowCounts { live: row.get(1), outdated: row.get(2), vacuums: row.get(3) };
    Ok(rows.iter().map(|row| (row.get(0), counts(row))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_due_once_a_fiftieth_is_outdated_and_twice_the_rows_that_the_last_vacuum_left() {
        let mut vacuum = Vacuum::default();
        let due = |vacuum: &Vacuum, table, (live, outdated)| {
            vacuum.is_due(table, Some(&RowCounts { live, outdated, vacuums: 0 }))
        };
        let is_due = |vacuum: &Vacuum, live, outdated| due(vacuum, "log", (live, outdated));
        for (live, outdated, expected) in
            [(0, 4_999, false), (0, 5_000, true), (1_000_000, 24_999, false), (1_000_000, 25_000, true)]
        {
            assert_eq!(is_due(&vacuum, live, outdated), expected, "{live} {outdated}");
        }
        assert!(!vacuum.is_due("log", None));
        vacuum.left.insert("log", 100_000);
        assert!(!is_due(&vacuum, 0, 199_999) && is_due(&vacuum, 0, 200_000));
        assert!(due(&vacuum, "bodies", (0, 5_000)), "of that table alone");
        assert!(due(&vacuum, "replicas", (3, 500)), "it is read whole");
    }
}
