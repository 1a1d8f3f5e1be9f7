//! Erasure after a delete event: it removes a user's links and remembered traits, and the bodies and user keys of dead letters. It finds
//! all of them by index.
//!
//! In: user keys of the user, whose affiliate is forgotten already. The search adds the keys that stand beside them in dead letters and in
//! remembered traits, then the keys beside those, and so on. It leaves out keys that lead to an affiliate, because this affiliate belongs
//! to another user. Invariant: the row of the account is locked. Deliberately absent: pending events ([`super::forget`]) and affiliates
//! ([`super::affiliates`]).

use super::remembered;
use super::session::Session;
use crate::store::erasure::{ReachedKeys, UserKeyHash};
use crate::store::user_keys::{EMAIL, USER_ID, with_tag};
use std::collections::HashSet;
use tokio_postgres::Error;

/// Erases the links, the dead letters and the remembered traits of `keys`, and of the keys beside them; returns all these keys.
pub async fn erase(session: &Session, keys: Vec<UserKeyHash>) -> Result<Vec<UserKeyHash>, Error> {
    let mut reached = ReachedKeys::from(keys);
    loop {
        let new = reached.take_new();
        if new.is_empty() {
            break;
        }
        let beside = user_keys_beside(session, &new).await?;
        let of_others = leading_to_affiliates(session, &beside).await?;
        reached.add(beside.into_iter().filter(|key| !of_others.contains(key)));
    }
    delete_links(session, reached.keys()).await?;
    remembered::erase(session, reached.keys()).await?;
    erase_dead_letters(session, reached.keys()).await?;
    Ok(reached.keys().to_vec())
}

/// The keys of this list that lead to an affiliate.
async fn leading_to_affiliates(session: &Session, keys: &[UserKeyHash]) -> Result<HashSet<UserKeyHash>, Error> {
    let rows = session.query("SELECT key FROM links WHERE key = ANY ($1)", &[&link_keys(keys)]).await?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &[u8]>(0).get(1..)?.try_into().ok()).collect())
}

/// The user keys of the dead letters and of the remembered traits that have one of these keys.
pub async fn user_keys_beside(session: &Session, keys: &[UserKeyHash]) -> Result<Vec<UserKeyHash>, Error> {
    let sql = "SELECT beside.key FROM dead_keys AS own JOIN dead_keys AS beside USING (seq) WHERE own.key = ANY ($1)
               UNION SELECT key FROM remembered_traits WHERE key = ANY ($1) OR email = ANY ($1)
               UNION SELECT email FROM remembered_traits WHERE (key = ANY ($1) OR email = ANY ($1)) AND email IS NOT NULL
               ORDER BY key";
    let rows = session.query(sql, &[&as_slices(keys)]).await?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &[u8]>(0).try_into().ok()).collect())
}

/// Deletes the links of these keys; returns their number.
pub async fn delete_links(session: &Session, keys: &[UserKeyHash]) -> Result<u64, Error> {
    session.execute("DELETE FROM links WHERE key = ANY ($1)", &[&link_keys(keys)]).await
}

/// Erases the bodies and user keys of the dead letters with one of these keys; returns how many had a body.
pub async fn erase_dead_letters(session: &Session, keys: &[UserKeyHash]) -> Result<u64, Error> {
    let rows = session.query("SELECT DISTINCT seq FROM dead_keys WHERE key = ANY ($1)", &[&as_slices(keys)]).await?;
    let letters: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let sql = "UPDATE dead_letters SET body = NULL, keys = NULL WHERE seq = ANY ($1) AND body IS NOT NULL";
    let erased = session.execute(sql, &[&letters]).await?;
    session.execute("DELETE FROM dead_keys WHERE seq = ANY ($1)", &[&letters]).await?;
    Ok(erased)
}

/// The possible keys of links of these hashes: as a `userId` and as an e-mail address.
pub fn link_keys(keys: &[UserKeyHash]) -> Vec<Vec<u8>> {
    keys.iter().flat_map(|key| [USER_ID, EMAIL].map(|tag| with_tag(tag, key).to_vec())).collect()
}

/// Hashes as a parameter of a statement.
pub fn as_slices(keys: &[UserKeyHash]) -> Vec<&[u8]> {
    keys.iter().map(<[u8; 16]>::as_slice).collect()
}
