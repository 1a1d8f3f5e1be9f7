//! Migration of a file of version 8 to version 9: a table of what is remembered of users who are no affiliates yet.
//!
//! In: a file of version 8. Out: the same file with the tables of version 9. Invariant: it is one transaction.

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

    #[test]
    fn a_migrated_file_has_the_tables_of_a_new_one() {
        let new = || {
            let connection = Connection::open_in_memory().expect("opened");
            schema::create(&connection, &[0; 32]).expect("made");
            connection
        };
        let mut migrated = new();
        migrated.execute_batch("DROP TABLE remembered_traits; PRAGMA user_version = 8").expect("as version 8 was");
        migrate_file(&mut migrated).expect("migrated");
        assert_eq!(objects(&migrated), objects(&new()));
        let version: i64 = migrated.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
        assert_eq!(version, schema::VERSION);
    }
}
