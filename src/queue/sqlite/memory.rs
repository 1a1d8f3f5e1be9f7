//! What is remembered of affiliates, and the user keys that lead to them.

use super::erase;
use super::keys::Keys;
use super::users;
use super::writer::Store;
use crate::delivery::{Known, Memory, Origin};
use crate::domain::{AffiliateCode, AffiliateId, HashKey, UserKey};
use crate::queue::{Change, Remember};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The affiliates that the `keys` of an event lead to, which is about to be carried out.
pub fn recall(store: &mut Store, keys: &[UserKey]) -> rusqlite::Result<Memory> {
    let mut memory = Memory::default();
    for key in keys {
        let own = Keys::new(&[*key]);
        let Some((row, entry)) = own.entries().next() else { continue };
        let Some(affiliate) = users::fetch(store, row, entry)?.and_then(|user| user.affiliate) else { continue };
        let known = read(&store.connection, affiliate)?;
        match key {
            UserKey::UserId(_) => memory.by_user_id = known,
            UserKey::Email(_) => memory.by_email = known,
        }
    }
    Ok(memory)
}

fn read(connection: &Connection, affiliate: i64) -> rusqlite::Result<Option<Known>> {
    let sql = "SELECT code, id, found, sent FROM affiliates WHERE affiliate = ?1";
    let known = |row: &Row<'_>| {
        let id: Option<i64> = row.get(1)?;
        Ok(Known {
            code: AffiliateCode(row.get(0)?),
            id: id.map(|id| AffiliateId(id.unsigned_abs())),
            origin: if row.get(2)? { Origin::Found } else { Origin::Created },
            sent: serde_json::from_str(row.get_ref(3)?.as_str()?).unwrap_or_default(),
        })
    };
    connection.prepare_cached(sql)?.query_row([affiliate], known).optional()
}

/// Carries out `change` for an event of `account`.
pub fn apply(store: &mut Store, account: &str, change: &Change) -> rusqlite::Result<()> {
    let mut erase: Vec<[u8; 16]> = change.erase.iter().map(|key| *key.bytes()).collect();
    for code in &change.forget {
        let Some(affiliate) = row_of(&store.connection, account, &code.0)? else { continue };
        let keys = users::leading_to(store, affiliate)?;
        if !change.erase.is_empty() {
            erase.extend(keys.iter().map(UserKey::bytes));
        }
        for key in &keys {
            users::mislay(store, key)?;
        }
        forget(&store.connection, affiliate)?;
    }
    erase::erase(store, erase)?;
    change.remember.as_ref().map_or(Ok(()), |remember| write(store, account, remember))
}

/// Forgets an affiliate to which no key leads any more.
pub fn forget(connection: &Connection, affiliate: i64) -> rusqlite::Result<usize> {
    connection.prepare_cached("DELETE FROM affiliates WHERE affiliate = ?1")?.execute([affiliate])
}

/// The key of the affiliate itself, by its row.
pub fn key(connection: &Connection, hash: &HashKey, affiliate: i64) -> rusqlite::Result<[u8; 16]> {
    let sql = "SELECT account, code FROM affiliates WHERE affiliate = ?1";
    let key = |row: &Row<'_>| Ok(hash.affiliate(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?));
    connection.prepare_cached(sql)?.query_row([affiliate], key)
}

fn row_of(connection: &Connection, account: &str, code: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT affiliate FROM affiliates WHERE account = ?1 AND code = ?2";
    connection.prepare_cached(sql)?.query_row([account, code], |row| row.get(0)).optional()
}

fn write(store: &mut Store, account: &str, remember: &Remember) -> rusqlite::Result<()> {
    let connection = &store.connection;
    let known = &remember.known;
    let sent =
        serde_json::to_string(&known.sent).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let id = known.id.and_then(|id| i64::try_from(id.0).ok());
    let found = known.origin == Origin::Found;
    let affiliate = if let Some(affiliate) = row_of(connection, account, &known.code.0)? {
        let sql = "UPDATE affiliates SET id = coalesce(?2, id), found = ?3, sent = ?4 WHERE affiliate = ?1";
        connection.prepare_cached(sql)?.execute(params![affiliate, id, found, sent])?;
        earlier_emails(store, affiliate, &remember.keys)?;
        affiliate
    } else {
        let sql = "INSERT INTO affiliates (account, code, id, found, sent) VALUES (?1, ?2, ?3, ?4, ?5)";
        connection.prepare_cached(sql)?.execute(params![account, known.code.0, id, found, sent])?;
        connection.last_insert_rowid()
    };
    remember.keys.iter().try_for_each(|key| users::lead(store, key, affiliate))
}

/// An affiliate has one e-mail address: where `keys` hold one, an earlier one no longer leads to it.
fn earlier_emails(store: &mut Store, affiliate: i64, keys: &[UserKey]) -> rusqlite::Result<()> {
    let is_email = |key: &UserKey| matches!(key, UserKey::Email(_));
    if !keys.iter().any(is_email) {
        return Ok(());
    }
    let leading = users::leading_to(store, affiliate)?;
    let earlier = leading.iter().filter(|key| is_email(key) && !keys.contains(key));
    earlier.map(|key| users::mislay(store, key)).try_for_each(|led| led.map(drop))
}
