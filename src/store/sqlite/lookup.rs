//! The lookup of a user or of single events.
//!
//! In: a [`LookupQuery`]. Out: a [`LookupPage`]. Affiliates are found by their links, events block by block ([`super::key_blocks`]): the
//! filters are read, 4 bytes an event, and then the rows of the blocks that may hold an id or a user key. Invariants: it changes nothing;
//! each read is short. Deliberately absent: bodies.

use super::SqliteStore;
use super::affiliates::{find_affiliate, known_of, user_links};
use super::erase::last_moment;
use super::inspection::record;
use super::key_blocks::{candidates, examine};
use super::query::Query;
use super::remembered;
use crate::domain::UserKey;
use crate::store::erasure::UserKeyHash;
use crate::store::lookup::UserLookup;
use crate::store::user_keys::{self, TaggedKey};
use crate::store::{FoundBy, LookupPage, LookupQuery, StoreError, portions};
use rusqlite::Connection;

impl SqliteStore {
    /// See [`Inspection::lookup`](crate::store::Inspection::lookup).
    pub(super) async fn look_up(&self, query: &LookupQuery) -> Result<LookupPage, StoreError> {
        let named = self.events_with(query.ids.iter().map(|id| id.0).collect(), query).await?;
        let (users, seqs, of_user) = (query.users.clone(), named.clone(), query.is_of_user());
        let own = query.code.as_ref().map(|code| user_keys::of_affiliate(&self.hash, &query.account, code));
        let read = move |connection: &Connection| {
            let snapshot = connection.unchecked_transaction()?;
            user(&snapshot, &looked_up(&snapshot, users, &seqs)?, own)
        };
        let (mut lookup, reached) = self.readers.read(read).await?.finish();
        let seqs = if of_user { self.events_with(reached, query).await? } else { named };
        let seqs = lookup.page(seqs, query.limit);
        let records = move |connection: &Connection| {
            seqs.iter().filter_map(|seq| record(connection, *seq).transpose()).collect::<Result<Vec<_>, _>>()
        };
        lookup.events = self.readers.read(records).await?;
        Ok(lookup)
    }

    /// The events with one of these ids or user keys, the newest first: one more than the limit, if there are so many.
    async fn events_with(&self, keys: Vec<UserKeyHash>, query: &LookupQuery) -> Result<Vec<i64>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let of_blocks = keys.clone();
        let ranges = self.readers.read(move |connection| candidates(connection, &of_blocks)).await?;
        let examine = |range| {
            let keys = keys.clone();
            self.readers.read(move |connection| examine(connection, &keys, range))
        };
        portions::newest(ranges, query, examine).await
    }
}

/// The user keys of the query, and those of the events `seqs`.
fn looked_up(
    connection: &Connection,
    users: Vec<UserKey>,
    seqs: &[i64],
) -> Result<Vec<(UserKey, FoundBy)>, StoreError> {
    let mut looked_up: Vec<_> = users.into_iter().map(|key| (key, FoundBy::key(&key))).collect();
    for seq in seqs {
        let sql = "SELECT keys FROM log WHERE seq = ?1";
        let stored: Vec<u8> = connection.one(sql, [seq], |row| Ok(row.get(0)?))?.unwrap_or_default();
        let keys = user_keys::from_blob(&stored).unwrap_or_default();
        looked_up.extend(keys.into_iter().map(|key| (key, FoundBy::MessageId)));
    }
    Ok(looked_up)
}

/// The affiliates that these user keys and the affiliate key `own` lead to, and what else the store has of their user.
fn user(
    connection: &Connection,
    looked_up: &[(UserKey, FoundBy)],
    own: Option<TaggedKey>,
) -> Result<UserLookup, StoreError> {
    let mut lookup = UserLookup::default();
    let users = looked_up.iter().map(|(key, by)| (user_keys::tagged(key), *by));
    for (key, by) in users.chain(own.map(|own| (own, FoundBy::Code))) {
        if let Some(affiliate) = find_affiliate(connection, &key)? {
            lookup.add_affiliate(affiliate, by);
        }
    }
    for (key, by) in looked_up {
        let remembered = remembered::look_up(connection, key, *by)?;
        lookup.add_user_key(key, last_moment(connection, key.bytes())?, remembered);
    }
    for affiliate in lookup.affiliates() {
        let known = known_of(connection, affiliate)?;
        lookup.add_record(affiliate, known.as_ref(), &user_links(connection, affiliate)?);
    }
    Ok(lookup)
}
