//! The mark of an open file, by which a copy without its write-ahead log is recognised at the start.
//!
//! While a store is open, the latest commits are only in the WAL. An orderly end removes the mark and then the WAL; a crash leaves both. So
//! a marked file without a WAL was copied while the store was open, or its WAL was deleted. The mark must be in the file itself, so a
//! checkpoint writes it there right after its commit. Invariant: only an orderly end empties and removes the WAL of a marked file, because
//! no other connection does so when it closes ([`super::schema`]).

use super::{checkpoint, schema};
use rusqlite::Connection;
use std::path::Path;

/// The name of the mark in `meta`.
const OPEN: &str = "open";

/// Marks the file `path` as open. Warns if it was marked already and had no WAL before this process opened it.
pub fn mark_open(connection: &Connection, path: &Path, had_wal: bool) -> rusqlite::Result<()> {
    if schema::meta(connection, OPEN)? == 0 {
        schema::set_meta(connection, OPEN, 1)?;
        return checkpoint::write(connection).map(drop);
    }
    if !had_wal {
        tracing::warn!(
            store = %path.display(),
            "the store was not closed in order, and its write-ahead log (the file with -wal) is missing: if the file was copied \
             without it, the last events before the copy are lost; copy a running store with the command `backup`"
        );
    }
    Ok(())
}

/// Removes the mark.
pub fn mark_closed(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM meta WHERE name = ?1", [OPEN]).map(drop)
}
