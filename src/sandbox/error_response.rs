//! The error responses of the simulated Refersion: its status codes and its exact English messages.
//!
//! In: the reason. Out: a status and a body with the spelling of the API contract, mistakes included. No other file decides the status
//! of an error. The messages about passwords are our own wording: the contract says "one message each" and quotes none.

use serde_json::{Value, json};

/// Why a call had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ErrorResponse {
    /// The operation has no such field. The contract documents a 204 with a body; HTTP does not send a body with a 204, so it is only
    /// in the call log.
    UnknownField(String),
    /// A required field is absent or empty.
    MissingField(&'static str),
    /// The API key is wrong or was revoked.
    InvalidKey,
    /// There is no body, or it is not a JSON object sent as `application/json`, which is the same to Refersion.
    NoBody,
    /// The account has no such offer. The contract documents two messages, one of them about the body.
    UnknownOffer,
    /// Values are invalid: one message for each.
    Invalid(Vec<String>),
    /// A list is longer than this maximum.
    TooManyElements(usize),
    /// The account makes too many calls.
    TooManyCalls,
}

pub(super) const EMAIL_TAKEN: &str = "The email you have entered is taken by another Affiliate.";
pub(super) const TOO_LONG: &str = "Value exceed the char limit";
pub(super) const NO_RESULTS: &str = "Could not find affiliates with this keyword.";
pub(super) const NOT_FOUND: &str = "Affiliate not found.";
pub(super) const NO_FILTER: &str = "Request filter not provided.";

/// `X is not a allowed value for field Y` (sic). A text is shown without quotes, another value as JSON.
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
