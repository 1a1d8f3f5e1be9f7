//! Migration of a file of version 7 to this release's: the log gets blocks with filters of keys, by which a lookup finds a user's events.
//!
//! In: a file of version 7. Out: the same file with the tables of this release. Invariant: it is one transaction. The blocks of the log
//! as it is are made by the first compaction; until then a lookup reads the rows one by one.

use super::schema;
use rusqlite::Connection;

/// Makes the tables of this release of those of version 7, or changes nothing. The connection is in no transaction.
pub fn migrate_file(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(schema::TABLES_NEW_IN_8)?;
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

    #[test]
    fn a_migrated_file_has_the_tables_of_a_new_one() {
        let new = Connection::open_in_memory().expect("opened");
        schema::create(&new, &[0; 32]).expect("made");
        let mut migrated = Connection::open_in_memory().expect("opened");
        schema::create_tables_of_8(&migrated).expect("made");
        migrated.execute_batch("DROP TABLE key_blocks; PRAGMA user_version = 7").expect("as version 7 was");
        migrate_file(&mut migrated).expect("migrated");
        assert_eq!(objects(&migrated), objects(&new));
        let version: i64 = migrated.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
        assert_eq!(version, schema::VERSION);
    }
}
