//! From `[[accounts]]` to further accounts, each complete: what one does not say of itself, the sections say.
//!
//! An account's overrides are laid over a copy of the layers, and the copy is read as the sections are, so one rule is
//! checked in one place. Its name, its key and its shared secrets are its own and are never taken from a section.
//! Deliberately absent: a spelling for the environment, which has no room for a list of secrets; and merging, an account's
//! table stands instead of the section's, because ids of offers and custom fields mean nothing in another account.

use super::environment::secret_in;
use super::keys::{KEYS, Kind};
use super::layers::{Layers, Setting, kind_of, unknown};
use super::problem::Problem;
use super::read::{Read, Reader, check};
use super::values::{Parsed, above_zero, api_key, base_url, concurrency, shared_secrets};
use super::{Mode, rules};
use crate::domain::{AccountName, ApiKey};
use crate::mapping::Rules;
use secrecy::SecretString;
use std::num::NonZeroUsize;
use toml::{Table, Value};
use url::Url;

/// One account: what differs from account to account.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// Its name here; unlike that of any other.
    pub name: AccountName,
    /// The key pair; the public half is unlike that of any other.
    pub api_key: ApiKey,
    /// Each of them is valid; none of them is empty.
    pub shared_secrets: Vec<SecretString>,
    /// https, or http to a loopback address. Its path ends with `/`.
    pub base_url: Url,
    /// Calls under way at once: 1 to 1024.
    pub concurrency: NonZeroUsize,
    /// Above zero; none is no limit.
    pub max_requests_per_second: Option<f64>,
    /// How events are mapped, and affiliates created.
    pub rules: Rules,
}

/// What an account may say otherwise than the sections, and the key it then stands for.
const OVERRIDES: [(&str, &str); 10] = [
    ("base_url", "refersion.base_url"),
    ("status", "refersion.status"),
    ("offer", "refersion.offer"),
    ("send_welcome", "refersion.send_welcome"),
    ("concurrency", "refersion.concurrency"),
    ("max_requests_per_second", "refersion.max_requests_per_second"),
    ("missing_name", "mapping.missing_name"),
    ("custom_fields", "mapping.custom_fields"),
    ("audiences", "mapping.audiences"),
    ("create_if", "mapping.create_if"),
];
/// What an account says of itself alone.
const OWN: [&str; 5] = ["name", "api_key", "api_key_file", "shared_secrets", "shared_secrets_file"];
/// Where the key of the account `main` stands.
const MAIN_KEY: &str = "refersion.api_key";
const LONGEST_NAME: usize = 40;

/// Reads all accounts of `[[accounts]]`, or notes every problem.
pub(super) fn read(reader: &mut Reader, mode: Mode) -> Read<Vec<AccountConfig>> {
    let Some(setting) = reader.layers.accounts.clone() else { return Ok(Vec::new()) };
    let Value::Array(items) = &setting.value else {
        let text = format!("found {}, expected a list of tables: [[accounts]]", kind_of(&setting.value));
        return Err(reader.problems.note(setting.problem(text)));
    };
    if mode == Mode::Sandbox && !items.is_empty() {
        let text =
            format!("found {}, expected none with --sandbox, which simulates the account main alone", items.len());
        reader.problems.push(setting.problem(text));
    }
    let mut seen = Seen::new(reader);
    let accounts =
        (1..).zip(items).map(|(n, item)| account(&setting.inner(&format!(" #{n}"), item), &mut seen, reader));
    accounts.collect::<Vec<_>>().into_iter().collect()
}

fn account(setting: &Setting, seen: &mut Seen, reader: &mut Reader) -> Read<AccountConfig> {
    let Value::Table(table) = &setting.value else {
        // Not shown: it may be a key out of its place.
        let text = format!("found {}, expected a table with `name` and `api_key`", kind_of(&setting.value));
        return Err(reader.problems.note(setting.problem(text)));
    };
    let allowed: Vec<_> = OWN.into_iter().chain(OVERRIDES.map(|(name, _)| name)).collect();
    for name in table.keys().filter(|name| !allowed.contains(&name.as_str())) {
        let at = format!("{}.{name}", setting.name);
        reader.problems.push(Problem::new(&at, &setting.place, unknown("unknown key", name, &allowed)));
    }
    let name = name_of(setting, table, seen, reader);
    let api_key = match secret(setting, table, "api_key", reader) {
        Ok(Some(setting)) => {
            check(&setting, api_key, &mut reader.problems).and_then(|key| seen.key(key, &setting, reader))
        }
        Ok(None) => {
            let text = "found no `api_key`, expected `api_key` or `api_key_file`";
            Err(reader.problems.note(setting.problem(text)))
        }
        Err(noted) => Err(noted),
    };
    let secrets = secret(setting, table, "shared_secrets", reader)
        .and_then(|found| found.map(|found| check(&found, shared_secrets, &mut reader.problems)).transpose());
    let mut own = Reader { layers: overlaid(setting, table, reader), problems: <_>::default(), warnings: Vec::new() };
    let base_url = own.value("refersion.base_url", base_url);
    let concurrency = own.value("refersion.concurrency", concurrency);
    let max_requests_per_second = own.optional("refersion.max_requests_per_second", above_zero);
    let rules = rules::read(&mut own);
    reader.problems.add_new(&own.problems);
    Ok(AccountConfig {
        name: name?,
        api_key: api_key?,
        shared_secrets: secrets?.unwrap_or_default(),
        base_url: base_url?,
        concurrency: concurrency?,
        max_requests_per_second: max_requests_per_second?,
        rules: rules?,
    })
}

