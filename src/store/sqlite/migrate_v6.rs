//! Migration of a file of version 6 to version 10: affiliates get a mark of e-mail conflicts, and moments of deletions
//! and blocks of the log a table.
//!
//! In: a file of version 6. Out: the same file with the tables of version 10. Invariant: it is one transaction, so a file whose
//! migration was interrupted is still of version 6, and is migrated at the next start. What was sent of an affiliate stays JSON
//! until it changes ([`SentAttributes::from_bytes`](crate::domain::SentAttributes::from_bytes) reads both), and the log is
//! not touched. The disk needs room for the affiliates twice more. Measured: a million affiliates take 7 seconds and 31 MB of memory.

use super::schema;
use rusqlite::{Connection, Transaction};

const AFFILIATES: &str = "
INSERT INTO affiliates (affiliate, account, code, id, found, sent, email_conflict)
    SELECT affiliate, account, code, id, found, CAST(sent AS BLOB), 0 FROM v6_affiliates ORDER BY affiliate;
DROP TABLE v6_affiliates;
";

/// Makes the tables of version 10 of those of version 6, or changes nothing. The connection is in no transaction.
pub fn migrate_file(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    migrate(&transaction)?;
    transaction.commit()
}

fn migrate(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch("ALTER TABLE affiliates RENAME TO v6_affiliates")?;
    schema::make_tables(transaction, 7..)?;
    transaction.execute_batch(AFFILIATES)?;
    set_former_ids_below(transaction)?;
    transaction.pragma_update(None, "user_version", schema::VERSION)
}

/// Writes that all events appended so far may have their former id.
pub fn set_former_ids_below(connection: &Connection) -> rusqlite::Result<()> {
    let last: i64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM log", [], |row| row.get(0))?;
    let next = schema::meta(connection, schema::NEXT_SEQ)?.max(last + 1);
    schema::set_meta(connection, schema::FORMER_IDS_BELOW, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tempfile::TempDir;

    /// See its head for its rows.
    const VERSION_6: &str = include_str!("../../../tests/it/store/fixtures/version-6.sql");

    fn open(path: &Path) -> Connection {
        let connection = Connection::open(path).expect("opened");
        connection.pragma_update(None, "journal_mode", "WAL").expect("a WAL");
        connection
    }

    fn version_6(folder: &TempDir) -> Connection {
        let connection = open(&folder.path().join("store.db"));
        connection.execute_batch(VERSION_6).expect("made");
        connection
    }

    fn version(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
    }

    fn column(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("values")
    }

    #[test]
    fn a_migrated_file_has_the_tables_of_a_new_one() {
        let mut migrated = version_6(&TempDir::new().expect("a folder"));
        migrate_file(&mut migrated).expect("migrated");
        let fresh = Connection::open_in_memory().expect("opened");
        schema::create(&fresh, &[0; 32]).expect("made");
        let columns = "SELECT t.name || ' ' || c.name || c.type || c.\"notnull\" || c.pk
                       FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c ORDER BY 1";
        let indexes = "SELECT name || coalesce(sql, '') FROM sqlite_schema WHERE type = 'index' ORDER BY name";
        for sql in [columns, indexes] {
            assert_eq!(column(&migrated, sql), column(&fresh, sql));
        }
        assert_eq!(column(&migrated, "PRAGMA integrity_check"), ["ok"]);
        assert_eq!(column(&migrated, "SELECT DISTINCT typeof(sent) FROM affiliates"), ["blob"]);
    }

    /// The process ends just before the commit.
    #[test]
    fn an_interrupted_migration_leaves_the_file_at_version_6() {
        let folder = TempDir::new().expect("a folder");
        let mut connection = version_6(&folder);
        connection.pragma_update(None, "cache_size", 1).expect("a small cache, so that pages are written early");
        let before = column(&connection, "SELECT code || sent FROM affiliates ORDER BY affiliate");
        assert_eq!(before.len(), 4);
        let transaction = connection.transaction().expect("begun");
        migrate(&transaction).expect("migrated");
        for file in ["store.db", "store.db-wal"] {
            let to = file.replace("store", "copy");
            std::fs::copy(folder.path().join(file), folder.path().join(to)).expect("copied");
        }
        drop(transaction);
        let copy = open(&folder.path().join("copy.db"));
        for mut connection in [connection, copy] {
            assert_eq!(version(&connection), 6);
            assert_eq!(column(&connection, "SELECT code || sent FROM affiliates ORDER BY affiliate"), before);
            migrate_file(&mut connection).expect("migrated at the next start");
            assert_eq!(version(&connection), schema::VERSION);
            let after = column(&connection, "SELECT code || CAST(sent AS TEXT) FROM affiliates ORDER BY affiliate");
            assert_eq!(after, before);
        }
    }
}
