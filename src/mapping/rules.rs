//! The operator's mapping rules, as [`crate::config`] has checked them.

use crate::domain::AffiliateStatus;

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
    /// Traits sent as custom fields.
    pub custom_fields: Vec<CustomField>,
    /// Audiences and their effects; a later one wins over an earlier one.
    pub audiences: Vec<Audience>,
    /// The condition for creating an affiliate; none creates one for every user.
    pub create_if: Option<CreateIf>,
}

/// A trait that is sent as a custom field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomField {
    /// The trait's name, in any casing.
    pub key: String,
    /// The custom field's id at Refersion, e.g. `1234`.
    pub id: String,
}

/// An audience: a trait that is `true` for members and `false` for those who left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The trait's name, in any casing.
    pub key: String,
    /// The effect of entering.
    pub on_true: Effect,
    /// The effect of leaving.
    pub on_false: Effect,
}

/// What is changed at an affiliate; nothing by default.
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
    pub key: String,
    /// The value, compared as text without case.
    pub equals: String,
}

impl Rules {
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
    /// What `config/default.toml` says; a test holds the two together.
    fn default() -> Self {
        Self {
            status: AffiliateStatus::Pending,
            offer: None,
            send_welcome: false,
            missing_name: "-".to_owned(),
            custom_fields: Vec::new(),
            audiences: Vec::new(),
            create_if: None,
        }
    }
}
