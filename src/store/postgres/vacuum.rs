//! The service's own vacuum: it frees the space of deleted and outdated rows within their tables, so that a store does not grow with the
//! number of events that went through it. It overwrites nothing: see promise 9 of [`crate::store`].
//!
//! PostgreSQL itself vacuums a table when a fifth of it is outdated. Every event leaves an outdated row of `log`, a deleted row of `bodies`
//! and entries of indexes, nearly all within seconds. In: the counts that PostgreSQL keeps of each table. Out: the vacuum of tables that
//! are due. Invariants: a vacuum waits for no lock, and delays no other work; while an old transaction (for instance a dump) prevents the
//! removal of outdated rows, a table is vacuumed again only when it has twice as many of them. Deliberately absent: `VACUUM FULL`, which
//! locks a table, and returning space to the system.

use super::session::Session;
use std::collections::HashMap;
use tokio_postgres::Error;

/// The outdated rows from which a table that grows with the events is due; a fiftieth of its live rows is added.
const OF_EVENTS: i64 = 5_000;
/// The same number for a table with few rows that are updated all the time (ownership, test commits), or with large rows.
const OF_FEW_ROWS: i64 = 500;

/// The tables whose rows come and go, each with the number of outdated rows from which it is due at the earliest.
const TABLES: [(&str, i64); 14] = [
    ("log", OF_EVENTS),
    ("bodies", OF_EVENTS),
    ("ids", OF_EVENTS),
    ("attempts", OF_EVENTS),
    ("links", OF_EVENTS),
    ("affiliates", OF_EVENTS),
    ("dead_letters", OF_EVENTS),
    ("dead_keys", OF_EVENTS),
    ("deleted_users", OF_EVENTS),
    ("remembered_traits", OF_EVENTS),
    ("key_blocks", OF_FEW_ROWS),
    ("accounts", OF_FEW_ROWS),
    ("replicas", OF_FEW_ROWS),
    ("meta", OF_FEW_ROWS),
];

const LIVE_PER_OUTDATED: i64 = 50;

/// The vacuum of the tables that are due.
#[derive(Debug, Default)]
pub struct Vacuum {
    /// The outdated rows of each table after its last vacuum.
    left: HashMap<&'static str, i64>,
}

impl Vacuum {
    /// Vacuums the tables that are due. The session must have no timeout of statements.
    pub async fn run(&mut self, session: &Session) -> Result<(), Error> {
        let before = outdated(session).await?;
        let is_due = |(table, least): &&(&'static str, i64)| self.is_due(table, *least, before.get(*table));
        let due: Vec<&str> = TABLES.iter().filter(is_due).map(|(table, _)| *table).collect();
        if due.is_empty() {
            return Ok(());
        }
        for table in &due {
            session.run_statements(&format!("VACUUM (SKIP_LOCKED, TRUNCATE false) {table}")).await?;
        }
        let after = outdated(session).await?;
        for table in due {
            self.left.insert(table, after.get(table).map_or(0, |rows| rows.outdated));
        }
        Ok(())
    }

    fn is_due(&self, table: &str, least: i64, rows: Option<&RowCounts>) -> bool {
        let left = self.left.get(table).copied().unwrap_or(0);
        rows.is_some_and(|rows| rows.outdated >= (least + rows.live / LIVE_PER_OUTDATED).max(2 * left))
    }
}

/// The rows of a table, as PostgreSQL counts them.
#[derive(Clone, Copy, Debug)]
struct RowCounts {
    live: i64,
    outdated: i64,
}

async fn outdated(session: &Session) -> Result<HashMap<String, RowCounts>, Error> {
    let sql =
        "SELECT relname::text, n_live_tup, n_dead_tup FROM pg_stat_user_tables WHERE schemaname = current_schema()";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), RowCounts { live: row.get(1), outdated: row.get(2) })).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_due_once_a_fiftieth_is_outdated_and_twice_what_no_vacuum_could_remove() {
        let mut vacuum = Vacuum::default();
        let due = |vacuum: &Vacuum, (table, least), (live, outdated)| {
            vacuum.is_due(table, least, Some(&RowCounts { live, outdated }))
        };
        let log = ("log", OF_EVENTS);
        let is_due = |vacuum: &Vacuum, live, outdated| due(vacuum, log, (live, outdated));
        for (live, outdated, expected) in
            [(0, 4_999, false), (0, 5_000, true), (1_000_000, 24_999, false), (1_000_000, 25_000, true)]
        {
            assert_eq!(is_due(&vacuum, live, outdated), expected, "{live} {outdated}");
        }
        assert!(!vacuum.is_due("log", OF_EVENTS, None));
        vacuum.left.insert("log", 100_000);
        assert!(!is_due(&vacuum, 0, 199_999) && is_due(&vacuum, 0, 200_000));
        assert!(due(&vacuum, ("bodies", OF_EVENTS), (0, 5_000)), "of that table alone");
        assert!(due(&vacuum, ("replicas", OF_FEW_ROWS), (3, 500)), "it is read whole");
    }
}
