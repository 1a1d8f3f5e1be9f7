//! Moments of deletions (tombstones): when the user with a key was deleted, so that an event from before brings nobody back.
//!
//! In: keys of deleted users. Out: the moment of each key. Invariants: only keyed hashes are kept; a key keeps its latest moment, for
//! as long as the latest event that deleted it is to be remembered; the row of the account is locked while a moment is kept.
//! Deliberately absent: what follows from a moment ([`crate::delivery`]).

use super::erase::as_slices;
use super::session::Session;
use crate::domain::Timestamp;
use crate::store::erasure::KeyHash;
use tokio_postgres::Error;

/// So many moments are removed in one transaction.
const PORTION: i64 = 5_000;

/// Keeps that the users with these keys were deleted at `at`, as an event received at `received_at` says.
pub async fn keep(session: &Session, keys: &[KeyHash], at: Timestamp, received_at: Timestamp) -> Result<(), Error> {
    let sql = "INSERT INTO deleted_users AS kept (key, deleted_at, received_at)
               SELECT DISTINCT key, $2::bigint, $3::bigint FROM unnest($1::bytea[]) AS deleted (key) ORDER BY key
               ON CONFLICT (key) DO UPDATE SET deleted_at = greatest(kept.deleted_at, excluded.deleted_at),
                   received_at = greatest(kept.received_at, excluded.received_at)
               WHERE kept.deleted_at < excluded.deleted_at OR kept.received_at < excluded.received_at";
    session.execute(sql, &[&as_slices(keys), &at.0, &received_at.0]).await.map(drop)
}

/// Removes a portion of the moments that were received before `before`; returns whether there may be more.
pub async fn remove(session: &Session, before: Timestamp) -> Result<bool, Error> {
    let sql = "DELETE FROM deleted_users WHERE key = ANY (ARRAY(
                   SELECT key FROM deleted_users WHERE received_at < $1 ORDER BY received_at LIMIT $2))
               AND received_at < $1";
    Ok(session.execute(sql, &[&before.0, &PORTION]).await? == PORTION.unsigned_abs())
}
