//! Properties of Refersion's answers: the reply read from an answer fits its status and body, and no message repeats a value that was
//! sent. Status and body are chosen independently, so a proxy's page has status 200 and a success has status 500.

use super::contract;
use super::json::{MARK, anything};
use super::source::Source;
use refersion_destination::delivery::{ApiKeyVerification, Call, Identifier, Rejection, Reply};
use refersion_destination::domain::{
    AffiliateCode, AffiliateId, AffiliateStatus, Attribute, Email, Field, NewAffiliate, Profile,
};
use refersion_destination::refersion::{RawResponse, read_api_key_verification, read_response};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// Values that were sent; each holds the mark.
const SENT: [&str; 10] = [
    "Zq9",
    "Zq9 Gibbons",
    "Peter Zq9",
    "zq9 & sons (Zq9)",
    "Ünal Zq9",
    "Zq9-straße 1",
    "'Zq9'",
    "+1 zq9",
    "Zq9 Peter Zq9",
    "Zq9, \"the\" Zq9",
];
const STATUSES: [u16; 24] = [
    200, 200, 200, 201, 202, 204, 301, 307, 400, 401, 403, 404, 408, 409, 422, 422, 422, 425, 429, 429, 500, 502, 503,
    504,
];
const SENTENCES: [&str; 16] = [
    "The email you have entered is taken by another Affiliate.",
    "X is not a allowed value for field Y",
    "Value exceed the char limit",
    "Could not find affiliates with this keyword.",
    "Affiliate not found.",
    "Request filter not provided.",
    "Your account plan does not support this feature (error 1).",
    "Invalid field",
    "Missing required field",
    "Bad request, no body",
    "Max number of elements on attribute (50) reached.",
    "You're making too many API calls",
    "The affiliate 7 has been created with the status of ACTIVE.",
    "",
    "Invalid API",
    "is not allowed",
];

/// An answer as it comes over the wire.
pub struct Wire {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Vec<u8>,
}

impl Wire {
    /// The answer as it is read.
    pub fn borrow(&self) -> RawResponse<'_> {
        RawResponse { status: self.status, retry_after: self.retry_after.as_deref(), body: &self.body }
    }
}

/// Checks the properties on an input decoded from `data`.
pub fn check(data: &[u8]) {
    let mut source = Source::new(data);
    let call = call(&mut source);
    let sent = contract::check(&call, &mut source);
    let wire = answer(&mut source, &call, &sent);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let reply = read_response(&call, &sent, &wire.borrow(), now);
    fits(&call, &wire, &reply);
    check_key_verification(&wire, &read_api_key_verification(&wire.borrow(), now));
}

/// Any call the service makes, of somebody whose every value is marked.
fn call(source: &mut Source<'_>) -> Call {
    let email = Email::parse("zq9@x.io").expect("an address");
    let id = AffiliateId(u64::from(source.byte()));
    let mut profile: Profile =
        [(Field::FirstName, "Zq9"), (Field::LastName, "-"), (Field::Email, "Zq9@x.io")].into_iter().collect();
    for field in [Field::FirstName, Field::LastName, Field::City, Field::Company, Field::Address1, Field::Phone] {
        if source.flag() {
            profile.set(field, source.pick(&SENT));
        }
    }
    match source.below(6) {
        0 => Call::New(NewAffiliate { profile, status: AffiliateStatus::Active, send_welcome: source.flag() }),
        1 => Call::Search { email, page: 1 + u32::from(source.byte()) },
        2 => Call::Get(Identifier::Code(AffiliateCode("a3y7".into()))),
        3 => Call::Get(Identifier::Id(id)),
        4 => {
            profile.set(Field::Offer, "12");
            profile.set(Attribute::Custom("77".into()), source.pick(&SENT));
            Call::Edit { id, changes: profile }
        }
        _ => Call::SetStatus { id, status: AffiliateStatus::Disabled },
    }
}

/// An answer to `call`: most often one that Refersion would give, else any status with any body.
pub fn answer(source: &mut Source<'_>, call: &Call, sent: &Value) -> Wire {
    if source.below(4) > 0 {
        return usual(source, call);
    }
    let status = if source.below(8) == 7 { 100 + 2 * u16::from(source.byte()) } else { source.pick(&STATUSES) };
    let dates = [None, Some("1"), Some("99999999999"), Some("Sun, 06 Nov 1994 08:50:37 GMT"), Some("zq9")];
    let retry_after = source.pick(&dates).map(str::to_owned);
    let body = match source.below(8) {
        0..=2 => success(source, call).to_string().into_bytes(),
        3..=5 => error_body(source, sent).to_string().into_bytes(),
        6 => anything(source, 3).plain().into_bytes(),
        _ => source.rest().to_vec(),
    };
    Wire { status, retry_after, body }
}

