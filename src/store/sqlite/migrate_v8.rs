//! Migration of a file of version 8 to version 9: the log says where an event came from, and whether it was answered without being appended;
//! and there is a table of what is remembered of users who are no affiliates yet.
//!
//! In: a file of version 8. Out: the same file with the tables of version 9. Invariant: it is one transaction. The rows of the log are
//! not touched: they came from no source that is known, and were appended. The filters of its blocks, which have no ids of events yet, are
//! made anew by the first compaction; until then a lookup reads the rows one by one.

use super::schema;
use rusqlite::Connection;

/// Makes the tables of version 9 of those of version 8, or changes nothing. The connection is in no transaction.
pub fn migrate_file(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(schema::TABLES_NEW_IN_9)?;
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

    #[test]
    fn a_migrated_file_has_the_tables_of_a_new_one_and_its_filters_are_made_anew() {
        let new = Connection::open_in_memory().expect("opened");
        schema::create(&new, &[0; 32]).expect("made");
        let mut migrated = Connection::open_in_memory().expect("opened");
        schema::create_tables_of_8(&migrated).expect("made");
        migrated.execute_batch(VERSION_8).expect("as version 8 was");
        migrate_file(&mut migrated).expect("migrated");
        assert_eq!(objects(&migrated), objects(&new));
        let read = |sql: &str| migrated.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number");
        assert_eq!(read("PRAGMA user_version"), schema::VERSION);
        assert_eq!(read("SELECT count(*) FROM log WHERE source IS NULL AND answered = 0"), 2);
        assert_eq!(read("SELECT count(*) FROM key_blocks WHERE filter IS NULL"), 1);
    }
}
