//! Everything this Refersion says no with: THE table of its status codes and exact English strings.
//!
//! In goes a reason, out comes a status and a body, spelled as the API contract spells them ("sic" included). No other file
//! decides a status. The wording of the password rules is ours: the contract says "one message each" and quotes none.

use serde_json::{Value, json};

/// Why a call had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ErrorResponse {
    /// A field the operation does not know. Documented with a body, which HTTP forbids a 204 to carry: it stays in the
    /// journal and never reaches a client.
    UnknownField(String),
    /// A required field is absent or empty.
    MissingField(&'static str),
    /// The key pair is wrong or was revoked.
    InvalidKey,
    /// No body, or one that is not a JSON object sent as `application/json`: to Refersion that is no body either.
    NoBody,
    /// An offer the account does not have; documented as a list that also speaks of the body.
    UnknownOffer,
    /// The content is refused: one message per fault.
    Invalid(Vec<String>),
    /// A list longer than the operation takes.
    TooManyElements(usize),
    /// The account calls too often.
    TooManyCalls,
}

pub(super) const EMAIL_TAKEN: &str = "The email you have entered is taken by another Affiliate.";
pub(super) const TOO_LONG: &str = "Value exceed the char limit";
pub(super) const NO_RESULTS: &str = "Could not find affiliates with this keyword.";
pub(super) const NOT_FOUND: &str = "Affiliate not found.";
pub(super) const NO_FILTER: &str = "Request filter not provided.";

/// `X is not a allowed value for field Y` (sic). Texts stand bare, other values as JSON.
pub(super) fn not_allowed(value: &Value, field: &str) -> String {
    let shown = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    format!("{shown} is not a allowed value for field {field}")
}

impl ErrorResponse {
    /// A 422 with one message.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(vec![message.into()])
    }

    /// The status and the documented body.
    pub(super) fn status_and_body(self) -> (u16, Value) {
        match self {
            Self::UnknownField(field) => (204, json!({"error": format!("Invalid field {field}")})),
            Self::MissingField(field) => (400, json!({"error": format!("Missing required field {field}")})),
            Self::InvalidKey => (401, json!({"error": "Invalid API credentials (error 2)."})),
            Self::NoBody => (404, json!({"error": "Bad request, no body"})),
            Self::UnknownOffer => {
                (404, json!({"error": ["Bad request, no body", "Offer does not exists on the database."]}))
            }
            Self::Invalid(messages) => (422, json!({"errors": messages})),
            Self::TooManyElements(limit) => {
                (429, json!({"error": format!("Max number of elements on attribute ({limit}) reached.")}))
            }
            Self::TooManyCalls => (429, json!({"error": "You're making too many API calls"})),
        }
    }
}
