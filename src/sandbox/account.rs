//! The affiliates of one Refersion account, in memory: two identifiers each, and the fields they were given.
//!
//! Invariants: an e-mail belongs to one affiliate, without case; a numeric id and a code are never given twice and never
//! resemble each other (every code starts with a letter); nothing is ever removed, because Refersion has no delete; no
//! password is kept. Deliberately absent: who may say what, which [`super::rules`] and the operations decide.

use crate::domain::{AffiliateCode, AffiliateId, AffiliateStatus, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The affiliate of the contract's examples comes first: id 37569297, code `a3y7`.
const FIRST_ID: u64 = 37_569_297;
const FIRST_CODE: u64 = 3 * 36 * 36 + 34 * 36 + 7;
const CODES: u64 = 26 * 36 * 36 * 36;
/// Prime, so that stepping by it meets every code once before any comes again, in an order nobody guesses.
const CODE_STEP: u64 = 524_287;

/// An affiliate, with everything that was ever said of it (Refersion itself shows less).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SandboxAffiliate {
    /// The numeric id.
    pub id: AffiliateId,
    /// The alphanumeric code.
    pub code: AffiliateCode,
    /// Where the affiliate stands.
    pub status: AffiliateStatus,
    /// When it was created.
    pub created: Timestamp,
    /// Refersion's field name → value, as sent; the password is not among them.
    pub fields: BTreeMap<String, String>,
    /// Custom field id → value.
    pub custom_fields: BTreeMap<String, String>,
}

impl SandboxAffiliate {
    /// The value of a field by Refersion's name of it; empty when nothing was ever said.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The e-mail address as it was sent.
    pub fn email(&self) -> &str {
        self.field("email")
    }
}

/// All affiliates, and what names them.
#[derive(Default)]
pub(super) struct SandboxAccount {
    affiliates: BTreeMap<u64, SandboxAffiliate>,
    by_email: HashMap<String, u64>,
    by_code: HashMap<String, u64>,
    coupons: BTreeSet<String>,
}

impl SandboxAccount {
    /// Adds an affiliate; the caller saw that its e-mail is not [taken](Self::email_taken).
    /// An empty text says nothing, and is not kept.
    pub(super) fn create(
        &mut self,
        status: AffiliateStatus,
        mut fields: BTreeMap<String, String>,
        now: Timestamp,
    ) -> &SandboxAffiliate {
        fields.retain(|_, text| !text.is_empty());
        let index = self.affiliates.len() as u64;
        let (id, code) = (FIRST_ID + index, code(index));
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

    /// Whether `email` belongs to an affiliate other than `but`.
    pub(super) fn email_taken(&self, email: &str, but: Option<u64>) -> bool {
        self.by_email.get(&email.to_lowercase()).is_some_and(|owner| Some(*owner) != but)
    }

    /// Whether the coupon code triggers another affiliate's conversions.
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

    /// Lets `change` alter an affiliate, and tells whether it did: false for an unknown id and for a change of nothing.
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

/// The code of the affiliate number `index`, counted from 0: four characters, more once those are used up.
fn code(index: u64) -> String {
    let digit = |n: u64| char::from_digit(u32::try_from(n % 36).unwrap_or(0), 36).unwrap_or('0');
    let mixed = (FIRST_CODE + (index % CODES) * CODE_STEP) % CODES;
    let letter = char::from(b'a' + u8::try_from(mixed / (36 * 36 * 36)).unwrap_or(0));
    let mut code: String = [letter, digit(mixed / (36 * 36)), digit(mixed / 36), digit(mixed)].iter().collect();
    let mut round = index / CODES;
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
        let codes: HashSet<_> = (0..CODES).map(code).collect();
        assert_eq!(codes.len() as u64, CODES);
        assert!(codes.iter().all(|code| code.len() == 4 && code.starts_with(|c: char| c.is_ascii_lowercase())));
    }
}
