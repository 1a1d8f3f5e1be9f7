//! Migration of a file of version 6 to version 7: affiliates get a mark of e-mail conflicts, and moments of deletions a table.
//!
//! In: a file of version 6. Out: the same file with the tables of version 7. Invariant: it is one transaction, so a file whose
//! migration was interrupted is still of version 6, and is migrated at the next start. What was sent of an affiliate stays JSON
//! until it changes ([`SentAttributes::from_bytes`](crate::domain::SentAttributes::from_bytes) reads both), and the log is
//! not touched. The disk needs room for the affiliates twice more.

use super::schema;
use rusqlite::{Connection, Transaction};

const AFFILIATES: &str = "
INSERT INTO affiliates (affiliate, account, code, id, found, sent, email_conflict)
    SELECT affiliate, account, code, id, found, CAST(sent AS BLOB), 0 FROM v6_affiliates ORDER BY affiliate;
DROP TABLE v6_affiliates;
";

/// Makes the tables of version 7 of those of version 6, or changes nothing. The connection is in no transaction.
pub fn migrate_file(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    migrate(&transaction)?;
    transaction.commit()
}

fn migrate(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch("ALTER TABLE affiliates RENAME TO v6_affiliates")?;
    transaction.execute_batch(schema::TABLES_NEW_IN_7)?;
    transaction.execute_batch(AFFILIATES)?;
    schema::set_former_ids_below(transaction)?;
    transaction.pragma_update(None, "user_version", schema::VERSION)
}
