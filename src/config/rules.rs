//! From layers to the mapping's [`Rules`]: the tables of `[mapping]`, and how affiliates are created.
//!
//! Traits match in any casing, as the mapping compares them: two spellings of one trait are one trait twice, a problem.

use super::layers::{Setting, unknown};
use super::problem::{Problem, Problems};
use super::read::{Reader, check};
use super::values::{Parsed, choice, flag, found, id, is_id, text};
use crate::domain::Status;
use crate::mapping::{Audience, CreateIf, CustomField, Effect, Rules};
use std::collections::BTreeMap;
use toml::{Table, Value};

const CREATED: [(&str, Status); 2] = [("PENDING", Status::Pending), ("ACTIVE", Status::Active)];
const CHANGED: [(&str, Status); 3] =
    [("ACTIVE", Status::Active), ("DENIED", Status::Denied), ("DISABLED", Status::Disabled)];

/// Reads all rules; `None` when a problem was noted.
pub(super) fn read(reader: &mut Reader) -> Option<Rules> {
    let status = reader.value("refersion.status", choice(&CREATED));
    let offer = reader.optional("refersion.offer", id);
    let send_welcome = reader.value("refersion.send_welcome", flag);
    let missing_name = reader.value("mapping.missing_name", text);
    let custom_fields = custom_fields(reader);
    let audiences = audiences(reader);
    let create_if = create_if(reader);
    Some(Rules {
        status: status?,
        offer: offer?,
        send_welcome: send_welcome?,
        missing_name: missing_name?,
        custom_fields: custom_fields?,
        audiences: audiences?,
        create_if: create_if?,
    })
}

fn custom_fields(reader: &mut Reader) -> Option<Vec<CustomField>> {
    let Reader { layers, problems, .. } = reader;
    let mut seen = Seen::default();
    let fields: Vec<_> = layers
        .entries("mapping.custom_fields")
        .map(|(key, setting)| {
            let key = seen.check(key, setting, problems);
            let id = check(setting, id, problems);
            Some(CustomField { key: key?, id: id? })
        })
        .collect();
    fields.into_iter().collect()
}

fn create_if(reader: &mut Reader) -> Option<Option<CreateIf>> {
    let Reader { layers, problems, .. } = reader;
    let entries: BTreeMap<_, _> = layers.entries("mapping.create_if").collect();
    let Some(any) = entries.values().next() else { return Some(None) };
    let mut strange = false;
    for (name, setting) in &entries {
        if !["trait", "equals"].contains(&name.as_str()) {
            strange = true;
            problems.push(setting.problem(unknown("unknown key", name, &["trait", "equals"])));
        }
    }
    let mut entry = |name: &str| match entries.iter().find(|(key, _)| key.as_str() == name) {
        Some((_, setting)) => check(setting, text, problems),
        None => {
            let at = any.name.rsplit_once('.').map_or(any.name.as_str(), |(table, _)| table);
            problems.push(Problem::new(at, &any.place, format!("found no `{name}`, expected `trait` and `equals`")));
            None
        }
    };
    let (key, equals) = (entry("trait"), entry("equals"));
    if strange {
        return None;
    }
    Some(Some(CreateIf { key: key?, equals: equals? }))
}

fn audiences(reader: &mut Reader) -> Option<Vec<Audience>> {
    let Reader { layers, problems, .. } = reader;
    let Some(setting) = layers.get("mapping.audiences") else { return Some(Vec::new()) };
    let Value::Array(items) = &setting.value else {
        let text = format!("found {}, expected a list of tables: [[mapping.audiences]]", found(&setting.value));
        problems.push(setting.problem(text));
        return None;
    };
    let mut seen = Seen::default();
    let items =
        (1..).zip(items).map(|(n, item)| audience(&setting.inner(&format!(" #{n}"), item), &mut seen, problems));
    items.collect::<Vec<_>>().into_iter().collect()
}

