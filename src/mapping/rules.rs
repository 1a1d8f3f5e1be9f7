//! The operator's mapping rules, as [`crate::config`] has checked them.

use crate::domain::{AffiliateStatus, UserId};
use crate::segment::{RawJson, is_invisible, normalize_name};
use std::time::Duration;

/// All rules of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The status affiliates are created with: `ACTIVE` or `PENDING`.
    pub status: AffiliateStatus,
    /// The offer affiliates are created with; none is the account's default offer.
    pub offer: Option<String>,
    /// Whether Refersion sends new affiliates a welcome mail.
    pub send_welcome: bool,
    /// The placeholder for a missing first or last name; never empty.
    pub missing_name: String,
    /// The projects of Segment that are trusted; an empty list trusts all. Events of other projects may only create affiliates.
    pub trusted_projects: Vec<String>,
    /// Placeholders that are no `userId`, compared without case. Ids of zeros and dashes alone, or of invisible characters and
    /// joiners alone, are placeholders in any case.
    pub ignored_user_ids: Vec<String>,
    /// Whether the trait `paypalEmail` sets the address that commissions are paid to.
    pub paypal_email: bool,
    /// Traits sent as custom fields.
    pub custom_fields: Vec<CustomField>,
    /// Audiences and their effects; a later one wins over an earlier one.
    pub audiences: Vec<Audience>,
    /// The condition for creating an affiliate; without one, every user becomes an affiliate.
    pub create_if: Option<CreateIf>,
    /// How long traits of a user who is no affiliate yet are remembered; none: not at all.
    pub remember_traits: Option<Duration>,
}

/// A trait that is sent as a custom field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomField {
    /// The trait's name, in any casing.
    pub trait_name: String,
    /// The custom field's id at Refersion, e.g. `1234`.
    pub id: String,
}

/// An audience: a trait that is `true` for members and `false` for those who left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The trait's name, in any casing.
    pub trait_name: String,
    /// The effect of entering.
    pub on_true: Effect,
    /// The effect of leaving.
    pub on_false: Effect,
}

/// The changes of an audience rule at an affiliate; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The offer to move to: digits.
    pub offer: Option<String>,
    /// `ACTIVE`, `DENIED` or `DISABLED` (Refersion's `status_change` knows no `PENDING`).
    pub status: Option<AffiliateStatus>,
    /// Custom field id → value.
    pub custom_fields: Vec<(String, String)>,
}

/// The trait value that a user must have for an affiliate to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateIf {
    /// The trait's name, in any casing.
    pub trait_name: String,
    /// The value, compared as text without case.
    pub equals: String,
}

/// The texts that programs send instead of a missing `userId`.
const PLACEHOLDER_USER_IDS: [&str; 12] = [
    "undefined",
    "null",
    "(null)",
    "nil",
    "none",
    "NaN",
    "0",
    "-1",
    "anonymous",
    "guest",
    "unknown",
    "[object Object]",
];

impl Rules {
    /// Whether `id` is a placeholder, which names nobody.
    pub(super) fn is_placeholder(&self, id: &UserId) -> bool {
        let id = id.as_str();
        id.bytes().all(|b| matches!(b, b'0' | b'-'))
            || self.ignored_user_ids.iter().any(|ignored| {
                ignored.eq_ignore_ascii_case(id) || (!id.is_ascii() && ignored.to_lowercase() == id.to_lowercase())
            })
            || id.chars().all(|c| is_invisible(c) || matches!(c, '\u{200C}' | '\u{200D}'))
    }

    /// The usual spellings of the placeholders. An earlier release or other settings may have linked affiliates by them.
    pub fn placeholder_spellings(&self) -> Vec<UserId> {
        let spellings = |id: &String| [id.clone(), id.to_lowercase(), id.to_uppercase()];
        let zeros = ["0", "00", "000", "-", "--", "00000000-0000-0000-0000-000000000000"].map(str::to_owned);
        let invisible =
            ["\u{200b}", "\u{200b}\u{200b}", "\u{200c}", "\u{200d}", "\u{feff}", "\u{fffd}"].map(str::to_owned);
        let all = self.ignored_user_ids.iter().flat_map(spellings).chain(zeros).chain(invisible);
        all.filter_map(|id| UserId::parse(&id)).collect()
    }

