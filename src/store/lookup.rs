//! The types of a lookup of a user or of an event.
//!
//! In: keyed hashes of an e-mail address, a `userId` or a `messageId`, or an affiliate's code. Out: affiliates and events, which are also
//! the JSON of the operators' listener. Invariants: neither holds personal data; an answer is one page, whatever the size of the store.
//! Deliberately absent: bodies, which only a dead letter shows.

use super::erasure::{ReachedKeys, UserKeyHash};
use super::user_keys::{self, EMAIL, TaggedKey, USER_ID};
use super::{EventRecord, FoundTraits};
use crate::delivery::{AffiliateRecord, Origin};
use crate::domain::{AccountName, AffiliateCode, AffiliateId, EventId, HashKey, Timestamp, UserKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// The query of a lookup: all data of a user, or single events.
#[derive(Clone, Debug)]
pub struct LookupQuery {
    /// The account.
    pub account: AccountName,
    /// User keys. The keys beside them, which lead to the same affiliate, are looked up, too.
    pub users: Vec<UserKey>,
    /// The user of the affiliate with this code.
    pub code: Option<AffiliateCode>,
    /// If not empty: only the events with one of these ids, and the affiliates of their users.
    pub ids: Vec<EventId>,
    /// Only events with a seq below this one.
    pub before: Option<i64>,
    /// The most events.
    pub limit: usize,
}

impl LookupQuery {
    /// The ids that an event of the account with this `messageId` may have. The id of a delete depends on its user, too.
    pub fn ids(hash: &HashKey, account: &AccountName, message_id: &str, users: &[UserKey]) -> Vec<EventId> {
        let deletes = users.chunks(1).chain([users]).filter(|users| !users.is_empty());
        let deletes = deletes.map(|users| hash.delete_by_message_id(account, message_id, users));
        let mut ids: Vec<EventId> =
            [hash.event_by_message_id(account, message_id)].into_iter().chain(deletes).collect();
        ids.dedup();
        ids
    }

    /// Whether all data of a user is looked up, not single events.
    pub fn is_of_user(&self) -> bool {
        self.ids.is_empty()
    }
}

/// The result of a lookup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LookupPage {
    /// The affiliates that the user keys lead to.
    pub affiliates: Vec<FoundAffiliate>,
    /// The remembered traits of the user, while no affiliate is created.
    #[serde(default)]
    pub remembered: Vec<FoundTraits>,
    /// When the user was deleted last, if the moment is still kept.
    #[schema(value_type = Option<i64>)]
    pub deleted_at: Option<Timestamp>,
    /// Events, the newest first: pending ones, dead letters, and events that ended or were answered within the window of the ledger.
    pub events: Vec<EventRecord>,
    /// The seq below which the next page begins; `null` if this is the last page.
    pub next: Option<i64>,
}

impl LookupPage {
    /// The seqs of the page: the first `limit` found. Sets where the next page begins, if there are more.
    pub(super) fn page(&mut self, mut seqs: Vec<i64>, limit: usize) -> Vec<i64> {
        let more = seqs.len() > limit;
        seqs.truncate(limit);
        self.next = seqs.last().copied().filter(|_| more);
        seqs
    }
}

/// A lookup while an engine reads what the store has of the user: first of each user key, then of each affiliate.
#[derive(Debug, Default)]
pub(super) struct UserLookup {
    page: LookupPage,
    /// The user keys of the query, and those that lead to one of the affiliates.
    reached: ReachedKeys,
    affiliates: BTreeMap<i64, BTreeSet<FoundBy>>,
    /// The keys of the rows of remembered traits on the page.
    remembered: Vec<UserKeyHash>,
}

impl UserLookup {
    /// Adds the affiliate that a part of the query leads to, by its row.
    pub fn add_affiliate(&mut self, affiliate: i64, by: FoundBy) {
        self.affiliates.entry(affiliate).or_default().insert(by);
    }

    /// Adds a user key, when its user was deleted last, and the remembered traits that it leads to, each with the key of its row.
    pub fn add_user_key(
        &mut self,
        key: &UserKey,
        deleted_at: Option<Timestamp>,
        remembered: Vec<(UserKeyHash, FoundTraits)>,
    ) {
        self.reached.add([*key.bytes()]);
        self.page.deleted_at = self.page.deleted_at.max(deleted_at);
        for (row, found) in remembered {
            if let Some(index) = self.remembered.iter().position(|before| *before == row) {
                self.page.remembered[index].found_by.extend(found.found_by);
            } else {
                self.remembered.push(row);
                self.page.remembered.push(found);
            }
        }
    }

    /// The rows of the affiliates that were added.
    pub fn affiliates(&self) -> Vec<i64> {
        self.affiliates.keys().copied().collect()
    }

    /// Adds the record of one of these affiliates, and the user keys that lead to it.
    pub fn add_record(&mut self, affiliate: i64, known: Option<&AffiliateRecord>, links: &[TaggedKey]) {
        let tagged = |tag| links.iter().filter(|key| key[0] == tag).count() as u64;
        if let (Some(known), Some(found_by)) = (known, self.affiliates.remove(&affiliate)) {
            let found_by = found_by.into_iter().collect();
            self.page.affiliates.push(FoundAffiliate::new(known, found_by, tagged(USER_ID), tagged(EMAIL)));
        }
        self.reached.add(links.iter().flat_map(|key| user_keys::hashes(key)));
    }

