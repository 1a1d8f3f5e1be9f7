//! The fields of an affiliate at Refersion: one table, from which every other list of fields is derived.
//!
//! To add a field, add a row with all columns. Derived from the table: the names that the Refersion client sends and reads, the fields that
//! a read-back compares, the fields that anonymizing overwrites, the fields that the simulated Refersion takes and shows, and the values of
//! the metrics' label `field`. [`crate::mapping`] decides what fills a field: a test there does not compile without the new field. A test
//! compares the README's table of traits with this one. Only the description of a trait for callers (`traits_schema` in `http/openapi.rs`)
//! is written by hand. Source: Refersion's API contract (`/affiliate/new`, `edit`, `get`). Deliberately absent: the longest length of a
//! value. Refersion has limits (`Value exceed the char limit`) but publishes none, so a value is sent as it is. [`FieldFormat`] bounds the
//! values of fields with a format.

use std::fmt;

/// The properties of a [`Field`]: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Refersion's name of the field in `new` and `edit`.
    pub name: &'static str,
    /// Whether the value is personal data, and what overwrites it.
    pub personal: Personal,
    /// Refersion's name of the field in the response to `get`; none if `get` does not return it.
    pub get_name: Option<&'static str>,
    /// Whether `new` is rejected without the field.
    pub required: bool,
    /// The format of a value.
    pub format: FieldFormat,
}

/// Whether a field holds personal data, and what overwrites it when an affiliate is anonymized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personal {
    /// No personal data: the value stays.
    No,
    /// Overwritten with `-`.
    Text,
    /// Overwritten with an address that belongs to nobody.
    Email,
    /// Only `new` accepts the field, so it cannot be overwritten.
    OnlyNew,
}

/// The values that Refersion accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldFormat {
    /// Any text.
    Text,
    /// A text that is not empty.
    NonEmpty,
    /// An e-mail address: at most 254 bytes.
    Email,
    /// Two or three letters.
    StateCode,
    /// Two upper-case letters, of Refersion's list.
    Country,
    /// The number of an offer: digits in `new`, a JSON number in `edit`.
    Offer,
    /// ASCII letters and digits.
    Alphanumeric,
}

macro_rules! fields {
    ($($field:ident, $name:literal, $required:literal, $format:ident, $personal:ident, $get_name:expr;)+) => {
        /// A field of `/affiliate/new` or `/affiliate/edit`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the variants are Refersion's own field names")]
        pub enum Field { $($field,)+ }

        impl Field {
            /// Every field, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$field,)+];

            /// The field's row of the table.
            pub const fn spec(self) -> FieldSpec {
                match self {
                    $(Self::$field => FieldSpec {
                        name: $name,
                        personal: Personal::$personal,
                        get_name: $get_name,
                        required: $required,
                        format: FieldFormat::$format,
                    },)+
                }
            }
        }
    };
}

// A state and a country are no personal data by themselves, and have no placeholder that Refersion accepts.
fields! {
    // field          name                   required  format        personal  name in the response to `get`
    FirstName,        "first_name",          true,     NonEmpty,     Text,     Some("first_name");
    LastName,         "last_name",           true,     NonEmpty,     Text,     Some("last_name");
    Email,            "email",               true,     Email,        Email,    Some("email");
    PaypalEmail,      "paypal_email",        false,    Email,        Email,    None;
    Company,          "company",             false,    Text,         Text,     Some("company_name");
    Address1,         "address1",            false,    Text,         Text,     None;
    Address2,         "address2",            false,    Text,         Text,     None;
    City,             "city",                false,    Text,         Text,     None;
    State,            "state",               false,    StateCode,    No,       None;
    Zip,              "zip",                 false,    Text,         Text,     None;
    Country,          "country",             false,    Country,      No,       None;
    Phone,            "phone",               false,    Text,         Text,     None;
    Offer,            "offer",               false,    Offer,        No,       Some("offer_id");
    UniqueMerchantId, "unique_merchant_id",  false,    Alphanumeric, OnlyNew,  None;
}

impl Field {
    /// Refersion's name of the field in `new` and `edit`.
    pub const fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// Whether the response to `get` has the field.
    pub const fn is_returned_by_get(self) -> bool {
        self.spec().get_name.is_some()
    }

    /// Whether `edit` accepts the field. `new` accepts every field.
    pub const fn is_editable(self) -> bool {
        !matches!(self.spec().personal, Personal::OnlyNew)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_field_stands_in_the_table_once() {
        let names: HashSet<_> = Field::ALL.iter().map(|field| field.as_str()).collect();
        assert_eq!(names.len(), Field::ALL.len());
        let shown: Vec<_> = Field::ALL.iter().filter_map(|field| field.spec().get_name).collect();
        assert_eq!(shown.iter().collect::<HashSet<_>>().len(), shown.len());
        assert!(Field::ALL.is_sorted(), "profiles are ordered as the table is");
    }

    #[test]
    fn an_address_is_personal_wherever_it_stands() {
        for field in Field::ALL {
            let spec = field.spec();
            assert_eq!(spec.format == FieldFormat::Email, spec.personal == Personal::Email, "{field}");
        }
    }
}
