//! The types of a lookup: what the store holds of a user or of an event.
//!
//! In: keyed hashes of what an operator knows (an e-mail address, a `userId`, a `messageId`), or an affiliate's code. Out: affiliates
//! and events, which are also the JSON of the operators' listener. Invariants: neither holds personal data; an answer is of one page,
//! however much the store holds. Deliberately absent: bodies, which only a dead letter shows.

use super::erasure::UserKeyHash;
use super::{EventRecord, FoundTraits};
use crate::delivery::{Known, Origin};
use crate::domain::{AccountName, AffiliateCode, AffiliateId, EventId, HashKey, Timestamp, UserKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is looked up: everything of a user, or single events.
#[derive(Clone, Debug)]
pub struct LookupQuery {
    /// The account.
    pub account: AccountName,
    /// Keys of the user. The keys beside them, which lead to the same affiliate, are looked up, too.
    pub users: Vec<UserKey>,
    /// The user of the affiliate with this code.
    pub code: Option<AffiliateCode>,
    /// If there is one: only the events with one of these ids, and the affiliates of their users.
    pub ids: Vec<EventId>,
    /// Only events with a seq below this one.
    pub before: Option<i64>,
    /// How many events at most.
    pub limit: usize,
}

impl LookupQuery {
    /// The ids that an event of the account with this `messageId` may have: that of a delete is made of its user, too.
    pub fn ids(hash: &HashKey, account: &AccountName, message_id: &str, users: &[UserKey]) -> Vec<EventId> {
        let deletes = users.chunks(1).chain([users]).filter(|users| !users.is_empty());
        let deletes = deletes.map(|users| hash.delete_by_message_id(account, message_id, users));
        let mut ids: Vec<EventId> =
            [hash.event_by_message_id(account, message_id)].into_iter().chain(deletes).collect();
        ids.dedup();
        ids
    }

    /// Whether everything of a user is looked up, and not single events.
    pub fn is_of_user(&self) -> bool {
        self.ids.is_empty()
    }
}

/// What the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lookup {
    /// The affiliates that the keys lead to.
    pub affiliates: Vec<FoundAffiliate>,
    /// What is remembered of the user as long as no affiliate is created.
    #[serde(default)]
    pub remembered: Vec<FoundTraits>,
    /// When the user was deleted last, as far as that is still kept.
    #[schema(value_type = Option<i64>)]
    pub deleted_at: Option<Timestamp>,
    /// Events, the newest first: those that are pending, dead letters, and what ended or was answered within the window of the ledger.
    pub events: Vec<EventRecord>,
    /// The seq below which to go on; `null` if that was all.
    pub next: Option<i64>,
}

impl Lookup {
    /// Adds a row of what is remembered; `rows` are the keys of those that were added before.
    pub(super) fn add_traits(&mut self, row: UserKeyHash, found: FoundTraits, rows: &mut Vec<UserKeyHash>) {
        if let Some(place) = rows.iter().position(|before| *before == row) {
            self.remembered[place].found_by.extend(found.found_by);
        } else {
            rows.push(row);
            self.remembered.push(found);
        }
    }

    /// The first `limit` of the seqs found, which are those of its page; and where the next page begins, if there are more.
    pub(super) fn page(&mut self, mut seqs: Vec<i64>, limit: usize) -> Vec<i64> {
        let more = seqs.len() > limit;
        seqs.truncate(limit);
        self.next = seqs.last().copied().filter(|_| more);
        seqs
    }
}

/// An affiliate that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundAffiliate {
    /// The alphanumeric code.
    #[schema(value_type = String)]
    pub code: AffiliateCode,
    /// The numeric id, if it is known.
    #[schema(value_type = Option<u64>)]
    pub id: Option<AffiliateId>,
    /// Whether this service created it. If not, it existed before.
    pub created_here: bool,
    /// Which of the things looked up lead to it. With `user_id`, the user is its owner.
    pub found_by: Vec<FoundBy>,
    /// How many `userId`s lead to it. Above 0, the affiliate is owned: the events of other `userId`s change nothing.
    pub user_ids: u64,
    /// How many e-mail addresses lead to it.
    pub emails: u64,
    /// Whether its e-mail address could not be changed, because another affiliate has the new one.
    pub email_conflict: bool,
    /// What was last sent to Refersion: names, no values.
    pub sent: Vec<SentAttribute>,
}

/// What leads to an affiliate.
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
    /// That a key of the user was given.
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
    /// Since when the value was true, as the event said. Absent if no event said it, or if a release before 0.3.0 sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub at: Option<Timestamp>,
}

impl FoundAffiliate {
    /// What is known of an affiliate, and how many keys of users lead to it.
    pub fn new(known: &Known, found_by: Vec<FoundBy>, user_ids: u64, emails: u64) -> Self {
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
