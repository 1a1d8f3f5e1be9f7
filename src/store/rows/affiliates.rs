//! Rows of the affiliate index: the record of an affiliate, and the memory of an event's user.
//!
//! In: rows of `affiliates`, and the findings for each user key. Out: [`AffiliateRecord`]s and [`Memory`]; and the columns to write.
//! Invariants: an affiliate has one e-mail address, so an earlier one no longer leads to it when a new one is linked; an affiliate is owned
//! if a `userId` leads to it.

use super::{Columns, Damaged, number, words};
use crate::delivery::{AffiliateRecord, Memory, Origin, RecalledAffiliate};
use crate::domain::{AffiliateCode, AffiliateId, SentAttributes, Timestamp, UserKey};
use crate::store::EmailConflict;
use crate::store::user_keys::{self, EMAIL, TaggedKey};

/// The columns that [`known`] reads, in this order.
pub const COLUMNS: &str = "affiliates.code, affiliates.id, affiliates.found, affiliates.sent";

/// Reads the record of an affiliate.
pub fn known(row: &impl Columns, at: usize) -> Result<AffiliateRecord, Damaged> {
    let code = AffiliateCode(words(row, at, "affiliates.code")?);
    let id = affiliate_id(row, at + 1)?;
    let found = number(row, at + 2, "affiliates.found")?;
    let sent = row.blob(at + 3, "affiliates.sent")?.and_then(SentAttributes::from_bytes);
    let origin = if found == 0 { Origin::Created } else { Origin::Found };
    Ok(AffiliateRecord { code, id, origin, sent: sent.ok_or(Damaged("affiliates.sent"))? })
}

fn affiliate_id(row: &impl Columns, column: usize) -> Result<Option<AffiliateId>, Damaged> {
    let id = row.integer(column, "affiliates.id")?;
    id.map(|id| u64::try_from(id).map(AffiliateId).map_err(|_| Damaged("affiliates.id"))).transpose()
}

/// The columns of an affiliate to write, without its account.
#[derive(Debug)]
pub struct AffiliateColumns {
    /// The alphanumeric code.
    pub code: String,
    /// The numeric id. None never replaces a stored id.
    pub id: Option<i64>,
    /// Whether it existed before this service met it.
    pub found: bool,
    /// See [`SentAttributes`].
    pub sent: Vec<u8>,
    /// Whether its e-mail address could not be changed, because another affiliate has the new one.
    pub email_conflict: bool,
}

impl AffiliateColumns {
    /// The columns of `known`.
    pub fn of(known: &AffiliateRecord) -> Self {
        Self {
            code: known.code.0.clone(),
            id: known.id.and_then(|id| i64::try_from(id.0).ok()),
            found: known.origin == Origin::Found,
            sent: known.sent.to_bytes(),
            email_conflict: known.sent.has_email_conflict(),
        }
    }
}

/// The columns that [`email_conflict`] reads, in this order. The first is the number of the row, by which the list is ordered.
pub const EMAIL_CONFLICT_COLUMNS: &str = "affiliates.affiliate, accounts.name, affiliates.code, affiliates.id";

/// Reads an affiliate whose e-mail address could not be changed.
pub fn email_conflict(row: &impl Columns) -> Result<EmailConflict, Damaged> {
    let place = number(row, 0, "affiliates.affiliate")?;
    let (account, code) = (words(row, 1, "accounts.name")?, AffiliateCode(words(row, 2, "affiliates.code")?));
    Ok(EmailConflict { place, account, code, id: affiliate_id(row, 3)? })
}

/// An affiliate that a key leads to.
#[derive(Clone, Debug)]
pub struct LinkedAffiliate {
    /// The number of its row.
    pub number: i64,
    /// Whether a `userId` leads to it. It matters only for an affiliate that another key leads to.
    pub is_owned: bool,
    /// Its record.
    pub known: AffiliateRecord,
}

impl LinkedAffiliate {
    /// Reads [`COLUMNS`], whether a `userId` leads to it, and its number.
    pub fn read(row: &impl Columns) -> Result<Self, Damaged> {
        let is_owned = number(row, 4, "affiliates.affiliate")? != 0;
        Ok(Self { number: number(row, 5, "affiliates.affiliate")?, is_owned, known: known(row, 0)? })
    }

    /// Its record for an event whose `userId` leads to the affiliates `own`.
    pub fn recalled(self, own: &[i64]) -> RecalledAffiliate {
        RecalledAffiliate { has_other_owner: self.has_other_owner(own), known: self.known }
    }

    fn has_other_owner(&self, own: &[i64]) -> bool {
        self.is_owned && !own.contains(&self.number)
    }
}

/// The stored data for one user key of an event.
#[derive(Debug)]
pub struct UserKeyMemory {
    /// The user key.
    pub key: UserKey,
    /// The affiliate it leads to.
    pub affiliate: Option<LinkedAffiliate>,
    /// When the user with this key was deleted last.
    pub deleted_at: Option<Timestamp>,
}

