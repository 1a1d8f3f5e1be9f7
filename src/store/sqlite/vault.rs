//! API keys of accounts that are not configured, as they were sealed; and the saved health of accounts. Both are opaque here.

use super::writer_state::WriteTx;
use crate::domain::{AccountName, SealedKey};
use rusqlite::{Connection, OptionalExtension, params};

/// Keeps `key`; it replaces an earlier one of its account.
pub fn keep_key(connection: &Connection, key: &SealedKey) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO sealed_keys (account, sealed) VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET sealed = ?2";
    connection.prepare_cached(sql)?.execute(params![key.account.as_str(), key.blob]).map(drop)
}

/// Every key that is kept.
pub fn kept_keys(connection: &Connection) -> rusqlite::Result<Vec<SealedKey>> {
    let mut statement = connection.prepare_cached("SELECT account, sealed FROM sealed_keys")?;
    let keys = statement
        .query_map([], |row| Ok(SealedKey { account: AccountName::from(row.get::<_, String>(0)?), blob: row.get(1)? }));
    keys?.collect()
}

/// What was last saved of the account's health.
pub fn health(connection: &Connection, account: &AccountName) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT health FROM accounts WHERE name = ?1")?;
    Ok(statement.query_row([account.as_str()], |row| row.get(0)).optional()?.flatten())
}

/// Saves the account's health; it replaces the one saved before.
pub fn save_health(tx: &mut WriteTx<'_>, account: &AccountName, health: &str) -> rusqlite::Result<()> {
    let account = tx.account_number(account)?;
    let sql = "UPDATE accounts SET health = ?2 WHERE account = ?1";
    tx.connection.prepare_cached(sql)?.execute(params![account, health]).map(drop)
}

/// Writes something, so that the commit proves the store writable. Another value each time: SQLite does not write a value that is already there.
pub fn probe(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES ('probes', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1";
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
