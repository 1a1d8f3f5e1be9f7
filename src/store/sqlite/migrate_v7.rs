//! Migration of a file of version 7, 8 or 9 to version 10. New in 8: the log gets blocks with filters of keys, by which a lookup finds a
//! user's events. New in 9: the log says where an event came from, and whether it was answered without being appended; and there is a table
//! of what is remembered of users who are no affiliates yet. New in 10: the bodies of dead letters are in the table of bodies, which is
//! written again.
//!
//! In: a file of one of these versions. Out: the same file with the tables of version 10. Invariant: it is one transaction. The rows of the
//! log are not touched: they came from no source that is known, and were appended. The filters of its blocks are made, or made again with
//! ids of events, by the first compaction; until then a lookup reads the rows one by one. The disk needs room for the bodies twice more,
//! until the WAL is emptied.

use super::schema;
use rusqlite::Connection;

/// Makes the tables of version 10 of those of `version`, or changes nothing. The connection is in no transaction.
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

    /// Of release 0.6.0: a pending event, and three dead letters, of which one is erased, and one came before the keys of users were kept.
    const VERSION_9: &str = "
        INSERT INTO accounts (name) VALUES ('main');
        INSERT INTO log (seq, account, id, keys, received_at, outcome) VALUES
            (1, 1, zeroblob(16), x'', 5, 42), (2, 1, zeroblob(16), x'', 5, NULL), (3, 1, zeroblob(16), x'', 5, 60),
            (4, 1, zeroblob(16), x'', 5, 42);
        INSERT INTO bodies (seq, body) VALUES (2, 'two');
        INSERT INTO dead_letters (seq, account, id, code, reason, failures, received_at, died_at, body, keys, history) VALUES
            (1, 1, zeroblob(16), 'refused', 'no', 1, 5, 6, 'one', x'01', '[]'),
            (3, 1, zeroblob(16), 'erased', 'gone', 0, 5, 7, NULL, NULL, NULL),
            (4, 1, zeroblob(16), 'refused', 'no', 2, 5, 8, 'four', NULL, NULL);
        PRAGMA user_version = 9";

    #[test]
    fn the_bodies_of_dead_letters_join_the_others_in_a_file_of_version_9() {
        let migrated = migrated(9, VERSION_9);
        let text = |sql: &str| migrated.query_row(sql, [], |row| row.get::<_, String>(0)).expect("a text");
        assert_eq!(
            text("SELECT group_concat(seq || body ORDER BY seq) FROM bodies WHERE event IS NULL"),
            "1one,2two,4four"
        );
        let letter =
            "seq || code || failures || died_at || erased || coalesce(hex(keys), '-') || coalesce(history, '-')";
        assert_eq!(
            text(&format!("SELECT group_concat({letter}, ' ' ORDER BY seq) FROM dead_letters")),
            "1refused16001[] 3erased071- 4refused280-"
        );
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
