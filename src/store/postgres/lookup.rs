//! The lookup of a user or of single events.
//!
//! In: a [`LookupQuery`]. Out: a [`LookupPage`]. Affiliates are found by their links, events block by block ([`super::key_blocks`]).
//! Invariants: it changes nothing; it has a separate session, so no settlement waits for it. Deliberately absent: bodies.

use super::PostgresStore;
use super::accounts::{self, AccountNumber};
use super::error::JobError;
use super::inspection::record;
use super::key_blocks::{candidates, examine};
use super::remembered;
use super::session::Session;
use crate::domain::{Timestamp, UserKey};
use crate::store::erasure::UserKeyHash;
use crate::store::lookup::UserLookup;
use crate::store::rows::affiliates::{COLUMNS, known};
use crate::store::user_keys::{self, TaggedKey};
use crate::store::{FoundBy, LookupPage, LookupQuery, StoreError, portions};
use std::sync::LazyLock;
use tokio_postgres::Error;

static AFFILIATE: LazyLock<String> = LazyLock::new(|| format!("SELECT {COLUMNS} FROM affiliates WHERE affiliate = $1"));

/// The affiliate that a key leads to, and the moment at which the user with the key was deleted.
const OF_KEY: &str = "SELECT (SELECT affiliate FROM links WHERE key = $1),
    (SELECT deleted_at FROM deleted_users WHERE key = $2)";

impl PostgresStore {
    /// See [`Inspection::lookup`](crate::store::Inspection::lookup).
    pub(super) async fn look_up(&self, query: &LookupQuery) -> Result<LookupPage, StoreError> {
        Ok(self.look_up_in(&self.connector.connect().await?, query).await?)
    }

    async fn look_up_in(&self, session: &Session, query: &LookupQuery) -> Result<LookupPage, JobError> {
        let Some(account) = accounts::number(session, &query.account).await? else {
            return Ok(LookupPage::default());
        };
        let ids: Vec<UserKeyHash> = query.ids.iter().map(|id| id.0).collect();
        let named = events_with(session, account, &ids, query).await?;
        let mut looked_up: Vec<_> = query.users.iter().map(|key| (*key, FoundBy::key(key))).collect();
        for row in session.query("SELECT keys FROM log WHERE seq = ANY ($1)", &[&named]).await? {
            let keys = user_keys::from_blob(row.get(0)).unwrap_or_default();
            looked_up.extend(keys.into_iter().map(|key| (key, FoundBy::MessageId)));
        }
        let own = query.code.as_ref().map(|code| user_keys::affiliate_hash(&self.shared.hash, &query.account, code));
        let (mut lookup, reached) = user(session, &looked_up, own).await?.finish();
        let seqs = if query.is_of_user() { events_with(session, account, &reached, query).await? } else { named };
        for seq in lookup.page(seqs, query.limit) {
            lookup.events.extend(record(session, seq).await?);
        }
        Ok(lookup)
    }
}

/// The affiliates that these user keys and the affiliate key `own` lead to, and what else the store has of their user.
async fn user(
    session: &Session,
    looked_up: &[(UserKey, FoundBy)],
    own: Option<UserKeyHash>,
) -> Result<UserLookup, JobError> {
    let mut lookup = UserLookup::default();
    if let Some(own) = own {
        let row = session.query_opt("SELECT affiliate FROM affiliates WHERE key = $1", &[&own.as_slice()]).await?;
        if let Some(row) = row {
            lookup.add_affiliate(row.get(0), FoundBy::Code);
        }
    }
    for (key, by) in looked_up {
        let row = session.query_one(OF_KEY, &[&user_keys::tagged(key).as_slice(), &key.bytes().as_slice()]).await?;
        if let Some(affiliate) = row.get(0) {
            lookup.add_affiliate(affiliate, *by);
        }
        let deleted_at = row.get::<_, Option<i64>>(1).map(Timestamp);
        lookup.add_user_key(key, deleted_at, remembered::look_up(session, key, *by).await?);
    }
    for affiliate in lookup.affiliates() {
        let links = session.query("SELECT key FROM links WHERE affiliate = $1 ORDER BY key", &[&affiliate]).await?;
        let links: Vec<TaggedKey> = links.iter().filter_map(|row| row.get::<_, &[u8]>(0).try_into().ok()).collect();
        let known = session.query_opt(&AFFILIATE, &[&affiliate]).await?.map(|row| known(&row, 0)).transpose()?;
        lookup.add_record(affiliate, known.as_ref(), &links);
    }
    Ok(lookup)
}

/// The events with one of these ids or user keys, the newest first: one more than the limit, if there are so many.
async fn events_with(
    session: &Session,
    account: AccountNumber,
    keys: &[UserKeyHash],
    query: &LookupQuery,
) -> Result<Vec<i64>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let ranges = candidates(session, keys).await?;
    portions::newest(ranges, query, |range| examine(session, account, keys, range)).await
}