    /// Whether the project with this id is trusted.
    pub(super) fn trusts(&self, project: Option<RawJson<'_>>) -> bool {
        self.trusted_projects.is_empty()
            || project.and_then(RawJson::as_clean_text).is_some_and(|project| self.trusted_projects.contains(&project))
    }

    /// Whether a rule names another trait that is loosely equal to `trait_name`, as `tier_1_1` is to `tier_11`.
    pub(super) fn has_loosely_equal(&self, trait_name: &str) -> bool {
        let custom_fields = self.custom_fields.iter().map(|field| &field.trait_name);
        let audiences = self.audiences.iter().map(|audience| &audience.trait_name);
        let mut names = custom_fields.chain(audiences).chain(self.create_if.iter().map(|rule| &rule.trait_name));
        names.any(|other| other != trait_name && normalize_name(other) == normalize_name(trait_name))
    }

    /// The ids of all custom fields that any rule may set.
    pub fn custom_field_ids(&self) -> Vec<String> {
        let effects = self.audiences.iter().flat_map(|audience| [&audience.on_true, &audience.on_false]);
        let of_effects = effects.flat_map(|effect| effect.custom_fields.iter().map(|(id, _)| id));
        let mut ids: Vec<String> =
            self.custom_fields.iter().map(|field| &field.id).chain(of_effects).cloned().collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

impl Default for Rules {
    /// The values of `config/default.toml`; a test compares the two.
    fn default() -> Self {
        Self {
            status: AffiliateStatus::Pending,
            offer: None,
            send_welcome: false,
            missing_name: "-".to_owned(),
            trusted_projects: Vec::new(),
            ignored_user_ids: PLACEHOLDER_USER_IDS.map(str::to_owned).to_vec(),
            paypal_email: false,
            custom_fields: Vec::new(),
            audiences: Vec::new(),
            create_if: None,
            remember_traits: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_no_user_ids_in_any_case() {
        let rules = Rules::default();
        for (id, is_placeholder) in [
            ("undefined", true),
            (" UNDEFINED ", true),
            ("Null", true),
            ("nil", true),
            ("None", true),
            ("nan", true),
            ("0", true),
            ("-1", true),
            ("Anonymous", true),
            ("guest", true),
            ("unknown", true),
            ("[object Object]", true),
            ("[object object]", true),
            ("00000000-0000-0000-0000-000000000000", true),
            ("0000", true),
            ("--", true),
            ("-", true),
            ("\u{200b}\u{feff}", true),
            ("\u{200d}", true),
            ("\u{7f}\u{1}", true),
            ("\u{fffd}", true),
            ("\u{200b}1", false),
            ("\u{200b}null", false),
            ("1", false),
            ("-2", false),
            ("0-1", false),
            ("guest-7", false),
            ("undefined@example.com", false),
            ("00000000-0000-0000-0000-000000000001", false),
        ] {
            assert_eq!(rules.is_placeholder(&UserId::parse(id).expect(id)), is_placeholder, "{id}");
        }
        let own = Rules { ignored_user_ids: vec!["Gäste".into()], ..rules };
        for (id, is_placeholder) in [("GÄSTE", true), ("guest", false), ("0", true)] {
            assert_eq!(own.is_placeholder(&UserId::parse(id).expect(id)), is_placeholder, "{id}");
        }
    }

    #[test]
    fn all_projects_are_trusted_without_a_list() {
        for (listed, project, trusted) in [
            (vec![], None, true),
            (vec![], Some(r#""p1""#), true),
            (vec!["p1", "7"], Some(r#"" p1 ""#), true),
            (vec!["p1", "7"], Some("7"), true),
            (vec!["p1"], Some(r#""p2""#), false),
            (vec!["p1"], Some(r#""P1""#), false),
            (vec!["p1"], Some("null"), false),
            (vec!["p1"], None, false),
        ] {
            let listed = listed.into_iter().map(str::to_owned).collect();
            let rules = Rules { trusted_projects: listed, ..Rules::default() };
            let json = project.map(|text| RawJson::parse(text).expect("JSON"));
            assert_eq!(rules.trusts(json), trusted, "{project:?}");
        }
    }
}
