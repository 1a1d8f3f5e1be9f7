//! What is remembered of affiliates, and the user keys that lead to them.

use super::erase;
use crate::delivery::{Known, Memory, Origin};
use crate::domain::{AffiliateCode, AffiliateId, UserKey};
use crate::queue::{Change, Remember};
use rusqlite::{Connection, OptionalExtension, params};

/// The affiliates that `keys` lead to.
pub fn recall(connection: &Connection, keys: &[UserKey]) -> rusqlite::Result<Memory> {
    let sql = "SELECT code, id, found, sent FROM links JOIN affiliates USING (account, code) WHERE key = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut memory = Memory::default();
    for key in keys {
        let known = statement.query_row([key.bytes().as_slice()], |row| {
            let id: Option<i64> = row.get(1)?;
            let sent: String = row.get(3)?;
            Ok(Known {
                code: AffiliateCode(row.get(0)?),
                id: id.map(|id| AffiliateId(id.unsigned_abs())),
                origin: if row.get(2)? { Origin::Found } else { Origin::Created },
                sent: serde_json::from_str(&sent).unwrap_or_default(),
            })
        });
        match key {
            UserKey::UserId(_) => memory.by_user_id = known.optional()?,
            UserKey::Email(_) => memory.by_email = known.optional()?,
        }
    }
    Ok(memory)
}

/// Carries out `change` for an event of `account`.
pub fn apply(connection: &Connection, account: &str, change: &Change) -> rusqlite::Result<()> {
    let mut erase: Vec<[u8; 16]> = change.erase.iter().map(|key| *key.bytes()).collect();
    for code in &change.forget {
        if !change.erase.is_empty() {
            erase.extend(keys_of(connection, account, code)?);
        }
        forget(connection, account, code)?;
    }
    erase::erase(connection, erase)?;
    change.remember.as_ref().map_or(Ok(()), |remember| write(connection, account, remember))
}

fn keys_of(connection: &Connection, account: &str, code: &AffiliateCode) -> rusqlite::Result<Vec<[u8; 16]>> {
    let mut statement = connection.prepare_cached("SELECT key FROM links WHERE account = ?1 AND code = ?2")?;
    statement.query_map([account, &code.0], |row| row.get(0))?.collect()
}

fn forget(connection: &Connection, account: &str, code: &AffiliateCode) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM links WHERE account = ?1 AND code = ?2")?.execute([account, &code.0])?;
    connection
        .prepare_cached("DELETE FROM affiliates WHERE account = ?1 AND code = ?2")?
        .execute([account, &code.0])?;
    Ok(())
}

fn write(connection: &Connection, account: &str, remember: &Remember) -> rusqlite::Result<()> {
    let known = &remember.known;
    let sent =
        serde_json::to_string(&known.sent).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let id = known.id.and_then(|id| i64::try_from(id.0).ok());
    let sql = "INSERT INTO affiliates (account, code, id, found, sent) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (account, code) DO UPDATE SET id = coalesce(?3, id), found = ?4, sent = ?5";
    let found = known.origin == Origin::Found;
    connection.prepare_cached(sql)?.execute(params![account, known.code.0, id, found, sent])?;
    for key in &remember.keys {
        let is_email = matches!(key, UserKey::Email(_));
        if is_email {
            let sql = "DELETE FROM links WHERE account = ?1 AND code = ?2 AND is_email = 1 AND key <> ?3";
            connection.prepare_cached(sql)?.execute(params![account, known.code.0, key.bytes().as_slice()])?;
        }
        let sql = "INSERT INTO links (key, is_email, account, code) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (key) DO UPDATE SET code = ?4";
        connection.prepare_cached(sql)?.execute(params![key.bytes().as_slice(), is_email, account, known.code.0])?;
    }
    Ok(())
}
