//! Reads the mapping's [`Rules`]: `[mapping]`, the settings of `[refersion]` about new affiliates, and `[segment] trusted_projects`.
//!
//! In: the layers. Out: [`Rules`], or every problem. A trait that is written twice is a problem, also in another case or with other
//! punctuation between its words. Names with other words are two traits: `tier_1_1` and `tier_11`.

use super::did_you_mean::unknown;
use super::layers::SettingValue;
use super::problem::{ConfigProblem, Problems, either};
use super::read::{Read, Reader, check, read_all};
use super::settings;
use super::values::{audience_status, found, id, is_id, text};
use crate::mapping::{Audience, CreateIf, CustomField, Effect, Rules};
use crate::segment;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Reads all rules, or notes every problem.
pub(super) fn read(reader: &mut Reader) -> Read<Rules> {
    read_all!(Rules {
        status: reader.value(&settings::REFERSION_STATUS),
        offer: reader.optional(&settings::REFERSION_OFFER),
        send_welcome: reader.value(&settings::REFERSION_SEND_WELCOME),
        missing_name: reader.value(&settings::MAPPING_MISSING_NAME),
        trusted_projects: reader.optional(&settings::SEGMENT_TRUSTED_PROJECTS).map(Option::unwrap_or_default),
        ignored_user_ids: reader.value(&settings::MAPPING_IGNORED_USER_IDS),
        paypal_email: reader.value(&settings::MAPPING_PAYPAL_EMAIL),
        remember_traits: reader.value(&settings::MAPPING_REMEMBER_TRAITS),
        custom_fields: custom_fields(reader),
        audiences: audiences(reader),
        create_if: create_if(reader),
    })
}

fn custom_fields(reader: &mut Reader) -> Read<Vec<CustomField>> {
    let Reader { layers, problems, .. } = reader;
    let mut traits = UniqueTraits::default();
    let fields: Vec<_> = layers
        .entries(settings::MAPPING_CUSTOM_FIELDS)
        .map(|(trait_name, setting)| {
            let trait_name = traits.check(trait_name, setting, problems);
            let id = check(setting, id, problems);
            Ok(CustomField { trait_name: trait_name?, id: id? })
        })
        .collect();
    fields.into_iter().collect()
}

fn create_if(reader: &mut Reader) -> Read<Option<CreateIf>> {
    let Reader { layers, problems, .. } = reader;
    let Some(table) = layers.get(settings::MAPPING_CREATE_IF) else { return Ok(None) };
    let entries: BTreeMap<_, _> = layers.entries(settings::MAPPING_CREATE_IF).map(|(k, v)| (k.as_str(), v)).collect();
    for (name, setting) in entries.iter().filter(|(name, _)| !["trait", "equals"].contains(name)) {
        problems.push(setting.problem(unknown("unknown setting", name, &["trait", "equals"])));
    }
    let mut entry = |name| match entries.get(name) {
        Some(setting) => check(setting, text, problems),
        None => Err(problems.note(table.problem(format!("found no `{name}`, expected `trait` and `equals`")))),
    };
    let (trait_name, equals) = (entry("trait"), entry("equals"));
    Ok(Some(CreateIf { trait_name: trait_name?, equals: equals? }))
}

fn audiences(reader: &mut Reader) -> Read<Vec<Audience>> {
    let Reader { layers, problems, .. } = reader;
    let Some(setting) = layers.get(settings::MAPPING_AUDIENCES) else { return Ok(Vec::new()) };
    let Value::Array(items) = &setting.value else {
        let text = format!("found {}, expected a list of tables: [[mapping.audiences]]", found(&setting.value));
        return Err(problems.note(setting.problem(text)));
    };
    let mut traits = UniqueTraits::default();
    let items =
        (1..).zip(items).map(|(n, item)| audience(&setting.inner(&format!(" #{n}"), item), &mut traits, problems));
    items.collect::<Vec<_>>().into_iter().collect()
}

