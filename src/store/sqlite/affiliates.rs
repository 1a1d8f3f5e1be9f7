//! Changes of the affiliate index: affiliates remembered, and the keys that lead to them.
//!
//! Invariants: each affiliate has one link of its own (tag 3), by which its row is found; an affiliate has one e-mail address, so
//! an earlier one leads to it no longer when a new one is linked; a numeric id is never lost again.

use super::deletions;
use super::erase::{self, KeyHash};
use super::writer_state::{AccountNumber, WriteTx};
use crate::delivery::Origin;
use crate::domain::{AccountName, AffiliateCode, AffiliateKey, HashKey, Timestamp, UserKey};
use crate::scheduling::Unit;
use crate::store::keys::{self, AFFILIATE, EMAIL, TaggedKey};
use crate::store::{AffiliateChanges, Remember};
use rusqlite::{Connection, OptionalExtension, params};

/// The row of the affiliate that a key leads to.
pub fn find_affiliate(connection: &Connection, key: &TaggedKey) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT affiliate FROM links WHERE key = ?1")?;
    statement.query_row([key.as_slice()], |row| row.get(0)).optional()
}

/// The keys with one of these tags that lead to an affiliate.
fn links(
    connection: &Connection,
    affiliate: i64,
    tags: std::ops::RangeInclusive<u8>,
) -> rusqlite::Result<Vec<TaggedKey>> {
    let sql = "SELECT key FROM links WHERE affiliate = ?1 AND key >= ?2 AND key < ?3";
    let (from, until) = ([*tags.start()], [tags.end() + 1]);
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(params![affiliate, from.as_slice(), until.as_slice()], |row| row.get(0))?.collect()
}

/// The keys of users that lead to an affiliate.
pub fn user_links(connection: &Connection, affiliate: i64) -> rusqlite::Result<Vec<TaggedKey>> {
    links(connection, affiliate, keys::USER_ID..=EMAIL)
}

/// The key of an affiliate itself: all users whose keys lead to it are one user.
pub fn own_key(connection: &Connection, affiliate: i64) -> rusqlite::Result<Option<AffiliateKey>> {
    let own = links(connection, affiliate, AFFILIATE..=AFFILIATE)?;
    Ok(own.first().map(|key| AffiliateKey(std::array::from_fn(|i| key[i + 1]))))
}

/// The key of the affiliate of `account` with this code.
pub fn key_of(hash: &HashKey, account: &AccountName, code: &AffiliateCode) -> TaggedKey {
    keys::with_tag(AFFILIATE, &hash.affiliate(account.as_str(), &code.0))
}

/// Applies `changes`, learned from the events of `unit`.
pub fn apply(
    tx: &mut WriteTx<'_>,
    account: &AccountName,
    number: AccountNumber,
    unit: &Unit,
    changes: &AffiliateChanges,
) -> rusqlite::Result<()> {
    let mut keys: Vec<KeyHash> = changes.erase.iter().map(|key| *key.bytes()).collect();
    for code in &changes.forget {
        let key = key_of(&tx.state.hash, account, code);
        if let Some(affiliate) = find_affiliate(tx.connection, &key)? {
            keys.extend(delete(tx.connection, affiliate)?.iter().flat_map(|key| keys::hashes(key)));
        }
    }
    if !changes.erase.is_empty() {
        keys = erase::erase(tx.connection, keys)?;
    }
    if let Some(deleted_at) = changes.deleted_at {
        deletions::keep(tx.connection, &keys, deleted_at, received_at(tx, unit)?)?;
    }
    let remember = changes.remember.as_ref();
    remember.map_or(Ok(()), |remember| save(tx, account, number, remember))
}

/// When the last event of `unit` was received.
fn received_at(tx: &WriteTx<'_>, unit: &Unit) -> rusqlite::Result<Timestamp> {
    let last = unit.seqs().last().unwrap_or(unit.head);
    let sql = "SELECT max(received_at) FROM log WHERE seq IN (?1, ?2)";
    let received_at = tx.connection.prepare_cached(sql)?.query_row([unit.head.0, last.0], |row| row.get(0));
    received_at.map(Timestamp)
}

/// Deletes an affiliate and its links; returns the keys of users that led to it.
pub fn delete(connection: &Connection, affiliate: i64) -> rusqlite::Result<Vec<TaggedKey>> {
    let linked = user_links(connection, affiliate)?;
    connection.prepare_cached("DELETE FROM links WHERE affiliate = ?1")?.execute([affiliate])?;
    connection.prepare_cached("DELETE FROM affiliates WHERE affiliate = ?1")?.execute([affiliate])?;
    Ok(linked)
}

/// Deletes the link of a key; returns whether there was one.
pub fn unlink(connection: &Connection, key: &TaggedKey) -> rusqlite::Result<bool> {
    Ok(connection.prepare_cached("DELETE FROM links WHERE key = ?1")?.execute([key.as_slice()])? > 0)
}

fn save(tx: &WriteTx<'_>, account: &AccountName, number: AccountNumber, remember: &Remember) -> rusqlite::Result<()> {
    let (connection, known) = (tx.connection, &remember.known);
    let (sent, conflict) = (known.sent.to_bytes(), known.sent.has_email_conflict());
    let id = known.id.and_then(|id| i64::try_from(id.0).ok());
    let found = known.origin == Origin::Found;
    let own = key_of(&tx.state.hash, account, &known.code);
    let affiliate = if let Some(affiliate) = find_affiliate(connection, &own)? {
        let sql = "UPDATE affiliates SET id = coalesce(?2, id), found = ?3, sent = ?4, email_conflict = ?5
                   WHERE affiliate = ?1";
        connection.prepare_cached(sql)?.execute(params![affiliate, id, found, sent, conflict])?;
        unlink_earlier_emails(connection, affiliate, &remember.keys)?;
        affiliate
    } else {
        let sql = "INSERT INTO affiliates (account, code, id, found, sent, email_conflict)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        connection.prepare_cached(sql)?.execute(params![number, known.code.0, id, found, sent, conflict])?;
        let affiliate = connection.last_insert_rowid();
        link(connection, &own, affiliate)?;
        affiliate
    };
    remember.keys.iter().try_for_each(|key| link(connection, &keys::tagged(key), affiliate))
}

fn link(connection: &Connection, key: &TaggedKey, affiliate: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO links (key, affiliate) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET affiliate = ?2
               WHERE affiliate <> ?2";
    connection.prepare_cached(sql)?.execute(params![key.as_slice(), affiliate]).map(drop)
}

fn unlink_earlier_emails(connection: &Connection, affiliate: i64, users: &[UserKey]) -> rusqlite::Result<()> {
    let new: Vec<TaggedKey> = users.iter().map(keys::tagged).filter(|key| key[0] == EMAIL).collect();
    if new.is_empty() {
        return Ok(());
    }
    for key in links(connection, affiliate, EMAIL..=EMAIL)? {
        if !new.contains(&key) {
            unlink(connection, &key)?;
        }
    }
    Ok(())
}