/// A success, the operation's own refusal, or an outage.
fn usual(source: &mut Source<'_>, call: &Call) -> Wire {
    let refusal = match call {
        Call::New(_) => "The email you have entered is taken by another Affiliate.",
        Call::Search { .. } => "Could not find affiliates with this keyword.",
        Call::Get(_) | Call::Edit { .. } | Call::SetStatus { .. } => "Affiliate not found.",
    };
    let (status, body) = match source.below(8) {
        0..=4 => (200, success(source, call)),
        5 | 6 => (422, json!({"errors": [refusal]})),
        _ => (source.pick(&[500, 503, 429, 401]), Value::Null),
    };
    Wire { status, retry_after: None, body: body.to_string().into_bytes() }
}

/// What the contract promises, or nearly so.
fn success(source: &mut Source<'_>, call: &Call) -> Value {
    let codes =
        [json!("a3y7"), json!("c1"), json!(694), json!(""), json!("Zq9@x.io"), json!("a\nb"), Value::Null, json!([])];
    let ids = [json!(7), json!("7"), json!(37_569_297), json!(0), json!(-1), json!("x"), Value::Null];
    let status = source.pick(&["ACTIVE", "PENDING", "DENIED", "DISABLED", "active", "GONE"]);
    let odd = source.below(4) == 3;
    let code = if odd { source.pick(&codes) } else { source.pick(&codes[..2]) };
    match call {
        Call::New(_) => {
            let id = source.pick(&["37569297", "x", "7.", "99999999999999999999", "zq9"]);
            json!({"id": code, "link": "https://site.refersion.com/c/a3y7",
                   "message": format!("The affiliate {id} has been created with the status of {status}.")})
        }
        Call::Search { email, .. } => {
            let other = format!("not{}", email.as_str());
            let upper = email.as_str().to_uppercase();
            let results: Vec<Value> = (0..source.below(4))
                .map(|_| {
                    let found = source.pick(&[email.as_str(), &*other, &*upper, ""]);
                    json!({"id": source.pick(&codes[..3]), "email": found, "status": status})
                })
                .collect();
            json!({"total": source.pick(&[json!(0), json!(1), json!("3"), json!(999_999), Value::Null]), "results": results})
        }
        Call::Get(_) => {
            let id = if odd { source.pick(&ids) } else { json!(7) };
            json!({"id": id, "offer_id": "12", "status": status, "first_name": source.pick(&SENT), "last_name": "",
                   "email": source.pick(&["zq9@x.io", "deleted-7@example.com", "other@x.io"]), "company_name": null})
        }
        Call::Edit { id, .. } | Call::SetStatus { id, .. } => {
            let ours = json!([id]);
            let lists = [
                ours.clone(),
                json!([]),
                json!([id.0.to_string()]),
                json!([id.0 + 1, id]),
                json!([id.0 + 1]),
                json!(id),
            ];
            if odd {
                json!({"ids_changed": source.pick(&lists), "ids_not_changed": source.pick(&lists)})
            } else if source.flag() {
                json!({"ids_changed": ours, "ids_not_changed": []})
            } else {
                json!({"ids_changed": [], "ids_not_changed": ours})
            }
        }
    }
}

/// Refersion's error body: sentences with values that were sent between them, as words of their own.
fn error_body(source: &mut Source<'_>, sent: &Value) -> Value {
    let values = texts(sent);
    let mut sentences: Vec<String> = Vec::new();
    for _ in 0..=source.below(4) {
        let mut sentence = source.pick(&SENTENCES).to_owned();
        for _ in 0..source.below(3) {
            let value = source.pick(&values);
            let value = match source.below(5) {
                0 => value.to_uppercase(),
                1 => value.to_lowercase(),
                2 => value.replace(' ', source.pick(&["  ", "\n", "\u{a0}", "\t "])),
                _ => value,
            };
            let before = source.pick(&[" ", "\"", "'", ": ", "\n", "(", "_", "=", " value "]);
            let behind = source.pick(&[" ", "\"", "'", ". ", "\n", ")", "_", "&", " is wrong"]);
            sentence = format!("{sentence}{before}{value}{behind}");
        }
        sentences.push(sentence);
    }
    let first = sentences.first().cloned();
    match source.below(5) {
        0 => json!({"error": first}),
        1 => json!({"error": sentences}),
        2 => json!({"error": sentences, "errors": first}),
        3 => json!({"errors": sentences, "message": first}),
        _ => json!({"errors": sentences}),
    }
}

