//! Lookup: what the store holds of a user, or of single events.
//!
//! In: a [`LookupQuery`]. Out: a [`Lookup`]. Affiliates are found by their links, events block by block
//! ([`super::key_blocks`]). Invariants: it changes nothing; it has a session of its own, so that no settlement waits for it. Deliberately
//! absent: bodies.

use super::PostgresStore;
use super::error::JobError;
use super::inspection::record;
use super::key_blocks::{candidates, examine};
use super::remembered;
use super::session::Session;
use super::shared::AccountNumber;
use crate::domain::{Timestamp, UserKey};
use crate::store::erasure::{Reached, UserKeyHash};
use crate::store::rows::affiliates::{COLUMNS, known};
use crate::store::user_keys::{self, EMAIL, TaggedKey, USER_ID};
use crate::store::{FoundAffiliate, FoundBy, Lookup, LookupQuery, StoreError, portions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use tokio_postgres::Error;

static AFFILIATES: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {COLUMNS}, affiliates.affiliate FROM affiliates WHERE affiliate = ANY ($1) ORDER BY affiliate")
});

impl PostgresStore {
    /// See [`Inspection::lookup`](crate::store::Inspection::lookup).
    pub(super) async fn look_up(&self, query: &LookupQuery) -> Result<Lookup, StoreError> {
        Ok(self.look_up_in(&self.connector.connect().await?, query).await?)
    }

    async fn look_up_in(&self, session: &Session, query: &LookupQuery) -> Result<Lookup, JobError> {
        let Some(account) = self.shared.find_number(session, &query.account).await? else {
            return Ok(Lookup::default());
        };
        let ids: Vec<UserKeyHash> = query.ids.iter().map(|id| id.0).collect();
        let named = events_with(session, account, &ids, query).await?;
        let asked = Asked::of(session, query, named).await?;
        let own = query.code.as_ref().map(|code| user_keys::affiliate_hash(&self.shared.hash, &query.account, code));
        let (mut lookup, reached) = asked.user(session, own).await?;
        let seqs = if query.is_of_user() { events_with(session, account, &reached, query).await? } else { asked.seqs };
        for seq in lookup.page(seqs, query.limit) {
            lookup.events.extend(record(session, seq).await?);
        }
        Ok(lookup)
    }
}

/// What is looked up.
struct Asked {
    /// Keys of users.
    keys: Vec<(UserKey, FoundBy)>,
    /// The rows of the log with one of the ids, the newest first.
    seqs: Vec<i64>,
}

impl Asked {
    async fn of(session: &Session, query: &LookupQuery, seqs: Vec<i64>) -> Result<Self, Error> {
        let rows = session.query("SELECT keys FROM log WHERE seq = ANY ($1)", &[&seqs]).await?;
        let mut keys: Vec<_> = query.users.iter().map(|key| (*key, FoundBy::key(key))).collect();
        for row in &rows {
            let of_event = user_keys::from_blob(row.get(0)).unwrap_or_default();
            keys.extend(of_event.into_iter().map(|key| (key, FoundBy::MessageId)));
        }
        Ok(Self { keys, seqs })
    }

    /// The affiliates that the keys lead to, that with the key `own`, and when the user was deleted; and all keys of the user.
    async fn user(&self, session: &Session, own: Option<UserKeyHash>) -> Result<(Lookup, Vec<UserKeyHash>), JobError> {
        let found = self.affiliates(session, own).await?;
        let (mut lookup, mut reached) = (Lookup::default(), Reached::default());
        reached.add(self.keys.iter().map(|(key, _)| *key.bytes()));
        let hashes: Vec<&[u8]> = self.keys.iter().map(|(key, _)| key.bytes().as_slice()).collect();
        let numbers: Vec<i64> = found.keys().copied().collect();
        let sql = "SELECT max(deleted_at) FROM deleted_users WHERE key = ANY ($1)";
        lookup.deleted_at = session.query_one(sql, &[&hashes]).await?.get::<_, Option<i64>>(0).map(Timestamp);
        let mut rows = Vec::new();
        for (key, by) in &self.keys {
            for (row, found) in remembered::look_up(session, key, *by).await? {
                lookup.add_traits(row, found, &mut rows);
            }
        }
        let sql = "SELECT affiliate, key FROM links WHERE affiliate = ANY ($1) ORDER BY affiliate, key";
        let links = session.query(sql, &[&numbers]).await?;
        let affiliates = session.query(&AFFILIATES, &[&numbers]).await?;
        reached.add(links.iter().flat_map(|row| user_keys::hashes(row.get(1)).collect::<Vec<_>>()));
        for row in &affiliates {
            let number: i64 = row.get(4);
            let tagged = |tag| {
                let of_it = links.iter().filter(|link| link.get::<_, i64>(0) == number);
                of_it.filter(|link| link.get::<_, &[u8]>(1).first() == Some(&tag)).count() as u64
            };
            let known = known(row, 0).map_err(StoreError::from)?;
            let by = found.get(&number).into_iter().flatten().copied().collect();
            lookup.affiliates.push(FoundAffiliate::new(&known, by, tagged(USER_ID), tagged(EMAIL)));
        }
        Ok((lookup, reached.keys().to_vec()))
    }

    /// The affiliates, and what leads to each.
    async fn affiliates(
        &self,
        session: &Session,
        own: Option<UserKeyHash>,
    ) -> Result<BTreeMap<i64, BTreeSet<FoundBy>>, Error> {
        let mut found: BTreeMap<i64, BTreeSet<FoundBy>> = BTreeMap::new();
        for (key, by) in &self.keys {
            let tagged: TaggedKey = user_keys::tagged(key);
            let sql = "SELECT affiliate FROM links WHERE key = $1";
            if let Some(row) = session.query_opt(sql, &[&tagged.as_slice()]).await? {
                found.entry(row.get(0)).or_default().insert(*by);
            }
        }
        if let Some(own) = own {
            let row = session.query_opt("SELECT affiliate FROM affiliates WHERE key = $1", &[&own.as_slice()]).await?;
            found.extend(row.map(|row| (row.get(0), BTreeSet::from([FoundBy::Code]))));
        }
        Ok(found)
    }
}

/// The events with one of these ids or keys, the newest first: one more than are wanted, if there are so many.
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
