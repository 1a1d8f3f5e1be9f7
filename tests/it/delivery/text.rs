//! The words of the scripts: from text to replies and memories, and from calls and verdicts to text.

use super::scenario::{hash, peter};
use refersion_destination::delivery::{
    Affiliate, AffiliateRecord, Call, Identifier, Ignored, Origin, PermanentFailure, Rejection, Remark, Reply,
    SearchResult, Step, Success, TransientFailure,
};
use refersion_destination::domain::{
    AffiliateCode, AffiliateId, AffiliateStatus, Attribute, Field, Profile, SentAttributes, Timestamp,
};

const NUMBER: &str = "a number";
/// When the affiliates that are known here were sent something: before any event.
pub const BEFORE: Timestamp = Timestamp(1_600_000_000_000);

/// Reads `city=Paris #11=450`.
pub fn said(text: &str) -> Vec<(Attribute, String)> {
    let attribute = |name: &str| match name.strip_prefix('#') {
        Some(id) => Attribute::Custom(id.to_owned()),
        None => (*Field::ALL.iter().find(|field| field.as_str() == name).expect(name)).into(),
    };
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').expect(pair));
    pairs.map(|(name, value)| (attribute(name), value.to_owned())).collect()
}

/// Reads `created a3y7/7` or `found a3y7`, sent [`peter`] `and` more; `status=ACTIVE` in `and` is the status that was set.
pub fn known(affiliate: &str, and: &str) -> AffiliateRecord {
    let (origin, name) = affiliate.split_once(' ').expect(affiliate);
    let (code, id) = name.split_once('/').map_or((name, None), |(code, id)| (code, Some(id)));
    let (status, said): (Vec<_>, Vec<_>) = and.split_whitespace().partition(|word| word.starts_with("status="));
    let mut sent = SentAttributes::default();
    for (attribute, value) in peter(&said.join(" ")).iter() {
        sent.record(&hash(), attribute, value, BEFORE);
    }
    for status in status {
        let status = AffiliateStatus::parse(status.trim_start_matches("status=")).expect("a status");
        sent.record_status(&hash(), status, BEFORE);
    }
    let origin = if origin == "found" { Origin::Found } else { Origin::Created };
    AffiliateRecord {
        code: AffiliateCode(code.to_owned()),
        id: id.map(|id| AffiliateId(id.parse().expect(NUMBER))),
        origin,
        sent,
    }
}

/// Reads one reply.
///
/// `affiliate 7 ACTIVE` shows [`peter`], and what is said behind it; `found a3y7` is a page with that one result, `others 2
/// of 5` one of partial matches.
pub fn reply(text: &str) -> Reply {
    let words: Vec<&str> = text.split(' ').collect();
    let (what, retry_after) = ("an outage".to_owned(), None);
    match words[..] {
        ["created", code] => Reply::Created { code: AffiliateCode(code.into()), id: None },
        ["created", code, id] => {
            Reply::Created { code: AffiliateCode(code.into()), id: Some(AffiliateId(id.parse().expect(NUMBER))) }
        }
        ["taken"] => Reply::Rejected(Rejection::EmailTaken),
        ["refused"] => Reply::Rejected(Rejection::Other("no".into())),
        ["refused", field] => Reply::Rejected(Rejection::Other(format!("x is not a allowed value for field {field}"))),
        ["found", code] => page(1, vec![found(code, "peter@x.io", None)]),
        ["found", code, "as", email] => page(1, vec![found(code, email, None)]),
        ["found", code, status] => page(1, vec![found(code, "peter@x.io", AffiliateStatus::parse(status))]),
        ["others", count, "of", total] => page(total.parse().expect(NUMBER), others(count.parse().expect(NUMBER))),
        ["empty"] => page(0, Vec::new()),
        ["affiliate", id, status, ref rest @ ..] => Reply::Affiliate(Affiliate {
            id: AffiliateId(id.parse().expect(NUMBER)),
            status: AffiliateStatus::parse(status),
            profile: visible(&peter(&rest.join(" "))),
        }),
        ["changed"] => Reply::Changed,
        ["unchanged"] => Reply::NotChanged,
        ["gone"] => Reply::NotFound,
        ["401"] => Reply::Unauthorized,
        ["429"] => Reply::RateLimited { retry_after },
        ["down"] => Reply::Unavailable(TransientFailure { what, retry_after }),
        ["lost"] => Reply::Lost(TransientFailure { what, retry_after }),
        _ => panic!("no reply: {text}"),
    }
}

