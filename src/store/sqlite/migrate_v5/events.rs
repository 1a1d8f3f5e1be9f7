//! Migration of pending events: they become entries of the log in the same order, with the same numbers and the same packed
//! bodies.
//!
//! In: `v5_events`. Out: rows of `log` and `bodies`. Deliberately absent: lanes, which the scheduler derives from the
//! keys, and how far attempts got ([`super::attempts`]).

use rusqlite::Connection;

/// The keys of the user in the blob `keys` of version 5, which names the affiliates they led to (tag 3) behind them. In version
/// 6 these are read from `links`. A user has two keys at most, of a tag and 16 bytes each.
pub const USER_KEYS: &str = "substr(keys, 1, CASE WHEN substr(keys, 18, 1) = x'03' THEN 17 ELSE 34 END)";

/// Appends the pending events to the log, and their bodies and those of dead letters to the bodies.
pub fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO log (seq, account, id, keys, received_at)
         SELECT seq, accounts.account, id, {USER_KEYS}, received_at
         FROM v5_events AS event JOIN accounts ON accounts.name = event.account ORDER BY seq"
    );
    connection.execute(&sql, [])?;
    let sql = "INSERT INTO bodies (seq, body) SELECT seq, body FROM v5_events
                   UNION ALL SELECT seq, body FROM v5_dead_letters WHERE body IS NOT NULL ORDER BY seq";
    connection.execute(sql, []).map(drop)
}