fn audience(setting: &SettingValue, traits: &mut UniqueTraits, problems: &mut Problems) -> Read<Audience> {
    let before = problems.len();
    let table = table(setting, &["trait", "on_true", "on_false"], problems)?;
    let trait_name = match table.get("trait") {
        Some(value) => {
            let setting = setting.inner(".trait", value);
            check(&setting, text, problems).and_then(|trait_name| traits.check(&trait_name, &setting, problems))
        }
        None => Err(problems.note(setting.problem("found no `trait`, expected the audience's trait"))),
    };
    let mut side = |name: &str| match table.get(name) {
        Some(value) => effect(&setting.inner(&format!(".{name}"), value), problems),
        None => Ok(Effect::default()),
    };
    let (on_true, on_false) = (side("on_true"), side("on_false"));
    let (on_true, on_false) = (on_true?, on_false?);
    if on_true == Effect::default() && on_false == Effect::default() && problems.len() == before {
        let text = "found no effect, expected `on_true` or `on_false` with an offer, a status or custom_fields";
        return Err(problems.note(setting.problem(text)));
    }
    Ok(Audience { trait_name: trait_name?, on_true, on_false })
}

fn effect(setting: &SettingValue, problems: &mut Problems) -> Read<Effect> {
    let table = table(setting, &["offer", "status", "custom_fields"], problems)?;
    let inner = |name: &str| table.get(name).map(|value| setting.inner(&format!(".{name}"), value));
    let offer = inner("offer").map(|setting| check(&setting, id, problems)).transpose();
    let status = inner("status").map(|setting| check(&setting, audience_status, problems)).transpose();
    let custom_fields = inner("custom_fields").map(|setting| values_by_id(&setting, problems)).transpose();
    Ok(Effect { offer: offer?, status: status?, custom_fields: custom_fields?.unwrap_or_default() })
}

fn values_by_id(setting: &SettingValue, problems: &mut Problems) -> Read<Vec<(String, String)>> {
    let Value::Table(table) = &setting.value else {
        let text = format!("found {}, expected a table such as {{ \"1234\" = \"yes\" }}", found(&setting.value));
        return Err(problems.note(setting.problem(text)));
    };
    let pair = |(id, value): (&String, &Value)| {
        let setting = setting.inner(&format!(".{id}"), value);
        if !is_id(id) {
            let text = format!("found {id:?}, expected the id of a custom field: digits, such as \"1234\"");
            return Err(problems.note(setting.problem(text)));
        }
        check(&setting, text, problems).map(|text| (id.clone(), text))
    };
    let pairs: Vec<_> = table.iter().map(pair).collect();
    pairs.into_iter().collect()
}

/// The table in a setting, which may have no other settings than `allowed`.
fn table<'a>(setting: &'a SettingValue, allowed: &[&str], problems: &mut Problems) -> Read<&'a Table> {
    let Value::Table(table) = &setting.value else {
        let text = format!("found {}, expected a table with {}", found(&setting.value), either(allowed));
        return Err(problems.note(setting.problem(text)));
    };
    for name in table.keys().filter(|name| !allowed.contains(&name.as_str())) {
        let location = format!("{}.{name}", setting.name);
        problems.push(ConfigProblem::new(&location, &setting.origin, unknown("unknown setting", name, allowed)));
    }
    Ok(table)
}

/// The traits read so far: from the name in lower case, with `_` between its words, to the name as written.
#[derive(Default)]
struct UniqueTraits(BTreeMap<String, String>);

impl UniqueTraits {
    fn check(&mut self, trait_name: &str, setting: &SettingValue, problems: &mut Problems) -> Read<String> {
        let words = trait_name.split(|c: char| !c.is_alphanumeric() && c != '.').filter(|word| !word.is_empty());
        let normalized = words.collect::<Vec<_>>().join("_").to_lowercase();
        let nameless = segment::normalize_name(trait_name).is_empty();
        let text = match self.0.insert(normalized, trait_name.to_owned()) {
            _ if nameless => format!("found the trait {trait_name:?}, expected a name with letters or digits"),
            Some(first) => {
                format!(
                    "found the trait {trait_name:?} again, after {first:?}; expected each trait once, in any casing"
                )
            }
            None => return Ok(trait_name.to_owned()),
        };
        Err(problems.note(setting.problem(text)))
    }
}
