//! Reads of the affiliate index: the memory of events' users, and the record of an affiliate.
//!
//! In: the user keys of events, or an affiliate key. Out: affiliates, whether they have another owner, the moment of a deletion, and
//! remembered traits. Invariants: everything is found by index; a part that cannot be read is named, and never replaced by a default.
//! Deliberately absent: changes of the index ([`super::affiliates`]).

use super::error::JobError;
use super::remembered;
use super::session::Session;
use crate::delivery::{Memory, RecalledAffiliate, SealedTraits};
use crate::domain::{Timestamp, UserKey};
use crate::store::rows::affiliates::{LinkedAffiliate, UserKeyMemory, memory};
use crate::store::rows::remembered::sealed;
use crate::store::rows::{Columns, Damaged};
use crate::store::user_keys::{self, TaggedKey};
use futures_util::future::try_join3;
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Error, Row};

/// The columns of [`LinkedAffiliate::read`], and the key.
pub const AFFILIATES: &str = "SELECT code, id, found, sent,
        EXISTS (SELECT 1 FROM links AS own WHERE own.affiliate = affiliates.affiliate
                AND own.key >= '\\x01'::bytea AND own.key < '\\x02'::bytea),
        affiliates.affiliate, links.key
    FROM links CROSS JOIN LATERAL
        (SELECT * FROM affiliates WHERE affiliates.affiliate = links.affiliate LIMIT 1) AS affiliates
    WHERE links.key = ANY ($1)";
pub const DELETIONS: &str = "SELECT deleted_at, key FROM deleted_users WHERE key = ANY ($1)";
const BY_KEY: &str = "SELECT code, id, found, sent,
        EXISTS (SELECT 1 FROM links AS own WHERE own.affiliate = affiliates.affiliate
                AND own.key >= '\\x01'::bytea AND own.key < '\\x02'::bytea),
        affiliates.affiliate
    FROM affiliates WHERE key = $1";
const LINKS: &str = "SELECT affiliate FROM links WHERE key = ANY ($1)";

/// The memories for some user keys.
#[derive(Debug, Default)]
pub struct Memories {
    affiliates: HashMap<Vec<u8>, Result<LinkedAffiliate, Damaged>>,
    deletions: HashMap<Vec<u8>, Result<Timestamp, Damaged>>,
    traits: HashMap<Vec<u8>, Result<SealedTraits, Damaged>>,
}

impl Memories {
    /// Reads the memories of the users with these keys.
    pub async fn read(session: &Session, users: &HashSet<UserKey>) -> Result<Self, Error> {
        let links: Vec<Vec<u8>> = users.iter().map(|key| user_keys::tagged(key).to_vec()).collect();
        let hashes: Vec<&[u8]> = users.iter().map(|key| key.bytes().as_slice()).collect();
        let user_ids = users.iter().filter(|key| matches!(key, UserKey::UserId(_)));
        let user_ids: Vec<&[u8]> = user_ids.map(|key| key.bytes().as_slice()).collect();
        let (links, hashes, user_ids) = ([&links as _], [&hashes as _], [&user_ids as _]);
        let affiliates = session.query(AFFILIATES, &links);
        let traits = session.query(remembered::OF_USERS, &user_ids);
        let (affiliates, deletions, traits) = try_join3(affiliates, session.query(DELETIONS, &hashes), traits).await?;
        let moment = |row: &Row| row.integer(0, "deleted_users.deleted_at").map(|at| Timestamp(at.unwrap_or_default()));
        Ok(Self {
            affiliates: affiliates.iter().map(|row| (row.get(6), LinkedAffiliate::read(row))).collect(),
            deletions: deletions.iter().map(|row| (row.get(1), moment(row))).collect(),
            traits: traits.iter().map(|row| (row.get(2), sealed(row, 0))).collect(),
        })
    }

    /// The memory of the user with these keys.
    pub fn of(&self, users: &[UserKey]) -> Result<Memory, Damaged> {
        let of_key = |key: &UserKey| {
            let affiliate = self.affiliates.get(user_keys::tagged(key).as_slice()).cloned().transpose()?;
            let deleted_at = self.deletions.get(key.bytes().as_slice()).copied().transpose()?;
            Ok(UserKeyMemory { key: *key, affiliate, deleted_at })
        };
        let memory = memory(users.iter().map(of_key).collect::<Result<Vec<_>, Damaged>>()?);
        let user_id = users.iter().find(|key| matches!(key, UserKey::UserId(_)));
        let traits = user_id.and_then(|key| self.traits.get(key.bytes().as_slice()));
        Ok(Memory { traits: traits.cloned().transpose()?, ..memory })
    }
}

/// The record of the affiliate with the key `own`, for an event with the user keys `users`.
pub async fn recall(
    session: &Session,
    own: &[u8; 16],
    users: &[UserKey],
) -> Result<Option<RecalledAffiliate>, JobError> {
    let user_ids: Vec<TaggedKey> =
        users.iter().filter(|key| matches!(key, UserKey::UserId(_))).map(user_keys::tagged).collect();
    let user_ids: Vec<&[u8]> = user_ids.iter().map(<[u8; 17]>::as_slice).collect();
    let Some(row) = session.query_opt(BY_KEY, &[&own.as_slice()]).await? else { return Ok(None) };
    let linked = session.query(LINKS, &[&user_ids]).await?;
    let own: Vec<i64> = linked.iter().map(|row| row.get(0)).collect();
    Ok(Some(LinkedAffiliate::read(&row)?.recalled(&own)))
}