    /// The page without events, and all user keys.
    pub fn finish(self) -> (LookupPage, Vec<UserKeyHash>) {
        (self.page, self.reached.keys().to_vec())
    }
}

/// An affiliate that the lookup found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundAffiliate {
    /// The alphanumeric code.
    #[schema(value_type = String)]
    pub code: AffiliateCode,
    /// The numeric id, if it is known.
    #[schema(value_type = Option<u64>)]
    pub id: Option<AffiliateId>,
    /// Whether this service created it, or it existed before.
    pub created_here: bool,
    /// The parts of the query that lead to it. With `user_id`, the user is its owner.
    pub found_by: Vec<FoundBy>,
    /// The number of `userId`s that lead to it. If it is above 0, the affiliate is owned: events of other `userId`s change nothing.
    pub user_ids: u64,
    /// The number of e-mail addresses that lead to it.
    pub emails: u64,
    /// Whether its e-mail address could not be changed, because another affiliate has the new one.
    pub email_conflict: bool,
    /// The attributes that were last sent to Refersion: names, no values.
    pub sent: Vec<SentAttribute>,
}

/// A part of the query that leads to an affiliate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// The `userId`.
    UserId,
    /// The e-mail address.
    Email,
    /// The affiliate's code.
    Code,
    /// The user of the event with this `messageId`.
    MessageId,
}

impl FoundBy {
    /// For a user key of the query.
    pub(super) fn key(key: &UserKey) -> Self {
        match key {
            UserKey::UserId(_) => Self::UserId,
            UserKey::Email(_) => Self::Email,
        }
    }
}

/// An attribute that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SentAttribute {
    /// Its name at Refersion; `#` and the id of a custom field.
    pub attribute: String,
    /// Since when the value was true, as the event stated. Absent if no event stated it, or if a release before 0.3.0 sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub at: Option<Timestamp>,
}

impl FoundAffiliate {
    /// An affiliate that was found, with the numbers of user keys that lead to it.
    pub fn new(known: &AffiliateRecord, found_by: Vec<FoundBy>, user_ids: u64, emails: u64) -> Self {
        let sent = known.sent.moments().map(|(attribute, at)| SentAttribute { attribute: attribute.to_owned(), at });
        Self {
            code: known.code.clone(),
            id: known.id,
            created_here: known.origin == Origin::Created,
            found_by,
            user_ids,
            emails,
            email_conflict: known.sent.has_email_conflict(),
            sent: sent.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SentAttributes;

    #[test]
    fn what_several_parts_of_the_query_lead_to_is_on_the_page_once() {
        let (user_id, email, other) = (UserKey::UserId([1; 16]), UserKey::Email([2; 16]), UserKey::Email([3; 16]));
        let traits = |by| vec![([9; 16], FoundTraits::new(by, "phone", Timestamp(7)))];
        let mut lookup = UserLookup::default();
        for (key, by, deleted_at) in
            [(user_id, FoundBy::UserId, Some(Timestamp(4))), (email, FoundBy::Email, Some(Timestamp(5)))]
        {
            lookup.add_affiliate(7, by);
            lookup.add_user_key(&key, deleted_at, traits(by));
        }
        lookup.add_affiliate(8, FoundBy::Code);
        assert_eq!(lookup.affiliates(), [7, 8]);
        let code = AffiliateCode("code".to_owned());
        let known = AffiliateRecord { code, id: None, origin: Origin::Created, sent: SentAttributes::default() };
        lookup.add_record(7, Some(&known), &[user_id, email, other].map(|key| user_keys::tagged(&key)));
        lookup.add_record(8, None, &[]);
        let (page, reached) = lookup.finish();
        assert_eq!(reached, [[1; 16], [2; 16], [3; 16]]);
        assert_eq!((page.deleted_at, page.remembered.len()), (Some(Timestamp(5)), 1));
        let both = [FoundBy::UserId, FoundBy::Email];
        assert_eq!((&page.remembered[0].found_by[..], &page.affiliates[0].found_by[..]), (&both[..], &both[..]));
        assert_eq!((page.affiliates.len(), page.affiliates[0].user_ids, page.affiliates[0].emails), (1, 1, 2));
    }

    #[test]
    fn a_message_id_stands_for_the_event_and_for_a_delete_of_each_form_of_the_user() {
        let (hash, account) = (HashKey::new(&[7; 32]), AccountName::main());
        let (user_id, email) = (UserKey::UserId([1; 16]), UserKey::Email([2; 16]));
        let ids = |users: &[UserKey]| LookupQuery::ids(&hash, &account, "m", users);
        let delete = |users: &[UserKey]| hash.delete_by_message_id(&account, "m", users);
        let event = hash.event_by_message_id(&account, "m");
        assert_eq!(ids(&[]), [event]);
        assert_eq!(ids(&[email]), [event, delete(&[email])]);
        assert_eq!(ids(&[user_id, email]), [event, delete(&[user_id]), delete(&[email]), delete(&[user_id, email])]);
    }
}
