//! API keys of accounts that are not configured, as they were sealed. Nothing here can open them.

use crate::domain::{AccountName, SealedKey};
use rusqlite::{Connection, params};

/// Keeps `key` in the place of an earlier one of its account.
pub fn keep(connection: &Connection, key: &SealedKey) -> rusqlite::Result<()> {
    let sql = "INSERT INTO sealed_keys (account, sealed) VALUES (?1, ?2)
               ON CONFLICT (account) DO UPDATE SET sealed = ?2";
    connection.prepare_cached(sql)?.execute(params![key.account.as_str(), key.blob]).map(drop)
}

/// Every key that is kept.
pub fn kept(connection: &Connection) -> rusqlite::Result<Vec<SealedKey>> {
    let mut statement = connection.prepare_cached("SELECT account, sealed FROM sealed_keys")?;
    let keys = statement
        .query_map([], |row| Ok(SealedKey { account: AccountName::from(row.get::<_, String>(0)?), blob: row.get(1)? }));
    keys?.collect()
}
