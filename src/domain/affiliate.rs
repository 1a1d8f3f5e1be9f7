//! An affiliate at Refersion: two identifiers, a status, and attributes.
//!
//! Names are those of Refersion's API contract; the fields are in [`super::field`]. An empty value in a
//! [`Profile`] clears the field at Refersion. Invariant: the `Debug` of a profile prints the names of attributes only, since values are
//! personal data.

use super::{Field, words};
use std::borrow::Cow;
use std::fmt;

/// The numeric identifier, e.g. `37569297`: what `edit` and `status_change` want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct AffiliateId(pub u64);

impl fmt::Display for AffiliateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The alphanumeric identifier, e.g. `a3y7`: what referral links are made of, and what `new` and `search` return.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct AffiliateCode(pub String);

impl fmt::Display for AffiliateCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

words! {
    /// The status of an affiliate in the merchant's program, in Refersion's spelling.
    #[derive(PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    AffiliateStatus {
        /// Waits for the merchant's approval.
        Pending = "PENDING",
        /// Earns commissions.
        Active = "ACTIVE",
        /// Was denied by the merchant.
        Denied = "DENIED",
        /// Was switched off.
        Disabled = "DISABLED",
    }
}

impl AffiliateStatus {
    /// The status of this text, in any case; none if it is none of Refersion's.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

/// An attribute of an affiliate: a field, or a custom field by its Refersion id (only `edit` takes custom fields).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute {
    /// A field of the contract.
    Field(Field),
    /// A custom field of the account, e.g. `1234`.
    Custom(String),
}

impl Attribute {
    /// Whether the response to `get` shows the value under the attribute's own name. Custom fields are shown by label only.
    pub fn is_returned_by_get(&self) -> bool {
        matches!(self, Self::Field(field) if field.is_returned_by_get())
    }

    /// Its name in the record of an affiliate: Refersion's spelling of a field, `#` and the id of a custom field.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Field(field) => field.as_str().into(),
            Self::Custom(id) => format!("#{id}").into(),
        }
    }

    /// The attribute with this [`name`](Self::name); none if no attribute has it.
    pub fn from_name(name: &str) -> Option<Self> {
        let field = || Field::ALL.iter().copied().find(|field| field.as_str() == name).map(Self::Field);
        name.strip_prefix('#').map(|id| Self::Custom(id.to_owned())).or_else(field)
    }
}

impl From<Field> for Attribute {
    fn from(field: Field) -> Self {
        Self::Field(field)
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => field.fmt(f),
            Self::Custom(id) => write!(f, "custom field {id}"),
        }
    }
}

/// Values of an affiliate's attributes. An empty value clears the field.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Profile(Vec<(Attribute, String)>); // sorted by attribute: for a dozen entries that is faster than a map

impl Profile {
    /// Sets `attribute` to `value`; an empty value changes nothing.
    pub fn set(&mut self, attribute: impl Into<Attribute>, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.set_or_clear(attribute, value);
        }
    }

    /// Sets `attribute` to `value`; an empty value clears the field at Refersion.
    pub fn set_or_clear(&mut self, attribute: impl Into<Attribute>, value: impl Into<String>) {
        let (attribute, value) = (attribute.into(), value.into());
        match self.position(&attribute) {
            Ok(index) => self.0[index].1 = value,
            Err(index) => self.0.insert(index, (attribute, value)),
        }
    }

    /// The value of `attribute`, if there is one.
    pub fn get(&self, attribute: impl Into<Attribute>) -> Option<&str> {
        self.position(&attribute.into()).ok().map(|index| self.0[index].1.as_str())
    }

    /// The index of `attribute`, or that at which to insert it.
    fn position(&self, attribute: &Attribute) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.cmp(attribute))
    }

    /// All attributes with their values, ordered by attribute.
    pub fn iter(&self) -> impl Iterator<Item = (&Attribute, &str)> {
        self.0.iter().map(|(attribute, value)| (attribute, value.as_str()))
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries for which `keep` holds.
    #[must_use]
    pub fn filtered(&self, mut keep: impl FnMut(&Attribute, &str) -> bool) -> Self {
        let mut kept = Vec::with_capacity(self.0.len());
        kept.extend(self.0.iter().filter(|(attribute, value)| keep(attribute, value)).cloned());
        Self(kept)
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(attribute, _)| attribute.to_string())).finish()
    }
}

impl IntoIterator for Profile {
    type Item = (Attribute, String);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<A: Into<Attribute>, V: Into<String>> FromIterator<(A, V)> for Profile {
    fn from_iter<I: IntoIterator<Item = (A, V)>>(iter: I) -> Self {
        let mut profile = Self::default();
        for (attribute, value) in iter {
            profile.set(attribute, value);
        }
        profile
    }
}

/// An affiliate to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAffiliate {
    /// First name, last name and e-mail at least; no custom field, which `new` does not take.
    pub profile: Profile,
    /// `ACTIVE` or `PENDING`.
    pub status: AffiliateStatus,
    /// Whether Refersion sends the affiliate a welcome mail.
    pub send_welcome: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_no_value() {
        let profile: Profile = [(Field::City, ""), (Field::Zip, "94103")].into_iter().collect();
        assert_eq!(profile.get(Field::City), None);
        assert_eq!(profile.get(Field::Zip), Some("94103"));
    }

    #[test]
    fn a_profile_prints_names_and_no_values() {
        let profile: Profile = [(Field::FirstName, "Peter")].into_iter().collect();
        assert_eq!(format!("{profile:?}"), r#"{"first_name"}"#);
    }

    #[test]
    fn an_attribute_is_found_by_its_name() {
        let all = Field::ALL.iter().copied().map(Attribute::Field).chain([Attribute::Custom("12".to_owned())]);
        for attribute in all {
            assert_eq!(Attribute::from_name(&attribute.name()), Some(attribute));
        }
        assert_eq!(Attribute::from_name("status"), None);
    }

    #[test]
    fn a_status_is_read_in_any_case() {
        assert_eq!(AffiliateStatus::parse("active"), Some(AffiliateStatus::Active));
        assert_eq!(AffiliateStatus::parse(" DISABLED "), Some(AffiliateStatus::Disabled));
        assert_eq!(AffiliateStatus::parse("GONE"), None);
    }
}
