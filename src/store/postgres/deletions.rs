//! Moments of deletions (tombstones): for each user key the moment at which its user was deleted, so that no earlier event restores the
//! user.
//!
//! In: user keys of deleted users. Out: the moment of each key. Invariants: only keyed hashes are stored; a key has its latest moment,
//! until the retention of the latest event that deleted it has passed; the row of the account is locked while a moment is written.
//! Deliberately absent: the effect of a moment ([`crate::delivery`]).

use super::columns::arrays;
use super::session::Session;
use crate::domain::Timestamp;
use crate::store::erasure::UserKeyHash;
use tokio_postgres::Error;

/// The moments that are removed in one transaction.
const PORTION: i64 = 5_000;

/// A user key of a deleted user, the moment of the deletion, and the receipt of its event.
pub type Deletion = (UserKeyHash, Timestamp, Timestamp);

/// Keeps these deletions.
pub async fn keep(session: &Session, deletions: &[Deletion]) -> Result<(), Error> {
    let sql = "INSERT INTO deleted_users AS kept (key, deleted_at, received_at)
               SELECT key, max(deleted_at), max(received_at)
               FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS deleted (key, deleted_at, received_at)
               GROUP BY key ORDER BY key
               ON CONFLICT (key) DO UPDATE SET deleted_at = greatest(kept.deleted_at, excluded.deleted_at),
                   received_at = greatest(kept.received_at, excluded.received_at)
               WHERE kept.deleted_at < excluded.deleted_at OR kept.received_at < excluded.received_at";
    session.execute(sql, arrays!(one in deletions => one.0.as_slice(), one.1.0, one.2.0)).await.map(drop)
}

/// The deletions of these user keys at one moment.
pub fn of_user_keys(keys: &[UserKeyHash], at: Timestamp, received_at: Timestamp) -> Vec<Deletion> {
    keys.iter().map(|key| (*key, at, received_at)).collect()
}

/// Removes a portion of the moments that were received before `before`; returns whether there may be more.
pub async fn remove(session: &Session, before: Timestamp) -> Result<bool, Error> {
    let sql = "DELETE FROM deleted_users WHERE key = ANY (ARRAY(
                   SELECT key FROM deleted_users WHERE received_at < $1 ORDER BY received_at LIMIT $2))
               AND received_at < $1";
    Ok(session.execute(sql, &[&before.0, &PORTION]).await? == PORTION.unsigned_abs())
}
