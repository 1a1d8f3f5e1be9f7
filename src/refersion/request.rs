//! The bodies of requests to Refersion (API contract, "Operations that matter here").
//!
//! In: calls. Out: the JSON body of one request. `new` takes strings only; `edit` takes the numeric id and a numeric offer, and
//! custom fields as a list of objects with one entry each, keyed by the field's id. The password is an argument: it exists only
//! while `new` is being sent. Deliberately absent: the path and the headers ([`super::client`]).

use crate::delivery::{Call, Identifier};
use crate::domain::{Attribute, Field, FieldFormat, NewAffiliate, Profile};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

/// The JSON body of one request that makes `call` and the `others`, which are [like](Call::is_like) it.
pub fn body(call: &Call, others: &[&Call], password: impl FnOnce() -> SecretString) -> Value {
    let all = || std::iter::once(call).chain(others.iter().copied());
    match call {
        Call::New(new) => new_body(new, &password()),
        Call::Search { email, page } => json!({"keyword": email.as_str(), "page": page.to_string()}),
        Call::Get(Identifier::Code(code)) => json!({"affiliate_code": code}),
        Call::Get(Identifier::Id(id)) => json!({"id": id}),
        Call::Edit { .. } => json!({"affiliates": all().filter_map(edit_entry).collect::<Vec<_>>()}),
        Call::SetStatus { status, .. } => {
            json!({"ids": all().filter_map(Call::affiliate).collect::<Vec<_>>(), "status": status})
        }
    }
}

fn edit_entry(call: &Call) -> Option<Map<String, Value>> {
    let Call::Edit { id, changes } = call else { return None };
    let mut affiliate = fields(changes, |field, value| match field.spec().format {
        FieldFormat::Offer => value.parse::<u64>().map_or_else(|_| value.into(), Value::from),
        _ => value.into(),
    });
    affiliate.insert("id".into(), json!(id));
    Some(affiliate)
}

/// The body of the cheapest call that verifies an API key: `/affiliate/list` with one result.
pub fn api_key_verification() -> Value {
    json!({"limit": "1", "page": "1"})
}

/// The body of the request for a page of `/affiliate/list`, from 1.
pub fn list_page(page: u32) -> Value {
    json!({"limit": MAX_LISTED.to_string(), "page": page.to_string()})
}

/// The most affiliates on a page of the list.
const MAX_LISTED: u32 = 100;

fn new_body(new: &NewAffiliate, password: &SecretString) -> Value {
    let mut body = fields(&new.profile, |_, value| value.into());
    body.insert("status".into(), json!(new.status));
    body.insert("send_welcome".into(), if new.send_welcome { "TRUE" } else { "FALSE" }.into());
    body.insert("password".into(), password.expose_secret().into());
    body.into()
}

fn fields(profile: &Profile, mut value_of: impl FnMut(Field, &str) -> Value) -> Map<String, Value> {
    let mut body = Map::new();
    let mut custom = Vec::new();
    for (attribute, value) in profile.iter() {
        match attribute {
            Attribute::Field(field) => {
                body.insert(field.as_str().into(), value_of(*field, value));
            }
            Attribute::Custom(id) => custom.push(json!({ id: value })),
        }
    }
    if !custom.is_empty() {
        body.insert("custom_fields".into(), custom.into());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AffiliateCode, AffiliateId, AffiliateStatus, Email};

    #[test]
    fn every_call_has_the_body_its_operation_takes() {
        let email = Email::parse("peter@example.com").expect("valid");
        let new = NewAffiliate {
            profile: [(Field::FirstName, "Peter"), (Field::LastName, "-"), (Field::Offer, "12")].into_iter().collect(),
            status: AffiliateStatus::Pending,
            send_welcome: false,
        };
        let mut changes: Profile = [(Field::Offer, "12"), (Field::Zip, "94103")].into_iter().collect();
        changes.set(Attribute::Custom("1234".into()), "Hello World");
        changes.set(Attribute::Custom("1235".into()), "true");
        let code = AffiliateCode("a3y7".into());
        for (call, expected) in [
            (
                Call::New(new),
                json!({"first_name": "Peter", "last_name": "-", "offer": "12", "status": "PENDING",
                       "send_welcome": "FALSE", "password": "secret"}),
            ),
            (Call::Search { email, page: 2 }, json!({"keyword": "peter@example.com", "page": "2"})),
            (Call::Get(Identifier::Code(code)), json!({"affiliate_code": "a3y7"})),
            (Call::Get(Identifier::Id(AffiliateId(7))), json!({"id": 7})),
            (
                Call::Edit { id: AffiliateId(7), changes },
                json!({"affiliates": [{"id": 7, "offer": 12, "zip": "94103",
                       "custom_fields": [{"1234": "Hello World"}, {"1235": "true"}]}]}),
            ),
            (
                Call::SetStatus { id: AffiliateId(7), status: AffiliateStatus::Disabled },
                json!({"ids": [7], "status": "DISABLED"}),
            ),
        ] {
            assert_eq!(body(&call, &[], || "secret".into()), expected, "{}", call.operation());
        }
    }

    #[test]
    fn edits_and_equal_status_changes_go_together() {
        let edit =
            |id, zip: &str| Call::Edit { id: AffiliateId(id), changes: [(Field::Zip, zip)].into_iter().collect() };
        let change = |id| Call::SetStatus { id: AffiliateId(id), status: AffiliateStatus::Denied };
        let none = || unreachable!("a password");
        assert_eq!(
            body(&edit(7, "1"), &[&edit(8, "2")], none),
            json!({"affiliates": [{"id": 7, "zip": "1"}, {"id": 8, "zip": "2"}]})
        );
        assert_eq!(body(&change(7), &[&change(8), &change(9)], none), json!({"ids": [7, 8, 9], "status": "DENIED"}));
    }

    #[test]
    fn only_new_draws_a_password_and_only_a_numeric_offer_becomes_a_number() {
        let code = Identifier::Code(AffiliateCode("a3y7".into()));
        let changes: Profile = [(Field::Offer, "summer"), (Field::Zip, "0123")].into_iter().collect();
        let edit = body(&Call::Edit { id: AffiliateId(7), changes }, &[], || unreachable!("a password for an edit"));
        assert_eq!(edit, json!({"affiliates": [{"id": 7, "offer": "summer", "zip": "0123"}]}));
        assert_eq!(
            body(&Call::Get(code), &[], || unreachable!("a password for get")),
            json!({"affiliate_code": "a3y7"})
        );
        assert_eq!(api_key_verification(), json!({"limit": "1", "page": "1"}));
        assert_eq!(list_page(2), json!({"limit": "100", "page": "2"}));
    }

    #[test]
    fn an_active_affiliate_may_be_welcomed() {
        let new = NewAffiliate { profile: Profile::default(), status: AffiliateStatus::Active, send_welcome: true };
        let expected = json!({"status": "ACTIVE", "send_welcome": "TRUE", "password": "secret"});
        assert_eq!(body(&Call::New(new), &[], || "secret".into()), expected);
    }
}