fn page(total: u64, results: Vec<SearchResult>) -> Reply {
    Reply::Page { total, results }
}

fn found(code: &str, email: &str, status: Option<AffiliateStatus>) -> SearchResult {
    SearchResult { code: AffiliateCode(code.into()), email: email.into(), status }
}

/// Addresses that contain the one looked for, and are others.
fn others(count: usize) -> Vec<SearchResult> {
    let names = ["notpeter@x.io", "peter@x.io.example", "peter@x.io, paul@x.io"];
    names.iter().cycle().take(count).map(|email| found("zzzz", email, Some(AffiliateStatus::Active))).collect()
}

fn visible(profile: &Profile) -> Profile {
    profile.filtered(|attribute, _| attribute.is_returned_by_get())
}

/// `edit 7 {city, #11}`.
pub fn call(call: &Call) -> String {
    match call {
        Call::New(_) => "new".into(),
        Call::Search { email, page } if email.as_str() == "peter@x.io" => format!("search p{page}"),
        Call::Search { email, page } => format!("search {} p{page}", email.as_str()),
        Call::Get(Identifier::Code(code)) => format!("get {code}"),
        Call::Get(Identifier::Id(id)) => format!("get {id}"),
        Call::Edit { id, changes } => format!("edit {id} {}", names(changes)),
        Call::SetStatus { id, status } => format!("status {id} {status}"),
    }
}

/// `{city, #11}`.
pub fn names(profile: &Profile) -> String {
    let name = |(attribute, _): (&Attribute, &str)| match attribute {
        Attribute::Custom(id) => format!("#{id}"),
        Attribute::Field(field) => field.as_str().to_owned(),
    };
    format!("{{{}}}", profile.iter().map(name).collect::<Vec<_>>().join(", "))
}

/// `city=Paris`, `#11=450`.
pub fn pair(attribute: &Attribute, value: &str) -> String {
    match attribute {
        Attribute::Custom(id) => format!("#{id}={value}"),
        Attribute::Field(field) => format!("{}={value}", field.as_str()),
    }
}

/// `created a3y7/7`.
pub fn affiliate(known: &AffiliateRecord) -> String {
    let origin = if known.origin == Origin::Found { "found" } else { "created" };
    let id = known.id.map(|id| format!("/{id}")).unwrap_or_default();
    format!("{origin} {}{id}", known.code)
}

/// `email taken`, `left out city`, `status DENIED kept`, `other affiliate b2b2`.
fn remark(remark: &Remark) -> String {
    match remark {
        Remark::EmailTaken => "email taken".into(),
        Remark::LeftOut(names) => format!("left out {}", names.join(" ")),
        Remark::StatusKept(status) => format!("status {status} kept"),
        Remark::OtherAffiliate(code) => format!("other affiliate {code}"),
    }
}

/// `updated a3y7`, `left alone a3y7 DISABLED`, `retry`, `dead refused`.
pub fn verdict(step: &Step) -> String {
    match step {
        Step::Next(next) => format!("asks {}", call(next)),
        Step::Done(Success::Delivered { action, code, remarks }) => {
            let code = code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
            let words = std::iter::once(format!("{}{code}", action.as_str())).chain(remarks.iter().map(remark));
            words.collect::<Vec<_>>().join(", ")
        }
        Step::Recall(code) => format!("recalls {code}"),
        Step::Done(Success::Ignored(Ignored::OtherOwner(code))) => format!("other owner {code}"),
        Step::Done(Success::Ignored(Ignored::Stale(code))) => format!("stale {code}"),
        Step::Done(Success::Ignored(Ignored::DeletedSince)) => "deleted since".into(),
        Step::Done(Success::Ignored(Ignored::Remembered { .. })) => "remembered".into(),
        Step::Done(Success::Ignored(Ignored::Mapping(_))) => "ignored".into(),
        Step::Done(Success::Ignored(Ignored::ExistedBefore(code))) => format!("existed {code}"),
        Step::Done(Success::Ignored(Ignored::LeftAlone { code, status })) => format!("left alone {code} {status}"),
        Step::Done(Success::Ignored(Ignored::Cancelled)) => "cancelled".into(),
        Step::Retry(_) => "retry".into(),
        Step::Dead(PermanentFailure::NotApplied(names)) => format!("dead not_applied {{{}}}", names.join(", ")),
        Step::Dead(failure) => format!("dead {}", failure.code()),
        Step::Halt => "halt".into(),
        Step::HandBack => "handed back".into(),
    }
}