fn audience(setting: &Setting, seen: &mut Seen, problems: &mut Problems) -> Option<Audience> {
    let before = problems.len();
    let table = table(setting, &["trait", "on_true", "on_false"], problems)?;
    let key = if let Some(value) = table.get("trait") {
        let setting = setting.inner(", trait", value);
        check(&setting, text, problems).and_then(|key| seen.check(&key, &setting, problems))
    } else {
        problems.push(setting.problem("found no `trait`, expected the audience's trait"));
        None
    };
    let mut side = |name: &str| match table.get(name) {
        Some(value) => effect(&setting.inner(&format!(", {name}"), value), problems),
        None => Some(Effect::default()),
    };
    let (on_true, on_false) = (side("on_true"), side("on_false"));
    let (on_true, on_false) = (on_true?, on_false?);
    if on_true == Effect::default() && on_false == Effect::default() && problems.len() == before {
        let text =
            "found nothing that it does, expected `on_true` or `on_false` with an offer, a status or custom_fields";
        problems.push(setting.problem(text));
        return None;
    }
    Some(Audience { key: key?, on_true, on_false })
}

fn effect(setting: &Setting, problems: &mut Problems) -> Option<Effect> {
    let table = table(setting, &["offer", "status", "custom_fields"], problems)?;
    let inner = |name: &str| table.get(name).map(|value| setting.inner(&format!(".{name}"), value));
    let offer = inner("offer").map(|setting| check(&setting, id, problems));
    let status = inner("status").map(|setting| check(&setting, choice(&CHANGED), problems));
    let custom_fields = inner("custom_fields").map(|setting| check(&setting, values_by_id, problems));
    Some(Effect {
        offer: offer.map_or(Some(None), |offer| offer.map(Some))?,
        status: status.map_or(Some(None), |status| status.map(Some))?,
        custom_fields: custom_fields.unwrap_or_else(|| Some(Vec::new()))?,
    })
}

fn values_by_id(value: &Value) -> Parsed<Vec<(String, String)>> {
    let Value::Table(table) = value else {
        return Err(format!("found {}, expected a table such as {{ \"1234\" = \"yes\" }}", found(value)));
    };
    let pair = |(key, value): (&String, &Value)| {
        if !is_id(key) {
            return Err(format!("found the key {key:?}, expected the id of a custom field: digits, such as \"1234\""));
        }
        text(value).map(|text| (key.clone(), text)).map_err(|problem| format!("{problem} (under {key:?})"))
    };
    table.iter().map(pair).collect()
}

/// The table that a setting must be, with no other keys than these.
fn table<'a>(setting: &'a Setting, allowed: &[&str], problems: &mut Problems) -> Option<&'a Table> {
    let Value::Table(table) = &setting.value else {
        let text =
            format!("found {}, expected a table with {}", found(&setting.value), super::problem::either(allowed));
        problems.push(setting.problem(text));
        return None;
    };
    for name in table.keys().filter(|name| !allowed.contains(&name.as_str())) {
        let at = format!("{}.{name}", setting.name);
        problems.push(Problem::new(&at, &setting.place, unknown("unknown key", name, allowed)));
    }
    Some(table)
}

/// The traits seen so far, as the mapping compares them: letters, digits and dots, without case.
#[derive(Default)]
struct Seen(BTreeMap<String, String>);

impl Seen {
    fn check(&mut self, key: &str, setting: &Setting, problems: &mut Problems) -> Option<String> {
        let folded: String = key.chars().filter(|c| c.is_alphanumeric() || *c == '.').collect();
        let text = match self.0.insert(folded.to_lowercase(), key.to_owned()) {
            _ if folded.is_empty() => format!("found the trait {key:?}, expected a name with letters or digits"),
            Some(first) => {
                format!("found the trait {key:?} again, after {first:?}; expected each trait once, in any casing")
            }
            None => return Some(key.to_owned()),
        };
        problems.push(setting.problem(text));
        None
    }
}
