//! The lookup of a user or of single events.
//!
//! In: a [`LookupQuery`]. Out: a [`LookupPage`]. Affiliates are found by their links, events block by block ([`super::key_blocks`]): the
//! filters are read, 4 bytes an event, and then the rows of the blocks that may hold an id or a user key. Invariants: it changes nothing;
//! each read is short. Deliberately absent: bodies.

use super::SqliteStore;
use super::affiliates::{find_affiliate, known_of, user_links};
use super::erase;
use super::inspection::record;
use super::key_blocks::{candidates, examine};
use super::query::Query;
use super::remembered;
use crate::domain::UserKey;
use crate::store::erasure::{ReachedKeys, UserKeyHash};
use crate::store::user_keys::{self, EMAIL, TaggedKey, USER_ID};
use crate::store::{FoundAffiliate, FoundBy, LookupPage, LookupQuery, StoreError, portions};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

impl SqliteStore {
    /// See [`Inspection::lookup`](crate::store::Inspection::lookup).
    pub(super) async fn look_up(&self, query: &LookupQuery) -> Result<LookupPage, StoreError> {
        let named = self.events_with(query.ids.iter().map(|id| id.0).collect(), query).await?;
        let (users, seqs, of_user) = (query.users.clone(), named.clone(), query.is_of_user());
        let own = query.code.as_ref().map(|code| user_keys::of_affiliate(&self.hash, &query.account, code));
        let read = move |connection: &Connection| {
            let snapshot = connection.unchecked_transaction()?;
            user(&snapshot, &looked_up(&snapshot, users, own, &seqs)?)
        };
        let (mut lookup, reached) = self.readers.read(read).await?;
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

/// The keys of the query: user keys, and an affiliate key.
fn looked_up(
    connection: &Connection,
    users: Vec<UserKey>,
    own: Option<TaggedKey>,
    seqs: &[i64],
) -> Result<Vec<(TaggedKey, FoundBy)>, StoreError> {
    let mut looked_up: Vec<_> = users.iter().map(|key| (user_keys::tagged(key), FoundBy::key(key))).collect();
    looked_up.extend(own.map(|own| (own, FoundBy::Code)));
    for seq in seqs {
        let sql = "SELECT keys FROM log WHERE seq = ?1";
        let stored: Vec<u8> = connection.one(sql, [seq], |row| Ok(row.get(0)?))?.unwrap_or_default();
        let keys = user_keys::from_blob(&stored).unwrap_or_default();
        looked_up.extend(keys.iter().map(|key| (user_keys::tagged(key), FoundBy::MessageId)));
    }
    Ok(looked_up)
}

/// The affiliates that these keys lead to, and the moment of the user's deletion; and all user keys.
fn user(
    connection: &Connection,
    looked_up: &[(TaggedKey, FoundBy)],
) -> Result<(LookupPage, Vec<UserKeyHash>), StoreError> {
    let (mut lookup, mut reached) = (LookupPage::default(), ReachedKeys::default());
    let mut found: BTreeMap<i64, BTreeSet<FoundBy>> = BTreeMap::new();
    let mut remembered = Vec::new();
    for (key, by) in looked_up {
        if let Some(affiliate) = find_affiliate(connection, key)? {
            found.entry(affiliate).or_default().insert(*by);
        }
        if let Some(users) = user_keys::from_blob(key) {
            reached.add(users.iter().map(|user| *user.bytes()));
            for user in users {
                lookup.deleted_at = lookup.deleted_at.max(erase::last_moment(connection, user.bytes())?);
                for (row, found) in remembered::look_up(connection, &user, *by)? {
                    lookup.add_traits(row, found, &mut remembered);
                }
            }
        }
    }
    for (affiliate, by) in found {
        let links = user_links(connection, affiliate)?;
        let tagged = |tag| links.iter().filter(|key| key[0] == tag).count() as u64;
        if let Some(known) = known_of(connection, affiliate)? {
            let by = by.into_iter().collect();
            lookup.affiliates.push(FoundAffiliate::new(&known, by, tagged(USER_ID), tagged(EMAIL)));
        }
        reached.add(links.iter().flat_map(|key| user_keys::hashes(key)));
    }
    Ok((lookup, reached.keys().to_vec()))
}
