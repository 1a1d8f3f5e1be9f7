//! Migration of a file of version 7 or 8 to version 9. New in 8: the log gets blocks with filters of keys, by which a lookup finds a
//! user's events. New in 9: the log says where an event came from, and whether it was answered without being appended; and there is a
//! table of what is remembered of users who are no affiliates yet.
//!
//! In: a file of one of these versions. Out: the same file with the tables of version 9. Invariant: it is one transaction. The rows of
//! the log are not touched: they came from no source that is known, and were appended. The filters of its blocks are made, or made anew
//! with ids of events, by the first compaction; until then a lookup reads the rows one by one.

use super::schema;
use rusqlite::Connection;

/// Makes the tables of version 9 of those of `version`, or changes nothing. The connection is in no transaction.
pub fn migrate_file(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    schema::make_tables(&transaction, version + 1..)?;
    transaction.pragma_update(None, "user_version", schema::VERSION)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(connection: &Connection) -> Vec<String> {
        let sql = "SELECT name || coalesce(sql, '') FROM sqlite_schema ORDER BY name";
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("texts")
    }

    /// A file as release 0.5.0 makes it: an event was settled, and one is pending, both in a block.
    const VERSION_8: &str = "
        INSERT INTO accounts (name) VALUES ('main');
        INSERT INTO log (seq, account, id, keys, received_at, outcome) VALUES (1, 1, zeroblob(16), x'', 5, 1);
        INSERT INTO log (seq, account, id, keys, received_at) VALUES (2, 1, zeroblob(16), x'', 6);
        INSERT INTO key_blocks (last, first, filter) VALUES (2, 1, zeroblob(8192));
        PRAGMA user_version = 8";

    /// Checks that a file of `version` with these rows becomes one with the tables of a new file.
    fn migrated(version: i64, rows: &str) -> Connection {
        let new = Connection::open_in_memory().expect("opened");
        schema::create(&new, &[0; 32]).expect("made");
        let mut migrated = Connection::open_in_memory().expect("opened");
        schema::make_tables(&migrated, ..=version).expect("made");
        migrated.execute_batch(rows).expect("as that version was");
        migrate_file(&mut migrated, version).expect("migrated");
        assert_eq!(objects(&migrated), objects(&new));
        assert_eq!(number(&migrated, "PRAGMA user_version"), schema::VERSION);
        migrated
    }

    fn number(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    #[test]
    fn a_file_of_version_7_gets_the_tables_of_a_new_one() {
        migrated(7, "PRAGMA user_version = 7");
    }

    #[test]
    fn a_file_of_version_8_gets_the_tables_of_a_new_one_and_its_filters_are_made_anew() {
        let migrated = migrated(8, VERSION_8);
        assert_eq!(number(&migrated, "SELECT count(*) FROM log WHERE source IS NULL AND answered = 0"), 2);
        assert_eq!(number(&migrated, "SELECT count(*) FROM key_blocks WHERE filter IS NULL"), 1);
    }
}
