//! Migration of dead letters: they keep their numbers, and each gets an entry of the log.
//!
//! In: `v5_dead_letters` and `v5_dead_keys`. Out: `dead_letters`, `dead_keys` and rows of `log` with an outcome. Their bodies: [`super::events`].
//! Invariant: the code and the reason stay as they were written; a code that this release does not know counts as refused in
//! the log, which holds numbers only.

use super::events::USER_KEYS;
use crate::delivery::OutcomeCode;
use rusqlite::{Connection, params};

/// Carries dead letters over.
pub fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO dead_letters
             (seq, account, id, code, reason, failures, received_at, died_at, erased, keys, history)
         SELECT seq, accounts.account, id, code, reason, failures, received_at, died_at, body IS NULL, {USER_KEYS}, history
         FROM v5_dead_letters AS letter JOIN accounts ON accounts.name = letter.account ORDER BY seq"
    );
    connection.execute(&sql, [])?;
    connection.execute("INSERT INTO dead_keys (key, seq) SELECT key, seq FROM v5_dead_keys", [])?;
    for code in codes(connection)? {
        let sql = "INSERT INTO log (seq, account, id, keys, received_at, outcome)
                   SELECT seq, account, id, coalesce(keys, x''), received_at, ?2 FROM dead_letters WHERE code = ?1";
        let outcome = OutcomeCode::parse(&code).unwrap_or(OutcomeCode::Rejected);
        connection.execute(sql, params![code, outcome.number()])?;
    }
    Ok(())
}

fn codes(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT DISTINCT code FROM v5_dead_letters")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