/// The memory of a user, from the stored data for each user key.
pub fn memory(keys: Vec<UserKeyMemory>) -> Memory {
    let user_ids = keys.iter().filter(|of_key| matches!(of_key.key, UserKey::UserId(_)));
    let own: Vec<i64> = user_ids.filter_map(|of_key| Some(of_key.affiliate.as_ref()?.number)).collect();
    let mut memory = Memory::default();
    for UserKeyMemory { key, affiliate, deleted_at } in keys {
        let has_other_owner = affiliate.as_ref().is_some_and(|affiliate| affiliate.has_other_owner(&own));
        let known = affiliate.map(|affiliate| affiliate.known);
        match key {
            UserKey::UserId(_) => (memory.by_user_id, memory.user_id_deleted_at) = (known, deleted_at),
            UserKey::Email(_) => {
                memory.email_has_other_owner = has_other_owner;
                (memory.by_email, memory.email_deleted_at) = (known, deleted_at);
            }
        }
    }
    memory
}

/// The e-mail keys in `linked` that no longer lead to an affiliate when it is remembered with `users`.
pub fn earlier_emails(linked: Vec<TaggedKey>, users: &[UserKey]) -> Vec<TaggedKey> {
    let new: Vec<TaggedKey> = users.iter().map(user_keys::tagged).filter(|key| key[0] == EMAIL).collect();
    linked.into_iter().filter(|key| key[0] == EMAIL && !new.is_empty() && !new.contains(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Cell;
    use super::*;

    fn stored(known: &AffiliateRecord) -> Vec<Cell> {
        let columns = AffiliateColumns::of(known);
        let id = columns.id.map_or(Cell::Null, Cell::Integer);
        vec![Cell::Text(columns.code), id, Cell::Integer(columns.found.into()), Cell::Blob(columns.sent)]
    }

    fn affiliate(id: Option<u64>, origin: Origin) -> AffiliateRecord {
        let code = AffiliateCode("code".to_owned());
        AffiliateRecord { code, id: id.map(AffiliateId), origin, sent: SentAttributes::default() }
    }

    #[test]
    fn an_affiliate_survives_the_row_and_a_damaged_column_is_named() {
        for affiliate in [affiliate(Some(7), Origin::Created), affiliate(None, Origin::Found)] {
            assert_eq!(known(&stored(&affiliate), 0), Ok(affiliate));
        }
        for (column, cell, part) in [
            (0, Cell::Null, "affiliates.code"),
            (1, Cell::Integer(-1), "affiliates.id"),
            (2, Cell::Null, "affiliates.found"),
            (3, Cell::Blob(vec![0xff]), "affiliates.sent"),
        ] {
            let mut row = stored(&affiliate(None, Origin::Found));
            row[column] = cell;
            assert_eq!(known(&row, 0), Err(Damaged(part)));
        }
    }

    #[test]
    fn each_key_tells_of_its_own_affiliate_and_only_the_one_of_the_email_may_have_another_owner() {
        let (user_id, email) = (UserKey::UserId([1; 16]), UserKey::Email([2; 16]));
        let known = affiliate(Some(1), Origin::Created);
        let linked = |number, is_owned| Some(LinkedAffiliate { number, is_owned, known: known.clone() });
        let of = |key, affiliate, at| UserKeyMemory { key, affiliate, deleted_at: Some(Timestamp(at)) };
        let memory_of = |by_email| memory(vec![of(user_id, linked(1, true), 5), of(email, by_email, 6)]);
        let whole = memory_of(linked(2, true));
        assert_eq!((whole.by_user_id.as_ref(), whole.by_email.as_ref()), (Some(&known), Some(&known)));
        assert_eq!((whole.user_id_deleted_at, whole.email_deleted_at), (Some(Timestamp(5)), Some(Timestamp(6))));
        for (by_email, has_other_owner) in
            [(linked(2, true), true), (linked(2, false), false), (linked(1, true), false), (None, false)]
        {
            let recalled = by_email.clone().is_some_and(|affiliate| affiliate.recalled(&[1]).has_other_owner);
            assert_eq!((memory_of(by_email).email_has_other_owner, recalled), (has_other_owner, has_other_owner));
        }
        assert!(memory(vec![of(email, linked(2, true), 6)]).email_has_other_owner, "the event names no `userId`");
    }

    #[test]
    fn a_new_email_takes_the_place_of_the_earlier_ones_and_a_user_id_of_none() {
        let [old, new] = [[1; 16], [2; 16]].map(UserKey::Email);
        let user_id = UserKey::UserId([1; 16]);
        let linked = || [old, new, user_id].map(|key| user_keys::tagged(&key)).to_vec();
        assert_eq!(earlier_emails(linked(), &[user_id, new]), [user_keys::tagged(&old)]);
        assert_eq!(earlier_emails(linked(), &[user_id]), [[0; 17]; 0]);
    }
}
