//! Reads of the affiliate index: what is remembered of an event's user, and of an affiliate.
//!
//! In: the keys of an event, or the key of an affiliate. Out: affiliates, whether they have another owner, and when the user was
//! deleted. Invariants: everything is found by index; a part that cannot be read is named, and never replaced by a default.
//! Deliberately absent: changes of the index ([`super::affiliates`]).

use super::affiliates::find_affiliate;
use super::decode::{Damaged, blob, integer, text};
use super::deletions;
use crate::delivery::{Known, Memory, Origin, Recalled};
use crate::domain::{AccountName, AffiliateCode, AffiliateId, SentAttributes, UserKey};
use crate::store::EmailConflict;
use crate::store::keys::{self, TaggedKey, USER_ID};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// What is remembered of the user with these keys: the affiliates they lead to, and when the user was deleted.
pub fn memory(connection: &Connection, users: &[UserKey]) -> rusqlite::Result<Result<Memory, Damaged>> {
    let mut memory = Memory::default();
    for key in users {
        let (found, deleted_at) = match (find(connection, &keys::tagged(key))?, deletions::last(connection, key)?) {
            (Ok(found), Ok(deleted_at)) => (found, deleted_at),
            (Err(damaged), _) | (_, Err(damaged)) => return Ok(Err(damaged)),
        };
        match key {
            UserKey::UserId(_) => {
                memory.user_id_deleted_at = deleted_at;
                memory.by_user_id = found.map(|(_, known)| known);
            }
            UserKey::Email(_) => {
                memory.email_deleted_at = deleted_at;
                if let Some((affiliate, known)) = found {
                    memory.email_has_other_owner = has_other_owner(connection, affiliate, users)?;
                    memory.by_email = Some(known);
                }
            }
        }
    }
    Ok(Ok(memory))
}

/// What is remembered of the affiliate that `key` leads to, for an event with the keys `users`.
pub fn recall(
    connection: &Connection,
    key: &TaggedKey,
    users: &[UserKey],
) -> rusqlite::Result<Result<Option<Recalled>, Damaged>> {
    let (affiliate, known) = match find(connection, key)? {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Ok(None)),
        Err(damaged) => return Ok(Err(damaged)),
    };
    let has_other_owner = has_other_owner(connection, affiliate, users)?;
    Ok(Ok(Some(Recalled { known, has_other_owner })))
}

/// The row of the affiliate that a key leads to, and what is known of it.
fn find(connection: &Connection, key: &TaggedKey) -> rusqlite::Result<Result<Option<(i64, Known)>, Damaged>> {
    let sql = "SELECT code, id, found, sent, affiliate FROM links JOIN affiliates USING (affiliate) WHERE key = ?1";
    let read = |row: &Row<'_>| Ok((row.get(4)?, known(row)));
    let found = connection.prepare_cached(sql)?.query_row([key.as_slice()], read).optional()?;
    Ok(found.map(|(affiliate, known)| Ok((affiliate, known?))).transpose())
}

fn known(row: &Row<'_>) -> Result<Known, Damaged> {
    let code = text(row, 0, "affiliates.code")?.ok_or(Damaged("affiliates.code"))?;
    let id = integer(row, 1, "affiliates.id")?.map(|id| u64::try_from(id).map_err(|_| Damaged("affiliates.id")));
    let found = integer(row, 2, "affiliates.found")?.ok_or(Damaged("affiliates.found"))?;
    let sent = blob(row, 3, "affiliates.sent")?.and_then(SentAttributes::from_bytes);
    Ok(Known {
        code: AffiliateCode(code.to_owned()),
        id: id.transpose()?.map(AffiliateId),
        origin: if found == 0 { Origin::Created } else { Origin::Found },
        sent: sent.ok_or(Damaged("affiliates.sent"))?,
    })
}

/// Whether user ids lead to an affiliate, but none of `users`.
fn has_other_owner(connection: &Connection, affiliate: i64, users: &[UserKey]) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM links WHERE affiliate = ?1 AND key >= ?2 AND key < ?3";
    let (from, until) = ([USER_ID], [USER_ID + 1]);
    if !connection.prepare_cached(sql)?.exists(params![affiliate, from.as_slice(), until.as_slice()])? {
        return Ok(false);
    }
    for key in users.iter().filter(|key| matches!(key, UserKey::UserId(_))) {
        if find_affiliate(connection, &keys::tagged(key))? == Some(affiliate) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Up to `limit` affiliates after the row `after` whose e-mail address could not be changed; of `account`, or of all accounts.
pub fn email_conflicts(
    connection: &Connection,
    account: Option<&AccountName>,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<EmailConflict>> {
    let sql = "SELECT affiliate, name, code, id FROM affiliates INDEXED BY affiliates_email_conflict
               JOIN accounts USING (account)
               WHERE email_conflict = 1 AND affiliate > ?1 AND (?2 IS NULL OR name = ?2) ORDER BY affiliate LIMIT ?3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let read = |row: &Row<'_>| {
        let id = row.get::<_, Option<i64>>(3)?.and_then(|id| u64::try_from(id).ok());
        let (place, account, code) = (row.get(0)?, row.get(1)?, AffiliateCode(row.get(2)?));
        Ok(EmailConflict { place, account, code, id: id.map(AffiliateId) })
    };
    let account = account.map(AccountName::as_str);
    connection.prepare_cached(sql)?.query_map(params![after, account, limit], read)?.collect()
}
