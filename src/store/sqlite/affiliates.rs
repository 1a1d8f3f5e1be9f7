//! The affiliate index: affiliates, the user keys that lead to them, and the memory of an event's user.
//!
//! Invariants: everything is found by index; each affiliate has a link with its affiliate key (tag 3), by which its row is found; an
//! affiliate has one e-mail address, so an earlier one no longer leads to it when a new one is linked; a known numeric id is never lost.

use super::erase;
use super::log_state::AccountNumber;
use super::query::Query;
use super::remembered;
use super::write_tx::WriteTx;
use crate::delivery::{AffiliateRecord, Memory, RecalledAffiliate};
use crate::domain::{AccountName, AffiliateKey, UserKey};
use crate::scheduling::Unit;
use crate::store::erasure::UserKeyHash;
use crate::store::rows::affiliates as rows;
use crate::store::rows::timestamp;
use crate::store::user_keys::{self, AFFILIATE, EMAIL, TaggedKey, USER_ID};
use crate::store::{AffiliateChanges, EmailConflict, Remember, StoreError};
use rusqlite::{Connection, params};

/// The row of the affiliate that a key leads to.
pub fn find_affiliate(connection: &Connection, key: &TaggedKey) -> Result<Option<i64>, StoreError> {
    connection.one("SELECT affiliate FROM links WHERE key = ?1", [key.as_slice()], |row| Ok(row.get(0)?))
}

/// The keys with one of these tags that lead to an affiliate.
fn links(
    connection: &Connection,
    affiliate: i64,
    tags: std::ops::RangeInclusive<u8>,
) -> Result<Vec<TaggedKey>, StoreError> {
    let sql = "SELECT key FROM links WHERE affiliate = ?1 AND key >= ?2 AND key < ?3";
    let (from, until) = ([*tags.start()], [tags.end() + 1]);
    connection.all(sql, params![affiliate, from.as_slice(), until.as_slice()], |row| Ok(row.get(0)?))
}

/// The user keys that lead to an affiliate.
pub fn user_links(connection: &Connection, affiliate: i64) -> Result<Vec<TaggedKey>, StoreError> {
    links(connection, affiliate, USER_ID..=EMAIL)
}

/// The affiliate key of an affiliate: all users whose keys lead to it are one user.
pub fn own_affiliate_key(connection: &Connection, affiliate: i64) -> Result<Option<AffiliateKey>, StoreError> {
    let own = links(connection, affiliate, AFFILIATE..=AFFILIATE)?;
    Ok(own.first().map(|key| AffiliateKey(std::array::from_fn(|i| key[i + 1]))))
}

/// Applies `changes` of the events of `unit`.
pub fn apply(
    tx: &mut WriteTx<'_>,
    account: &AccountName,
    number: AccountNumber,
    unit: &Unit,
    changes: &AffiliateChanges,
) -> Result<(), StoreError> {
    let (mut keys, mut own): (Vec<UserKeyHash>, Vec<UserKeyHash>) =
        (changes.erase.iter().map(|key| *key.bytes()).collect(), Vec::new());
    for code in &changes.forget {
        let key = user_keys::of_affiliate(&tx.state.hash, account, code);
        own.extend(user_keys::hashes(&key));
        if let Some(affiliate) = find_affiliate(tx.connection, &key)? {
            keys.extend(delete(tx.connection, affiliate)?.iter().flat_map(|key| user_keys::hashes(key)));
        }
    }
    if !changes.erase.is_empty() {
        keys = erase::erase(tx.connection, keys)?;
    }
    keys.extend(own);
    if let Some(deleted_at) = changes.deleted_at {
        // The receipt of the last event of the unit counts.
        let last = unit.seqs().last().unwrap_or(unit.head);
        let sql = "SELECT max(received_at) FROM log WHERE seq IN (?1, ?2)";
        let values = [unit.head.0, last.0];
        let received_at = tx.connection.one(sql, values, |row| Ok(timestamp(row, 0, "log.received_at")?))?;
        erase::keep_moment(tx.connection, &keys, deleted_at, received_at.unwrap_or_default())?;
    }
    if let Some(change) = &changes.traits {
        remembered::apply(tx.connection, number, change)?;
    }
    changes.remember.as_ref().map_or(Ok(()), |remember| save(tx, account, number, remember))
}

/// Deletes an affiliate and its links; returns the user keys that led to it.
pub fn delete(connection: &Connection, affiliate: i64) -> Result<Vec<TaggedKey>, StoreError> {
    let linked = user_links(connection, affiliate)?;
    connection.run("DELETE FROM links WHERE affiliate = ?1", [affiliate])?;
    connection.run("DELETE FROM affiliates WHERE affiliate = ?1", [affiliate])?;
    Ok(linked)
}

/// Deletes the link of a key, if there is one.
pub fn unlink(connection: &Connection, key: &TaggedKey) -> Result<(), StoreError> {
    connection.run("DELETE FROM links WHERE key = ?1", [key]).map(drop)
}

