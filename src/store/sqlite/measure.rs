//! Measurements of the store: the ages of backlogs, dead letters by reason, sizes.

use super::open::file_beside;
use super::query::Query;
use super::{SqliteStore, inspection, remembered};
use crate::store::{Measured, StoreError};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

impl SqliteStore {
    /// The bytes that this user may still write on the disk of this file, which must exist. `None`: the system does not say.
    #[cfg(unix)]
    pub fn free_space(path: &Path) -> Option<u64> {
        let disk = rustix::fs::statvfs(path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// The same; this system does not say.
    #[cfg(not(unix))]
    pub fn free_space(_: &Path) -> Option<u64> {
        None
    }

    /// Measures everything at once: reads one row for each account with pending events, and all dead letters.
    pub(super) async fn measure_all(&self) -> Result<Measured, StoreError> {
        let (accounts, deduplication) = {
            let counts = self.published.lock();
            (counts.pending.keys().cloned().collect::<Vec<_>>(), counts.deduplication)
        };
        let (path, ledger_dropped) = (self.readers.path().to_owned(), self.ledger.dropped());
        let remembered_dropped = self.remembered_dropped.load(Ordering::Relaxed);
        let read = move |connection: &Connection| {
            let oldest = inspection::oldest_pending(connection, &accounts)?;
            let oldest = accounts.into_iter().zip(oldest);
            Ok(Measured {
                oldest_pending: oldest.filter_map(|(account, at)| Some((account, at?))).collect(),
                dead_letters: dead_letters(connection)?,
                remembered: remembered::sizes(connection)?,
                remembered_dropped,
                size: size(&path),
                free: Self::free_space(&path),
                deduplication_ids: deduplication.0,
                deduplication_bytes: deduplication.1,
                ledger_dropped,
            })
        };
        self.readers.read(read).await
    }
}

fn dead_letters(connection: &Connection) -> Result<BTreeMap<(String, String), u64>, StoreError> {
    let sql = "SELECT name, code, count(*) FROM dead_letters JOIN accounts USING (account) GROUP BY account, code";
    let count = |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?), row.get::<_, i64>(2)?.unsigned_abs()));
    Ok(connection.all(sql, [], count)?.into_iter().collect())
}

/// The bytes of the file and of its write-ahead log.
fn size(path: &Path) -> u64 {
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    bytes(path) + bytes(&file_beside(path, "-wal"))
}
