//! Changes of the affiliate index: affiliates remembered and forgotten, and the keys that lead to them.
//!
//! In: the changes of the settlements of one transaction. Invariants: an affiliate is found by its affiliate key; it has one e-mail
//! address, so an earlier one no longer leads to it when a new one is linked; a known numeric id is never lost; the row of the account is
//! locked while its index is changed. One statement saves several affiliates, so no two of them may be the same or share a user key
//! ([`overlap`]).

use super::accounts::AccountNumber;
use super::columns::{arrays, text};
use super::deletions;
use super::erase;
use super::session::Session;
use super::shared::Shared;
use crate::domain::{AccountName, HashKey, Timestamp};
use crate::store::erasure::UserKeyHash;
use crate::store::rows::affiliates::AffiliateColumns;
use crate::store::user_keys::{self, EMAIL, TaggedKey};
use crate::store::{AffiliateChanges, Remember};
use futures_util::future::try_join;
use std::collections::BTreeMap;
use tokio_postgres::Error;

const SAVE: &str = "INSERT INTO affiliates (key, account, code, id, found, sent, email_conflict)
    SELECT * FROM unnest($1::bytea[], $2::int[], $3::text[], $4::bigint[], $5::boolean[], $6::bytea[], $7::boolean[])
    ON CONFLICT (key) DO UPDATE SET id = coalesce(excluded.id, affiliates.id), found = excluded.found,
        sent = excluded.sent, email_conflict = excluded.email_conflict";
/// Deletes the e-mail links of the affiliates with these affiliate keys, except these links.
const UNLINK_EMAILS: &str = "DELETE FROM links
    WHERE affiliate = ANY (ARRAY(SELECT affiliates.affiliate FROM affiliates WHERE affiliates.key = ANY ($1)))
    AND key >= '\\x02'::bytea AND key < '\\x03'::bytea AND NOT key = ANY ($2)";
/// Inserts user keys, each with the affiliate key of its affiliate.
const LINK: &str = "INSERT INTO links (key, affiliate)
    SELECT linked.key, (SELECT affiliates.affiliate FROM affiliates WHERE affiliates.key = linked.own)
    FROM unnest($1::bytea[], $2::bytea[]) AS linked (key, own)
    ON CONFLICT (key) DO UPDATE SET affiliate = excluded.affiliate WHERE links.affiliate <> excluded.affiliate";

/// The statements that are sent together.
pub const STATEMENTS: &[&str] = &[SAVE, UNLINK_EMAILS, LINK];

/// Whether two affiliates of one account are the same, or a user key would lead to both.
pub fn overlap(one: &Remember, other: &Remember) -> bool {
    one.known.code == other.known.code || one.user_keys.iter().any(|key| other.user_keys.contains(key))
}

/// An affiliate to remember, with its account.
#[derive(Clone, Copy, Debug)]
pub struct ToRemember<'a> {
    /// The affiliate key.
    key: UserKeyHash,
    account: AccountNumber,
    remember: &'a Remember,
}

impl<'a> ToRemember<'a> {
    /// An affiliate of the account of this name and number.
    pub fn new(hash: &HashKey, name: &AccountName, account: AccountNumber, remember: &'a Remember) -> Self {
        Self { key: user_keys::affiliate_hash(hash, name, &remember.known.code), account, remember }
    }
}

/// Saves affiliates that do not [overlap], and links their user keys. Sends the statements when it is first polled.
pub async fn save(session: &Session, affiliates: &[ToRemember<'_>]) -> Result<(), Error> {
    try_join(save_rows(session, affiliates), link(session, affiliates)).await.map(drop)
}

async fn save_rows(session: &Session, affiliates: &[ToRemember<'_>]) -> Result<(), Error> {
    if affiliates.is_empty() {
        return Ok(());
    }
    let rows = affiliates.iter().map(|one| (one, AffiliateColumns::of(&one.remember.known)));
    let rows: Vec<(&ToRemember<'_>, AffiliateColumns)> = rows.collect();
    let values = arrays!(row in rows =>
        row.0.key.as_slice(), row.0.account, text(&row.1.code), row.1.id, row.1.found, row.1.sent.as_slice(),
        row.1.email_conflict);
    session.execute(SAVE, values).await.map(drop)
}

async fn link(session: &Session, affiliates: &[ToRemember<'_>]) -> Result<(), Error> {
    let of_each = affiliates.iter().flat_map(|one| one.remember.user_keys.iter().map(move |user| (user, &one.key)));
    let links = of_each.map(|(user, own)| (user_keys::tagged(user), own));
    let links: BTreeMap<TaggedKey, &UserKeyHash> = links.collect();
    if links.is_empty() {
        return Ok(());
    }
    // An e-mail that moves from one of these affiliates to another is linked to the other one, not unlinked.
    let emails: Vec<_> = links.iter().filter(|(key, _)| key[0] == EMAIL).collect();
    let unlink = arrays!(link in emails => link.1.as_slice(), link.0.as_slice());
    let link = arrays!(link in links => link.0.as_slice(), link.1.as_slice());
    try_join(session.execute(UNLINK_EMAILS, unlink), session.execute(LINK, link)).await.map(drop)
}

/// Forgets affiliates and erases users as the `changes` of an account say. The last event of the unit was received at `received_at`.
pub async fn erase(
    session: &Session,
    shared: &Shared,
    account: &AccountName,
    changes: &AffiliateChanges,
    received_at: Timestamp,
) -> Result<(), Error> {
    let mut keys: Vec<UserKeyHash> = changes.erase.iter().map(|key| *key.bytes()).collect();
    let own = changes.forget.iter().map(|code| user_keys::affiliate_hash(&shared.hash, account, code));
    let own: Vec<UserKeyHash> = own.collect();
    for key in &own {
        let sql = "DELETE FROM affiliates WHERE key = $1 RETURNING affiliate";
        let Some(row) = session.query_opt(sql, &[&key.as_slice()]).await? else { continue };
        let sql = "DELETE FROM links WHERE affiliate = $1 RETURNING key";
        let linked = session.query(sql, &[&row.get::<_, i64>(0)]).await?;
        keys.extend(linked.iter().flat_map(|row| user_keys::hashes(row.get(0)).collect::<Vec<_>>()));
    }
    if !changes.erase.is_empty() {
        keys = erase::erase(session, keys).await?;
    }
    keys.extend(own);
    match changes.deleted_at {
        Some(deleted_at) => deletions::keep(session, &deletions::of_user_keys(&keys, deleted_at, received_at)).await,
        None => Ok(()),
    }
}
