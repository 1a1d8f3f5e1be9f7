//! The remembered traits of users who are no affiliates yet. The key of a row is the user key of the `userId`; a row is also found by the
//! user key of the e-mail address.
//!
//! In: changes of settlements, and user keys to erase. Out: the rows of events' users. Invariants: a row is written and erased in the
//! transaction of the settlement, under the lock of its account; a row that was erased meanwhile is not written again; compaction waits for
//! no row. Deliberately absent: the meaning of the bytes.

use super::accounts::AccountNumber;
use super::columns::{arrays, text};
use super::erase::as_slices;
use super::session::Session;
use crate::domain::{Timestamp, UserKey};
use crate::store::erasure::UserKeyHash;
use crate::store::{FoundBy, FoundTraits, KeptTraits, TraitsChange, TraitsLimits, TraitsSize};
use std::collections::BTreeMap;
use tokio_postgres::{Error, Row};

/// The columns of [`rows::remembered::sealed`](crate::store::rows::remembered::sealed), and the key.
pub const OF_USERS: &str = "SELECT sealed, expires_at, key FROM remembered_traits WHERE key = ANY ($1)";
/// A user key, and the key of the row that it leads to. Events with keys that lead to one row are of one user.
pub const SHARED_LANES: &str = "SELECT key, key FROM remembered_traits WHERE key = ANY ($1) AND email IS NOT NULL
    UNION ALL SELECT email, key FROM remembered_traits WHERE email = ANY ($1)";
/// The user keys of this list with remembered traits.
pub const KNOWN: &str = "SELECT key FROM remembered_traits WHERE key = ANY ($1)
    UNION ALL SELECT email FROM remembered_traits WHERE email = ANY ($1)";
pub const SIZES: &str = "SELECT accounts.name, count(*), sum(size)::bigint
    FROM remembered_traits JOIN accounts USING (account) GROUP BY accounts.name";

const KEEP: &str = "INSERT INTO remembered_traits (key, account, email, expires_at, size, names, sealed)
    SELECT kept.key, kept.account, kept.email, kept.expires_at, octet_length(kept.sealed), kept.names, kept.sealed
    FROM unnest($1::bytea[], $2::int[], $3::bytea[], $4::bigint[], $5::text[], $6::bytea[], $7::boolean[])
        AS kept (key, account, email, expires_at, names, sealed, replaces)
    WHERE NOT kept.replaces OR EXISTS (SELECT 1 FROM remembered_traits AS before WHERE before.key = kept.key)
    ON CONFLICT (key) DO UPDATE SET email = excluded.email, expires_at = excluded.expires_at, size = excluded.size,
        names = excluded.names, sealed = excluded.sealed";
const ERASE_USED: &str = "DELETE FROM remembered_traits WHERE key = ANY ($1)";

/// The rows that are removed in one transaction.
const PORTION: i64 = 2_000;

/// Makes the changes of several settlements. No two of them may be of the same user.
pub async fn apply(session: &Session, changes: &[(AccountNumber, &TraitsChange)]) -> Result<(), Error> {
    let (mut kept, mut used): (Vec<(AccountNumber, &KeptTraits)>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    for (account, change) in changes {
        match change {
            TraitsChange::Keep(traits) => kept.push((*account, traits)),
            TraitsChange::Erase(user) => used.push(user.bytes().as_slice()),
        }
    }
    if !used.is_empty() {
        session.execute(ERASE_USED, &[&used]).await?;
    }
    if kept.is_empty() {
        return Ok(());
    }
    let values = arrays!(one in kept =>
        one.1.user.bytes().as_slice(), one.0, one.1.email.as_ref().map(|email| email.bytes().as_slice()),
        one.1.expires_at.0, text(&one.1.stored_names()), one.1.sealed.as_slice(), one.1.replaces);
    session.execute(KEEP, values).await.map(drop)
}

/// Erases the remembered traits with one of these user keys; returns the number of users.
pub async fn erase(session: &Session, keys: &[UserKeyHash]) -> Result<u64, Error> {
    let keys = as_slices(keys);
    session.execute("DELETE FROM remembered_traits WHERE key = ANY ($1) OR email = ANY ($1)", &[&keys]).await
}

/// The number of users with remembered traits among these user keys.
pub async fn count(session: &Session, keys: &[UserKeyHash]) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM remembered_traits WHERE key = ANY ($1) OR email = ANY ($1)";
    Ok(session.query_one(sql, &[&as_slices(keys)]).await?.get::<_, i64>(0).unsigned_abs())
}

/// The remembered traits of a user key, with the key of its row.
pub async fn look_up(session: &Session, key: &UserKey, by: FoundBy) -> Result<Vec<(UserKeyHash, FoundTraits)>, Error> {
    let sql = match key {
        UserKey::UserId(_) => "SELECT key, names, expires_at FROM remembered_traits WHERE key = $1",
        UserKey::Email(_) => "SELECT key, names, expires_at FROM remembered_traits WHERE email = $1 ORDER BY key",
    };
    let rows = session.query(sql, &[&key.bytes().as_slice()]).await?;
    let found = |row: &Row| {
        let key = row.get::<_, &[u8]>(0).try_into().ok()?;
        Some((key, FoundTraits::new(by, row.get(1), Timestamp(row.get(2)))))
    };
    Ok(rows.iter().filter_map(found).collect())
}

/// The size of the remembered traits, by account.
pub fn sizes(rows: &[Row]) -> BTreeMap<String, TraitsSize> {
    let size = |row: &Row| {
        let number = |column| row.get::<_, i64>(column).unsigned_abs();
        (row.get(0), TraitsSize { users: number(1), bytes: number(2) })
    };
    rows.iter().map(size).collect()
}

/// Removes a portion of the expired traits; returns whether there may be more.
pub async fn remove_expired(session: &Session, before: Timestamp) -> Result<bool, Error> {
    let sql = "DELETE FROM remembered_traits WHERE key = ANY (ARRAY(
                   SELECT key FROM remembered_traits WHERE expires_at < $1 ORDER BY expires_at LIMIT $2
                   FOR UPDATE SKIP LOCKED))";
    Ok(session.execute(sql, &[&before.0, &PORTION]).await? == PORTION.unsigned_abs())
}

/// Removes a portion of the traits above the limits of accounts, the oldest first; returns the number of users. The lock row must be locked.
pub async fn remove_surplus(session: &Session, limits: TraitsLimits) -> Result<u64, Error> {
    let mut removed = 0;
    let sizes = sizes(&session.query(SIZES, &[]).await?);
    for (name, size) in sizes.into_iter().filter(|(_, size)| size.exceeds(limits)) {
        let sql =
            "SELECT key, size FROM remembered_traits WHERE account = (SELECT account FROM accounts WHERE name = $1)
                   ORDER BY account, expires_at LIMIT $2 FOR UPDATE SKIP LOCKED";
        let oldest = session.query(sql, &[&name, &PORTION]).await?;
        let bytes = oldest.iter().map(|row| u64::from(row.get::<_, i32>(1).unsigned_abs()));
        let surplus = size.surplus(limits, bytes);
        let keys: Vec<&[u8]> = oldest[..surplus].iter().map(|row| row.get(0)).collect();
        removed += session.execute("DELETE FROM remembered_traits WHERE key = ANY ($1)", &[&keys]).await?;
    }
    Ok(removed)
}
