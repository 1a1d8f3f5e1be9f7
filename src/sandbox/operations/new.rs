//! `/affiliate/new`: creates an affiliate. It takes texts only and no custom fields; `id` in the response is the code.
//!
//! The numeric id is only in the English message, as at Refersion. A coupon code is unique (the contract says so but quotes no
//! message; the general one is used). An offer that the account does not have is the documented 404.

use crate::domain::{self, AffiliateStatus, Timestamp};
use crate::sandbox::SandboxSettings;
use crate::sandbox::account::SandboxAccount;
use crate::sandbox::error_response::{EMAIL_TAKEN, ErrorResponse, not_allowed};
use crate::sandbox::rules::{self, FieldRule, Rule, optional, required};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The fields of an affiliate, and the fields that only `new` has.
static FIELDS: LazyLock<Vec<FieldRule>> = LazyLock::new(|| {
    let (needed, others): (Vec<_>, Vec<_>) =
        domain::Field::ALL.iter().map(|field| rules::in_new(*field)).partition(|field| field.required);
    let own = [
        required("password", Rule::Password),
        required("status", Rule::OneOf(&["ACTIVE", "PENDING"])),
        optional("send_welcome", Rule::OneOf(&["TRUE", "FALSE"])),
        optional("conversion_trigger_coupon", Rule::Text),
    ];
    needed.into_iter().chain(own).chain(others).collect()
});

pub(super) fn perform(
    account: &mut SandboxAccount,
    settings: &SandboxSettings,
    body: &Map<String, Value>,
    now: Timestamp,
) -> Result<Value, ErrorResponse> {
    let (mut texts, mut messages) = rules::read_texts(body, &FIELDS)?;
    let email = body.get("email").and_then(Value::as_str).unwrap_or_default();
    if let Some(password) = texts.remove("password") {
        messages.extend(rules::password(&password, email));
    }
    if account.email_taken(email, None) {
        messages.push(EMAIL_TAKEN.to_owned());
    }
    if let Some(coupon) = texts.get("conversion_trigger_coupon").filter(|coupon| account.coupon_taken(coupon)) {
        messages.push(not_allowed(&json!(coupon), "conversion_trigger_coupon"));
    }
    if !messages.is_empty() {
        return Err(ErrorResponse::Invalid(messages));
    }
    if texts.get("offer").is_some_and(|offer| !offer.parse().is_ok_and(|id| settings.has_offer(id))) {
        return Err(ErrorResponse::UnknownOffer);
    }
    let status = if texts.remove("status").as_deref() == Some("ACTIVE") {
        AffiliateStatus::Active
    } else {
        AffiliateStatus::Pending
    };
    let created = account.create(status, texts, now);
    Ok(json!({
        "id": created.code,
        "link": super::link(created),
        "message": format!("The affiliate {} has been created with the status of {status}.", created.id),
    }))
}
