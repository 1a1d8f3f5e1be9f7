//! The affiliates of one simulated Refersion account, in memory, each with its two identifiers and its fields.
//!
//! Invariants: an e-mail address belongs to one affiliate, whatever its case; a numeric id or a code is never used twice, and a code
//! never looks like a numeric id, because it starts with a letter; no affiliate is ever removed, because Refersion has no delete; no
//! password is kept. Deliberately absent: the rules for fields, which are in [`super::rules`] and in the operations.

use crate::domain::{AffiliateCode, AffiliateId, AffiliateStatus, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The affiliate number 0 is that of the contract's examples: id 37569297, code `a3y7`.
const FIRST_ID: u64 = 37_569_297;
const FIRST_CODE: u64 = 3 * 36 * 36 + 34 * 36 + 7;
const CODES: u64 = 26 * 36 * 36 * 36;
/// A prime: steps of this length reach every code once before any is repeated, in an order that cannot be guessed.
const CODE_STEP: u64 = 524_287;

/// An affiliate with all of its fields (Refersion itself shows fewer).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SandboxAffiliate {
    /// The numeric id.
    pub id: AffiliateId,
    /// The alphanumeric code.
    pub code: AffiliateCode,
    /// Its status.
    pub status: AffiliateStatus,
    /// When it was created.
    pub created: Timestamp,
    /// The values as sent, by Refersion's names of the fields; without the password.
    pub fields: BTreeMap<String, String>,
    /// The values of the custom fields, by their ids.
    pub custom_fields: BTreeMap<String, String>,
}

impl SandboxAffiliate {
    /// The value of the field that Refersion calls `name`; empty if it was never set.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The e-mail address as it was sent.
    pub fn email(&self) -> &str {
        self.field("email")
    }
}

/// The number of possible first affiliates. Its id then has at most ten digits, its code at most six characters.
pub(super) const FIRST_NUMBERS: u64 = CODES * 36 * 36;

/// All affiliates, with indexes by identifier.
pub(super) struct SandboxAccount {
    /// The number of the first affiliate, from which its id and its code follow.
    first: u64,
    affiliates: BTreeMap<u64, SandboxAffiliate>,
    by_email: HashMap<String, u64>,
    by_code: HashMap<String, u64>,
    coupons: BTreeSet<String>,
}

impl SandboxAccount {
    /// An account without affiliates; the first one will have the number `first`.
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            affiliates: BTreeMap::new(),
            by_email: HashMap::new(),
            by_code: HashMap::new(),
            coupons: BTreeSet::new(),
        }
    }

    /// Adds an affiliate. The caller has checked that its e-mail is not [taken](Self::email_taken).
    /// A field with an empty text is not kept.
    pub(super) fn create(
        &mut self,
        status: AffiliateStatus,
        mut fields: BTreeMap<String, String>,
        now: Timestamp,
    ) -> &SandboxAffiliate {
        fields.retain(|_, text| !text.is_empty());
        let number = self.first + self.affiliates.len() as u64;
        let (id, code) = (FIRST_ID + number, code(number));
        let affiliate = SandboxAffiliate {
            id: AffiliateId(id),
            code: AffiliateCode(code.clone()),
            status,
            created: now,
            fields,
            custom_fields: BTreeMap::new(),
        };
        self.by_email.insert(affiliate.email().to_lowercase(), id);
        self.by_code.insert(code, id);
        self.coupons.extend(affiliate.fields.get("conversion_trigger_coupon").cloned());
        self.affiliates.entry(id).or_insert(affiliate)
    }

    /// Whether `email` belongs to an affiliate other than `except`.
    pub(super) fn email_taken(&self, email: &str, except: Option<u64>) -> bool {
        self.by_email.get(&email.to_lowercase()).is_some_and(|owner| Some(*owner) != except)
    }

    /// Whether another affiliate has this coupon code.
    pub(super) fn coupon_taken(&self, coupon: &str) -> bool {
        self.coupons.contains(coupon)
    }

    pub(super) fn by_id(&self, id: u64) -> Option<&SandboxAffiliate> {
        self.affiliates.get(&id)
    }

    /// The affiliate with this e-mail, without case.
    pub(super) fn by_email(&self, email: &str) -> Option<&SandboxAffiliate> {
        self.by_email.get(&email.to_lowercase()).and_then(|id| self.by_id(*id))
    }

    pub(super) fn by_code(&self, code: &str) -> Option<&SandboxAffiliate> {
        self.by_code.get(code).and_then(|id| self.by_id(*id))
    }

    /// All affiliates, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &SandboxAffiliate> + ExactSizeIterator {
        self.affiliates.values()
    }

    /// Changes an affiliate with `change`. Returns false for an unknown id, or if nothing changed.
    pub(super) fn change(&mut self, id: u64, change: impl FnOnce(&mut SandboxAffiliate)) -> bool {
        let Some(affiliate) = self.affiliates.get_mut(&id) else { return false };
        let before = affiliate.clone();
        change(affiliate);
        if *affiliate == before {
            return false;
        }
        self.by_email.remove(&before.email().to_lowercase());
        self.by_email.insert(affiliate.email().to_lowercase(), id);
        true
    }
}

/// The code of the affiliate number `number`: four characters, or more once all of these are used.
fn code(number: u64) -> String {
    let digit = |n: u64| char::from_digit(u32::try_from(n % 36).unwrap_or(0), 36).unwrap_or('0');
    let mixed = (FIRST_CODE + (number % CODES) * CODE_STEP) % CODES;
    let letter = char::from(b'a' + u8::try_from(mixed / (36 * 36 * 36)).unwrap_or(0));
    let mut code: String = [letter, digit(mixed / (36 * 36)), digit(mixed / 36), digit(mixed)].iter().collect();
    let mut round = number / CODES;
    while round > 0 {
        code.push(digit(round));
        round /= 36;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_start_with_a_letter_and_never_repeat() {
        assert_eq!(code(0), "a3y7");
        assert_eq!(code(CODES), "a3y71");
        assert_eq!(code(FIRST_NUMBERS - 1).len(), 6);
        let codes: HashSet<_> = (0..CODES).map(code).collect();
        assert_eq!(codes.len() as u64, CODES);
        assert!(codes.iter().all(|code| code.len() == 4 && code.starts_with(|c: char| c.is_ascii_lowercase())));
    }
}
