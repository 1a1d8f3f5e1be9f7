//! Reads of the affiliate index: the memory of events' users, and the record of an affiliate.
//!
//! In: the user keys of events, or an affiliate key. Out: affiliates, whether they have another owner, the moment of a deletion, and
//! remembered traits. Invariants: everything is found by index; a part that cannot be read is named, and never replaced by a default.
//! Deliberately absent: changes of the index ([`super::affiliates`]).

use super::error::JobError;
use super::remembered;
use super::session::Session;
use crate::delivery::{AffiliateRecord, Memory, RecalledAffiliate, SealedTraits};
use crate::domain::{Timestamp, UserKey};
use crate::store::rows::affiliates::{UserKeyMemory, has_other_owner, known, memory};
use crate::store::rows::remembered::sealed;
use crate::store::rows::{Columns, Damaged};
use crate::store::user_keys::{self, TaggedKey};
use futures_util::future::try_join3;
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Error, Row};

/// The columns of [`known`]; whether a `userId` leads to the affiliate; the affiliate; the key.
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
    affiliates: HashMap<Vec<u8>, Result<AffiliateRow, Damaged>>,
    deletions: HashMap<Vec<u8>, Result<Timestamp, Damaged>>,
    traits: HashMap<Vec<u8>, Result<SealedTraits, Damaged>>,
}

#[derive(Clone, Debug)]
struct AffiliateRow {
    number: i64,
    is_owned: bool,
    known: AffiliateRecord,
}

impl AffiliateRow {
    fn read(row: &Row) -> Result<Self, Damaged> {
        let damaged = Damaged("affiliates.affiliate");
        let number = row.integer(5, damaged.0)?.ok_or(damaged)?;
        let is_owned = row.integer(4, damaged.0)?.ok_or(damaged)? != 0;
        Ok(Self { number, is_owned, known: known(row, 0)? })
    }
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
            affiliates: affiliates.iter().map(|row| (row.get(6), AffiliateRow::read(row))).collect(),
            deletions: deletions.iter().map(|row| (row.get(1), moment(row))).collect(),
            traits: traits.iter().map(|row| (row.get(2), sealed(row, 0))).collect(),
        })
    }

    /// The memory of the user with these keys.
    pub fn of(&self, users: &[UserKey]) -> Result<Memory, Damaged> {
        let found = users.iter().map(|key| self.affiliate(key)).collect::<Result<Vec<_>, _>>()?;
        let by_user_id: Vec<i64> = users
            .iter()
            .zip(&found)
            .filter(|(key, _)| matches!(key, UserKey::UserId(_)))
            .filter_map(|(_, affiliate)| affiliate.as_ref().map(|affiliate| affiliate.number))
            .collect();
        let each = users.iter().zip(found).map(|(key, affiliate)| {
            let deleted_at = self.deletions.get(key.bytes().as_slice()).copied().transpose()?;
            let is_other =
                |affiliate: &AffiliateRow| has_other_owner(affiliate.is_owned, by_user_id.contains(&affiliate.number));
            let has_other_owner = affiliate.as_ref().is_some_and(is_other);
            Ok(UserKeyMemory {
                key: *key,
                known: affiliate.map(|affiliate| affiliate.known),
                has_other_owner,
                deleted_at,
            })
        });
        let memory = memory(each.collect::<Result<Vec<_>, Damaged>>()?);
        let user_id = users.iter().find(|key| matches!(key, UserKey::UserId(_)));
        let traits = user_id.and_then(|key| self.traits.get(key.bytes().as_slice()));
        Ok(Memory { traits: traits.cloned().transpose()?, ..memory })
    }

    fn affiliate(&self, key: &UserKey) -> Result<Option<AffiliateRow>, Damaged> {
        self.affiliates.get(user_keys::tagged(key).as_slice()).cloned().transpose()
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
    let affiliate = AffiliateRow::read(&row)?;
    let is_own = linked.iter().any(|row| row.get::<_, i64>(0) == affiliate.number);
    let has_other_owner = has_other_owner(affiliate.is_owned, is_own);
    Ok(Some(RecalledAffiliate { known: affiliate.known, has_other_owner }))
}
