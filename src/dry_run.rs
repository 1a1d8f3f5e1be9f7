//! A dry run: which Refersion calls an event would make, and which of its fields would be left out.
//!
//! In: an event as Segment sent it, and the rules. Out: lines of text. The calls come from the plan that the worker runs, with replies as
//! if Refersion accepted every call. Values that only Refersion knows are shown as `<…>`. Invariant: without [`Detail::WithValues`] no
//! value of the event is shown. Deliberately absent: the store; the lines describe both cases, a known and an unknown user.

use crate::delivery::{
    Affiliate, AffiliateRecord, Call, Identifier, Memory, Origin, PlanInput, PlanState, Policy, Progress, Reply,
    SearchResult, Step, Success, on_recalled, step,
};
use crate::domain::{AffiliateCode, AffiliateId, HashKey, Profile, SentAttributes, Timestamp};
use crate::mapping::{self, Creation, Identify, Intent, Mapped, Precedence, RememberedTraits, Rules};
use crate::{refersion, segment};
use serde_json::Value;
use std::fmt;

/// The placeholder of the affiliate's numeric id, which only Refersion knows. It is the largest possible id, so no affiliate has it.
const PLACEHOLDER_ID: AffiliateId = AffiliateId(9_007_199_254_740_991);
/// The placeholder of the affiliate's code, which only Refersion knows.
const PLACEHOLDER_CODE: &str = "<code>";

/// How much of an event is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The calls with all values.
    WithValues,
    /// The calls with their fields, but without the event's values, which are personal data.
    WithoutValues,
}

/// What one event would do.
#[derive(Debug)]
pub struct Explanation {
    /// The calls that it would make, and what would be left out of them, as lines of text.
    pub lines: Vec<String>,
    /// Whether it would be refused, at least if its user is no affiliate yet.
    pub is_refused: bool,
}

impl Explanation {
    /// The explanation of an event that cannot be read, for this reason.
    pub fn of_malformed(reason: impl fmt::Display) -> Self {
        Self { lines: vec![format!("refused: {reason}")], is_refused: true }
    }
}

/// Explains what the event `text` would do at `now`.
pub fn explain(text: &str, rules: &Rules, policy: Policy, now: Timestamp, detail: Detail) -> Explanation {
    let event = match segment::Event::parse(text) {
        Ok(event) => event,
        Err(malformed) => return Explanation::of_malformed(malformed),
    };
    let message_id = event.message_id.as_deref().unwrap_or("without messageId");
    let kind = match &event.kind {
        segment::EventKind::Identify => "identify",
        segment::EventKind::Delete => "delete",
        segment::EventKind::Unsupported(kind) => kind,
    };
    let mut lines = match detail {
        Detail::WithValues => vec![format!("{kind} ({message_id})")],
        Detail::WithoutValues => vec![kind.to_owned()],
    };
    let Mapped { intent, notes } = mapping::map(&event, rules, now);
    let is_refused = match &intent {
        Ok(Intent::Nothing(reason)) => {
            lines.push(format!("  no call: {reason}"));
            false
        }
        Ok(intent) => {
            both_scenarios(&mut lines, intent, rules, policy, detail);
            is_refused_if_unknown(intent, rules)
        }
        Err(error) => {
            lines.push(format!("  refused: {error}"));
            true
        }
    };
    lines.extend(notes.iter().map(|note| format!("  note: {note}")));
    Explanation { lines, is_refused }
}

/// Adds what is done if the user is no affiliate yet, and what is done if they are one.
fn both_scenarios(lines: &mut Vec<String>, intent: &Intent, rules: &Rules, policy: Policy, detail: Detail) {
    let (if_unknown, if_known) = match intent {
        Intent::Delete { .. } => {
            ("if the store has no affiliate of this user:", "if the store has the user's affiliate:")
        }
        _ => ("if the user is not an affiliate yet:", "if the user is already an affiliate, for what has changed:"),
    };
    let known = Memory { by_user_id: Some(known_affiliate()), by_email: Some(known_affiliate()), ..Memory::default() };
    let (hash, custom_fields) = (HashKey::new(&[0; 32]), rules.custom_field_ids());
    let input = PlanInput { intent, policy, hash: &hash, custom_fields: &custom_fields, events: 1 };
    match remembered(intent, rules) {
        Some(traits) => lines.extend(remembered_lines(if_unknown, &traits, rules)),
        None => scenario(lines, if_unknown, &input, Memory::default(), detail),
    }
    scenario(lines, if_known, &input, known, detail);
}

