//! Refersion's published contract, written a second time without any of the service's own code.
//!
//! Every call of the service is checked against it: fields, required fields, values, types.

use super::source::Source;
use rand::SeedableRng;
use rand::rngs::StdRng;
use refersion_destination::delivery::Call;
use refersion_destination::domain::password;
use refersion_destination::refersion::request_body;
use serde_json::Value;

const COUNTRIES: &str = "US AE AR AS AT AU BA BD BE BG BR CA CH CL CN CO CR CZ DE DK DZ EE ES FI FM FO FR GB GH GR GU HK HN \
    HR HU ID IE IL IM IN IS IT JM JP KR KW LT LU LV MA MH MK MP MT MX MY NG NL NO NZ OM PE PH PK PL PR PT PW QA RO RS RU SA \
    SE SG SI SK SV TH TN TR TW TZ UA UY VG VI VN WS ZA";
const BOTH: &str = "first_name last_name email company paypal_email address1 address2 city state zip country phone";
const NEW: &str = "password status offer send_welcome unique_merchant_id";
const EDIT: &str = "id offer custom_fields";

/// Fails unless Refersion accepts `call` as it is sent; returns the body that is sent.
pub fn check(call: &Call, source: &mut Source<'_>) -> Value {
    let mut rng = StdRng::seed_from_u64(u64::from(source.byte()));
    let body = request_body(call, &[], || password(&mut rng));
    match call {
        Call::New(_) => new(&body),
        Call::Edit { .. } => edit(&body),
        Call::Search { page, .. } => {
            assert!(*page >= 1 && is_address(text(&body, "keyword")), "search");
            assert_eq!(text(&body, "page"), page.to_string());
        }
        Call::Get(_) => assert!(body["id"].is_u64() != body["affiliate_code"].is_string(), "get"),
        Call::SetStatus { .. } => {
            assert!(body["ids"].as_array().is_some_and(|ids| ids.len() == 1 && ids[0].is_u64()), "ids");
            assert!(["ACTIVE", "DENIED", "DISABLED"].contains(&text(&body, "status")), "status");
        }
    }
    body
}

fn new(body: &Value) {
    let fields = body.as_object().expect("an object");
    for (key, value) in fields {
        assert!(is_one_of(key, &[BOTH, NEW]), "new takes no {key}");
        assert!(value.is_string(), "{key} is no string");
    }
    for key in ["first_name", "last_name", "email", "password", "status"] {
        assert!(fields.contains_key(key), "{key} is missing");
    }
    assert!(["ACTIVE", "PENDING"].contains(&text(body, "status")), "status");
    assert!(["TRUE", "FALSE"].contains(&text(body, "send_welcome")), "send_welcome");
    assert!(
        fields
            .get("unique_merchant_id")
            .is_none_or(|_| { text(body, "unique_merchant_id").bytes().all(|b| b.is_ascii_alphanumeric()) })
    );
    is_password(text(body, "password"), text(body, "email"));
    check_values(fields.iter().filter(|(key, _)| *key != "password"));
}

fn edit(body: &Value) {
    let affiliates = body["affiliates"].as_array().expect("a list");
    let [affiliate] = &affiliates[..] else { panic!("one affiliate") };
    let fields = affiliate.as_object().expect("an object");
    assert!(fields["id"].is_u64() && fields.len() > 1, "an id and at least one more field");
    for (key, value) in fields {
        assert!(is_one_of(key, &[BOTH, EDIT]), "edit takes no {key}");
        match &**key {
            "id" | "offer" => assert!(value.is_u64(), "{key} is no number"),
            "custom_fields" => {
                for field in value.as_array().expect("a list") {
                    let field = field.as_object().expect("an object");
                    assert!(field.len() == 1 && field.values().all(Value::is_string), "one custom field each");
                }
            }
            _ => assert!(value.is_string(), "{key} is no string"),
        }
    }
    let is_cleared = |key: &str, value: &Value| matches!(key, "address2" | "state") && value == "";
    check_values(fields.iter().filter(|(key, value)| value.is_string() && !is_cleared(key, value)));
}

/// Checks values: not empty, on one line, of the type of their field.
fn check_values<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    for (key, value) in fields {
        let value = value.as_str().expect("a string");
        assert!(!value.is_empty() && value.trim() == value, "{key} is blank or has blanks around it");
        assert!(!value.contains(char::is_control), "{key} has control characters");
        match &**key {
            "country" => assert!(is_one_of(value, &[COUNTRIES]), "{value} is no country Refersion allows"),
            "state" => {
                assert!((2..=3).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_uppercase()), "{value}");
            }
            "email" | "paypal_email" => assert!(is_address(value), "{key} is no address"),
            _ => {}
        }
    }
}

fn is_one_of(word: &str, lists: &[&str]) -> bool {
    lists.iter().any(|list| list.split(' ').any(|other| other == word))
}

fn is_address(text: &str) -> bool {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let mut halves = text.split('@');
    let (local, domain) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    halves.next().is_none() && !local.is_empty() && domain.contains('.') && text.len() <= 254 && !text.contains(blank)
}

fn is_password(password: &str, email: &str) {
    assert!((9..=72).contains(&password.chars().count()) && password != email, "password");
    let has = |class: fn(char) -> bool| password.chars().any(class);
    assert!(has(|c| c.is_ascii_uppercase()) && has(|c| c.is_ascii_lowercase()), "password: letters");
    assert!(has(|c| c.is_ascii_digit()) && has(|c| c.is_ascii_punctuation()), "password: digits and symbols");
    let characters: Vec<char> = password.chars().collect();
    assert!(!characters.windows(4).any(|four| four.iter().all(|c| *c == four[0])), "password: a run");
}

fn text<'a>(body: &'a Value, key: &str) -> &'a str {
    body[key].as_str().unwrap_or_default()
}