/// Every text in `sent`; never none.
fn texts(sent: &Value) -> Vec<String> {
    match sent {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
    .into_iter()
    .chain(matches!(sent, Value::Object(_)).then(|| "zq9@x.io".to_owned()))
    .collect()
}

/// Fails if `reply` is not what the answer says.
pub fn fits(call: &Call, wire: &Wire, reply: &Reply) {
    let is_new = matches!(call, Call::New(_));
    let good = (200..300).contains(&wire.status) && wire.status != 204;
    let client_error = (400..500).contains(&wire.status) && ![401, 408, 425].contains(&wire.status);
    let fits = match reply {
        Reply::Created { code, .. } => is_new && good && is_code(code),
        Reply::Page { results, .. } => {
            matches!(call, Call::Search { .. }) && good && results.iter().all(|found| is_code(&found.code))
        }
        Reply::Affiliate(_) => matches!(call, Call::Get(_)) && good,
        Reply::Changed => good && lists(call, wire, "ids_changed"),
        Reply::NotChanged => good && matches!(call, Call::Edit { .. } | Call::SetStatus { .. }),
        Reply::NotFound | Reply::Rejected(Rejection::EmailTaken) => client_error && wire.status != 429,
        Reply::Rejected(Rejection::Other(_)) => client_error || wire.status == 204,
        Reply::Unauthorized => wire.status == 401,
        Reply::RateLimited { .. } => wire.status == 429,
        Reply::Lost(_) => is_new && !client_error && !(300..400).contains(&wire.status) && wire.status != 503,
        Reply::Unavailable(_) => !(is_new && good),
    };
    assert!(fits, "{reply:?} to {} was read in {}: {}", call.operation(), wire.status, wire.body.escape_ascii());
    assert!((wire.status == 401) == (*reply == Reply::Unauthorized));
    let message = match reply {
        Reply::Unavailable(failure) | Reply::Lost(failure) => &failure.what,
        Reply::Rejected(Rejection::Other(words)) => words,
        _ => "",
    };
    is_safe(message);
}

/// Fails if `message` repeats a value that was sent, or is long.
pub fn is_safe(message: &str) {
    assert!(!message.to_lowercase().contains(MARK) && !message.contains('@'), "message: {message}");
    assert!(message.chars().count() <= 400 && !message.contains(char::is_control), "message: {message}");
}

/// A code is what can stand in a link, so that it can be shown.
fn is_code(code: &AffiliateCode) -> bool {
    !code.0.is_empty()
        && code.0.len() <= 100
        && code.0.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// Whether the body says that the affiliate of `call` is in the list of this name.
fn lists(call: &Call, wire: &Wire, name: &str) -> bool {
    let (Call::Edit { id, .. } | Call::SetStatus { id, .. }) = call else { return false };
    let body: Value = serde_json::from_slice(&wire.body).expect("JSON");
    let is_ours =
        |listed: &Value| listed == &json!(id) || listed.as_str().is_some_and(|text| text.trim() == id.to_string());
    body[name].as_array().is_some_and(|listed| listed.iter().any(is_ours))
}

fn check_key_verification(wire: &Wire, verification: &ApiKeyVerification) {
    assert!((wire.status == 401) == (*verification == ApiKeyVerification::Rejected));
    match verification {
        ApiKeyVerification::Accepted => {
            let body: Value = serde_json::from_slice(&wire.body).expect("JSON");
            let good = (200..300).contains(&wire.status) && body.get("results").is_some();
            assert!(
                good || matches!(wire.status, 400 | 404 | 422)
                    && (body.get("error").is_some() || body.get("errors").is_some())
            );
        }
        ApiKeyVerification::Rejected => {}
        ApiKeyVerification::Unknown(failure) => is_safe(&failure.what),
    }
}