/// Whether the event lacks a value that a new affiliate needs, and is not remembered until the value arrives.
fn is_refused_if_unknown(intent: &Intent, rules: &Rules) -> bool {
    let lacks = |wanted: &Identify| matches!(wanted.creation, Creation::Invalid(_));
    matches!(intent, Intent::Identify(wanted) if lacks(wanted)) && remembered(intent, rules).is_none()
}

/// The traits that are remembered of an event that creates no affiliate; without those of earlier events.
fn remembered(intent: &Intent, rules: &Rules) -> Option<RememberedTraits> {
    let Intent::Identify(event) = intent else { return None };
    let pieces = event.pieces.as_ref().filter(|pieces| pieces.are_worth_remembering(event))?;
    let creates = matches!(event.creation, Creation::Allowed(_));
    (!creates && rules.remember_traits.is_some())
        .then(|| RememberedTraits::default().with(event, pieces, Precedence::Newer))
}

fn remembered_lines(title: &str, traits: &RememberedTraits, rules: &Rules) -> [String; 2] {
    let lacks = traits.lacks(rules).join(" and ");
    let lacks = if lacks.is_empty() {
        String::new()
    } else {
        format!("; unless earlier events said it, still missing: {lacks}")
    };
    [format!("  {title}"), format!("    no call: remembered ({}){lacks}", traits.names().join(", "))]
}

fn known_affiliate() -> AffiliateRecord {
    let code = AffiliateCode(PLACEHOLDER_CODE.to_owned());
    AffiliateRecord { code, id: Some(PLACEHOLDER_ID), origin: Origin::Created, sent: SentAttributes::default() }
}

fn scenario(lines: &mut Vec<String>, title: &str, input: &PlanInput<'_>, memory: Memory, detail: Detail) {
    lines.push(format!("  {title}"));
    let mut state = PlanState::new(input.intent, input.policy, memory, Progress::default());
    let mut previous: Option<(Call, Reply)> = None;
    loop {
        match step(input, &mut state, previous.as_ref().map(|(call, reply)| (call, reply.clone()))) {
            Step::Next(call) => {
                lines.push(call_line(&call, detail));
                let reply = accepting_reply(&call);
                previous = Some((call, reply));
            }
            Step::Recall(_) => {
                on_recalled(input, &mut state, None);
                previous = None;
            }
            Step::Done(Success::Ignored(ignored)) => return lines.push(format!("    no call: {ignored}")),
            Step::Done(Success::Delivered { .. }) if previous.is_none() => return lines.push("    no call".to_owned()),
            Step::Dead(failure) => return lines.push(format!("    refused: {failure}")),
            Step::Done(Success::Delivered { .. }) | Step::Retry(_) | Step::Halt | Step::HandBack => return,
        }
    }
}

/// The reply to `call` if Refersion accepts it.
fn accepting_reply(call: &Call) -> Reply {
    let code = AffiliateCode(PLACEHOLDER_CODE.to_owned());
    match call {
        Call::New(_) => Reply::Created { code, id: Some(PLACEHOLDER_ID) },
        Call::Search { email, .. } => {
            let found = SearchResult { code, email: email.as_str().to_owned(), status: None };
            Reply::Page { total: 1, results: vec![found] }
        }
        Call::Get(Identifier::Code(_) | Identifier::Id(_)) => {
            Reply::Affiliate(Affiliate { id: PLACEHOLDER_ID, status: None, profile: Profile::default() })
        }
        Call::Edit { .. } | Call::SetStatus { .. } => Reply::Changed,
    }
}

fn call_line(call: &Call, detail: Detail) -> String {
    let body = placeholders(refersion::request_body(call, &[], || "<generated>".into()));
    let body = if detail == Detail::WithoutValues { without_values(body) } else { body };
    format!("    POST /affiliate/{} {body}", call.operation())
}

/// The body without the event's values. Values from the operator's settings and placeholders stay.
fn without_values(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_values).collect(),
        Value::Object(fields) => {
            let without = |(key, value): (String, Value)| match &*key {
                "status" | "send_welcome" => (key, value),
                _ => (key, without_values(value)),
            };
            fields.into_iter().map(without).collect()
        }
        Value::String(text) if ["<id>", "<code>", "<generated>"].contains(&&*text) => text.into(),
        _ => "…".into(),
    }
}

fn placeholders(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_u64() == Some(PLACEHOLDER_ID.0) => "<id>".into(),
        Value::String(text) => text.replace(&PLACEHOLDER_ID.to_string(), "<id>").into(),
        Value::Array(items) => items.into_iter().map(placeholders).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, placeholders(value))).collect(),
        other => other,
    }
}