/// Saves an affiliate, and links its user keys to it.
pub fn save(
    tx: &WriteTx<'_>,
    account: &AccountName,
    number: AccountNumber,
    remember: &Remember,
) -> Result<(), StoreError> {
    let (connection, own) = (tx.connection, user_keys::of_affiliate(&tx.state.hash, account, &remember.known.code));
    let rows::AffiliateColumns { code, id, found, sent, email_conflict } = rows::AffiliateColumns::of(&remember.known);
    let affiliate = if let Some(affiliate) = find_affiliate(connection, &own)? {
        let sql = "UPDATE affiliates SET id = coalesce(?2, id), found = ?3, sent = ?4, email_conflict = ?5
                   WHERE affiliate = ?1";
        connection.run(sql, params![affiliate, id, found, sent, email_conflict])?;
        for earlier in rows::earlier_emails(links(connection, affiliate, EMAIL..=EMAIL)?, &remember.user_keys) {
            unlink(connection, &earlier)?;
        }
        affiliate
    } else {
        let sql = "INSERT INTO affiliates (account, code, id, found, sent, email_conflict)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        connection.run(sql, params![number, code, id, found, sent, email_conflict])?;
        let affiliate = connection.last_insert_rowid();
        link(connection, &own, affiliate)?;
        affiliate
    };
    remember.user_keys.iter().try_for_each(|key| link(connection, &user_keys::tagged(key), affiliate))
}

fn link(connection: &Connection, key: &TaggedKey, affiliate: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO links (key, affiliate) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET affiliate = ?2
               WHERE affiliate <> ?2";
    connection.run(sql, params![key.as_slice(), affiliate]).map(drop)
}

/// The memory of the user with these keys: the affiliates they lead to, the moment of the user's deletion, and the remembered traits.
pub fn memory(connection: &Connection, users: &[UserKey]) -> Result<Memory, StoreError> {
    let of_key = |key: &UserKey| {
        let affiliate = find(connection, &user_keys::tagged(key))?;
        Ok(rows::UserKeyMemory { key: *key, affiliate, deleted_at: erase::last_moment(connection, key.bytes())? })
    };
    let memory = rows::memory(users.iter().map(of_key).collect::<Result<Vec<_>, StoreError>>()?);
    Ok(Memory { traits: remembered::find(connection, users)?, ..memory })
}

/// The record of the affiliate that `key` leads to, for an event with the user keys `users`.
pub fn recall(
    connection: &Connection,
    key: &TaggedKey,
    users: &[UserKey],
) -> Result<Option<RecalledAffiliate>, StoreError> {
    let Some(affiliate) = find(connection, key)? else { return Ok(None) };
    let user_ids = users.iter().filter(|key| matches!(key, UserKey::UserId(_))).map(user_keys::tagged);
    let own = user_ids.filter_map(|user_id| find_affiliate(connection, &user_id).transpose());
    Ok(Some(affiliate.recalled(&own.collect::<Result<Vec<_>, StoreError>>()?)))
}

/// The affiliate that a key leads to. For the key of a `userId`, whether it is owned does not matter, and is not read.
fn find(connection: &Connection, key: &TaggedKey) -> Result<Option<rows::LinkedAffiliate>, StoreError> {
    let sql = format!(
        "SELECT {}, links.key >= ?3 AND EXISTS (SELECT 1 FROM links AS own WHERE own.affiliate = affiliates.affiliate
                                                AND own.key >= ?2 AND own.key < ?3), affiliate
         FROM links JOIN affiliates USING (affiliate) WHERE links.key = ?1",
        rows::COLUMNS
    );
    let (user_ids, emails) = ([USER_ID], [EMAIL]);
    connection.one(&sql, params![key, user_ids, emails], |row| Ok(rows::LinkedAffiliate::read(row)?))
}

/// The record of the affiliate in this row.
pub fn known_of(connection: &Connection, affiliate: i64) -> Result<Option<AffiliateRecord>, StoreError> {
    let sql = format!("SELECT {} FROM affiliates WHERE affiliate = ?1", rows::COLUMNS);
    connection.one(&sql, [affiliate], |row| Ok(rows::known(row, 0)?))
}

/// Up to `limit` affiliates after the row `after` whose e-mail address could not be changed, of `account` or of all accounts.
pub fn email_conflicts(
    connection: &Connection,
    account: Option<&AccountName>,
    after: i64,
    limit: usize,
) -> Result<Vec<EmailConflict>, StoreError> {
    let sql = format!(
        "SELECT {} FROM affiliates INDEXED BY affiliates_email_conflict JOIN accounts USING (account)
         WHERE email_conflict = 1 AND affiliate > ?1 AND (?2 IS NULL OR name = ?2) ORDER BY affiliate LIMIT ?3",
        rows::EMAIL_CONFLICT_COLUMNS
    );
    let values = params![after, account.map(AccountName::as_str), i64::try_from(limit).unwrap_or(i64::MAX)];
    connection.all(&sql, values, |row| Ok(rows::email_conflict(row)?))
}