fn name_of(setting: &Setting, table: &Table, seen: &mut Seen, reader: &mut Reader) -> Read<AccountName> {
    let Some(value) = table.get("name") else {
        return Err(reader.problems.note(setting.problem("found no `name`, expected the account's name")));
    };
    let setting = setting.inner(".name", value);
    let name = check(&setting, name, &mut reader.problems)?;
    if name == AccountName::main() {
        let text = "found \"main\", which is the account of [refersion] and [segment]; expected another name";
        return Err(reader.problems.note(setting.problem(text)));
    }
    if seen.names.contains(&name) {
        let text = format!("found {:?} again; expected each name once", name.as_str());
        return Err(reader.problems.note(setting.problem(text)));
    }
    seen.names.push(name.clone());
    Ok(name)
}

fn name(value: &Value) -> Parsed<AccountName> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let expected = format!("expected a name of 1 to {LONGEST_NAME} of a–z, 0–9, `-` and `_`");
    match value.as_str() {
        Some(text) if (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(allowed) => {
            Ok(AccountName::from(text.to_owned()))
        }
        // Not shown: it may be a key out of its place.
        Some(text) if text.contains('.') || text.len() > LONGEST_NAME => {
            Err(format!("found a text (not shown), {expected}"))
        }
        Some(text) => Err(format!("found {text:?}, {expected}")),
        None => Err(format!("found {}, {expected}", kind_of(value))),
    }
}

/// The secret `key` of an account, whether it stands there or in the file that `key_file` names.
fn secret(setting: &Setting, table: &Table, key: &str, reader: &mut Reader) -> Read<Option<Setting>> {
    let file_key = format!("{key}_file");
    let inner = |key: &str| table.get(key).map(|value| setting.inner(&format!(".{key}"), value));
    let (given, file) = (inner(key), inner(&file_key));
    let Some(file) = file else { return Ok(given) };
    if let Some(given) = given {
        let text = format!("found beside {file_key}, expected only one of the two");
        return Err(reader.problems.note(given.problem(text)));
    }
    let path = |value: &Value| match value.as_str() {
        Some(path) => secret_in(path.trim()),
        None => Err(format!("found {}, expected the path of the secret's file", kind_of(value))),
    };
    let text = check(&file, path, &mut reader.problems)?;
    Ok(Some(Setting { value: Value::String(text), ..file }))
}

/// The layers, with what the account says in the place of what the sections say.
fn overlaid(setting: &Setting, table: &Table, reader: &mut Reader) -> Layers {
    let mut layers = reader.layers.clone();
    for (name, path) in OVERRIDES {
        let Some(value) = table.get(name) else { continue };
        let setting = setting.inner(&format!(".{name}"), value);
        let Some(key) = KEYS.iter().find(|key| key.path() == path) else { continue };
        let expected = match (key.kind, value) {
            (Kind::Table, Value::Table(_)) | (Kind::Tables, Value::Array(_)) | (Kind::Plain | Kind::Secret, _) => None,
            (Kind::Table, _) => Some(format!("expected a table, such as [accounts.{name}]")),
            (Kind::Tables, _) => Some(format!("expected a list of tables: [[accounts.{name}]]")),
        };
        match expected {
            Some(expected) => {
                let text = format!("found {}, {expected}", kind_of(value));
                reader.problems.push(setting.problem(text));
            }
            None => layers.replace(key, setting, &mut reader.problems),
        }
    }
    layers
}

/// What two accounts must not share.
struct Seen {
    names: Vec<AccountName>,
    /// Public halves, and where their keys stand.
    keys: Vec<(String, String)>,
}

impl Seen {
    fn new(reader: &Reader) -> Self {
        // A key that is none is told where it stands.
        let main = reader.layers.get(MAIN_KEY).and_then(|setting| Some((api_key(&setting.value).ok()?, setting.at())));
        let keys = main.into_iter().map(|(key, at)| (key.public().to_owned(), at)).collect();
        Self { names: Vec::new(), keys }
    }

    fn key(&mut self, key: ApiKey, setting: &Setting, reader: &mut Reader) -> Read<ApiKey> {
        if let Some((_, first)) = self.keys.iter().find(|(public, _)| public == key.public()) {
            let text = "found the same public key in both, expected an account of Refersion's for each";
            return Err(reader.problems.note(Problem::between(first, &setting.at(), text)));
        }
        self.keys.push((key.public().to_owned(), setting.at()));
        Ok(key)
    }
}
