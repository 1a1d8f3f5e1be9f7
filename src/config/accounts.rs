//! Reads `[[accounts]]`: the configuration of every account beside `main`.
//!
//! In: the layers. Out: one complete [`AccountConfig`] for each table. An account's overrides replace values in a copy of the layers, and
//! the copy is read like the sections, so that each rule is checked in one place. Invariant: the name, the API key and the shared secrets
//! of an account never come from a section. Deliberately absent: accounts in the environment, which would need a notation for lists of
//! secrets; and merging of tables: an account's table replaces the table of the section, because the ids of offers and custom fields differ
//! between accounts.

use super::changes::SettingsAsWritten;
use super::did_you_mean::unknown;
use super::environment::secret_in;
use super::layers::{Layers, SettingValue, kind_of};
use super::problem::{ConfigProblem, Problems};
use super::read::{Read, Reader, check, read_all};
use super::settings::{Setting, SettingSpec, ValueKind};
use super::values::Parsed;
use super::{Mode, base_url, rules, settings};
use crate::domain::{AccountName, ApiKey};
use crate::mapping::Rules;
use secrecy::SecretString;
use std::num::NonZeroUsize;
use toml::{Table, Value};
use url::Url;

/// The settings that differ between accounts.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// Its name; different in every account.
    pub name: AccountName,
    /// The API key; its public half is different in every account.
    pub api_key: ApiKey,
    /// A signature made with any of them is accepted; none is empty.
    pub shared_secrets: Vec<SecretString>,
    /// https; or http to a loopback address, or to any with `allow_plain_http`. Its path ends with `/`.
    pub base_url: Url,
    /// Requests in flight at once, at most: 1 to 1024.
    pub concurrency: NonZeroUsize,
    /// Above zero. `None`: no fixed limit.
    pub max_requests_per_second: Option<f64>,
    /// How events are mapped and affiliates created.
    pub rules: Rules,
}

/// The settings of sections that an account may set for itself, by the same name.
const OVERRIDES: [SettingSpec; 14] = [
    settings::REFERSION_BASE_URL.spec,
    settings::REFERSION_STATUS.spec,
    settings::REFERSION_OFFER.spec,
    settings::REFERSION_SEND_WELCOME.spec,
    settings::REFERSION_CONCURRENCY.spec,
    settings::REFERSION_MAX_REQUESTS_PER_SECOND.spec,
    settings::SEGMENT_TRUSTED_PROJECTS.spec,
    settings::MAPPING_MISSING_NAME.spec,
    settings::MAPPING_IGNORED_USER_IDS.spec,
    settings::MAPPING_PAYPAL_EMAIL.spec,
    settings::MAPPING_REMEMBER_TRAITS.spec,
    settings::MAPPING_CUSTOM_FIELDS,
    settings::MAPPING_AUDIENCES,
    settings::MAPPING_CREATE_IF,
];
/// The settings that an account has only for itself, never from a section.
const OWN: [&str; 5] = ["name", "api_key", "api_key_file", "shared_secrets", "shared_secrets_file"];
/// The secrets among them; each may be read from the file that `<name>_file` names.
const SECRETS: [&str; 2] = ["api_key", "shared_secrets"];
const MAX_NAME_LENGTH: usize = 40;

/// Reads all accounts of `[[accounts]]`, or notes every problem.
pub(super) fn read(reader: &mut Reader, mode: Mode) -> Read<Vec<AccountConfig>> {
    // Taken out meanwhile, because the layers are copied for each account.
    let Some(setting) = reader.layers.accounts.take() else { return Ok(Vec::new()) };
    let accounts = read_tables(&setting, reader, mode);
    reader.layers.accounts = Some(setting);
    accounts
}

fn read_tables(setting: &SettingValue, reader: &mut Reader, mode: Mode) -> Read<Vec<AccountConfig>> {
    let Value::Array(items) = &setting.value else {
        let text = format!("found {}, expected a list of tables: [[accounts]]", kind_of(&setting.value));
        return Err(reader.problems.note(setting.problem(text)));
    };
    if mode == Mode::Sandbox && !items.is_empty() {
        let text =
            format!("found {}, expected none with --sandbox, which simulates the account main alone", items.len());
        reader.problems.push(setting.problem(text));
    }
    let mut unique = UniqueAccounts::new(reader);
    let accounts =
        (1..).zip(items).map(|(n, item)| account(&setting.inner(&format!(" #{n}"), item), &mut unique, reader));
    accounts.collect::<Vec<_>>().into_iter().collect()
}

fn account(setting: &SettingValue, unique: &mut UniqueAccounts, reader: &mut Reader) -> Read<AccountConfig> {
    let Value::Table(table) = &setting.value else {
        // The value is not shown: it may be an API key in the wrong place.
        let text = format!("found {}, expected a table with `name` and `api_key`", kind_of(&setting.value));
        return Err(reader.problems.note(setting.problem(text)));
    };
    let allowed: Vec<_> = OWN.into_iter().chain(OVERRIDES.map(|spec| spec.name)).collect();
    for name in table.keys().filter(|name| !allowed.contains(&name.as_str())) {
        let location = format!("{}.{name}", setting.name);
        reader.problems.push(ConfigProblem::new(
            &location,
            &setting.origin,
            unknown("unknown setting", name, &allowed),
        ));
    }
    let name = name_of(setting, table, unique, reader);
    let api_key = match secret(setting, table, &settings::REFERSION_API_KEY, reader) {
        Ok(Some((api_key, written))) => unique.api_key(api_key, &written, reader).map(|api_key| (api_key, written)),
        Ok(None) => {
            let text = "found no `api_key`, expected `api_key` or `api_key_file`";
            Err(reader.problems.note(setting.problem(text)))
        }
        Err(noted) => Err(noted),
    };
    let secrets = secret(setting, table, &settings::SEGMENT_SHARED_SECRETS, reader);
    if let (Ok(name), Ok((_, api_key)), Ok(secrets)) = (&name, &api_key, &secrets) {
        note_written(setting, table, name, [Some(api_key), secrets.as_ref().map(|(_, written)| written)], reader);
    }
    let mut own = Reader {
        layers: overlaid(setting, table, reader),
        problems: Problems::default(),
        warnings: Vec::new(),
        written: SettingsAsWritten::default(),
    };
    let account = read_all!(AccountConfig {
        name: name,
        api_key: api_key.map(|(api_key, _)| api_key),
        shared_secrets: secrets.map(|found| found.map(|(secrets, _)| secrets).unwrap_or_default()),
        base_url: base_url::read(&mut own),
        concurrency: own.value(&settings::REFERSION_CONCURRENCY),
        max_requests_per_second: own.optional(&settings::REFERSION_MAX_REQUESTS_PER_SECOND),
        rules: rules::read(&mut own),
    });
    reader.problems.add_new(&own.problems);
    own.warnings.retain(|warning| !reader.warnings.contains(warning));
    reader.warnings.append(&mut own.warnings);
    account
}

/// Notes the settings of the account as written, and its secrets as they were read: one for each name of [`SECRETS`].
fn note_written(
    setting: &SettingValue,
    table: &Table,
    name: &AccountName,
    secrets: [Option<&SettingValue>; 2],
    reader: &mut Reader,
) {
    let path = |inner: &str| format!("accounts.{name}.{inner}");
    for (inner, value) in table.iter().filter(|(inner, _)| !OWN.contains(&inner.as_str())) {
        reader.written.add(path(inner), &setting.inner(&format!(".{inner}"), value), false);
    }
    for (secret, found) in SECRETS.into_iter().zip(secrets) {
        if let Some(found) = found {
            reader.written.add(path(secret), found, true);
        }
        let file = table.get(&format!("{secret}_file")).and_then(Value::as_str);
        reader.written.secret_files.extend(file.map(|path| path.trim().into()));
    }
}

fn name_of(
    setting: &SettingValue,
    table: &Table,
    unique: &mut UniqueAccounts,
    reader: &mut Reader,
) -> Read<AccountName> {
    let Some(value) = table.get("name") else {
        return Err(reader.problems.note(setting.problem("found no `name`, expected the account's name")));
    };
    let setting = setting.inner(".name", value);
    let name = check(&setting, name, &mut reader.problems)?;
    if name == AccountName::main() {
        let text = "found \"main\", which is the account of [refersion] and [segment]; expected another name";
        return Err(reader.problems.note(setting.problem(text)));
    }
    if unique.names.contains(&name) {
        let text = format!("found {:?} again; expected each name once", name.as_str());
        return Err(reader.problems.note(setting.problem(text)));
    }
    unique.names.push(name.clone());
    Ok(name)
}

fn name(value: &Value) -> Parsed<AccountName> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let expected = format!("expected a name of 1 to {MAX_NAME_LENGTH} of a–z, 0–9, `-` and `_`");
    match value.as_str() {
        Some(text) if (1..=MAX_NAME_LENGTH).contains(&text.len()) && text.bytes().all(allowed) => {
            Ok(AccountName::from(text.to_owned()))
        }
        // The value is not shown: it may be an API key in the wrong place.
        Some(text) if text.contains('.') || text.len() > MAX_NAME_LENGTH => {
            Err(format!("found a text (not shown), {expected}"))
        }
        Some(text) => Err(format!("found {text:?}, {expected}")),
        None => Err(format!("found {}, {expected}", kind_of(value))),
    }
}

/// The secret of an account, and the value it was parsed from: in the account's table, or in the file that `<name>_file` names.
fn secret<T>(
    setting: &SettingValue,
    table: &Table,
    secret: &Setting<T>,
    reader: &mut Reader,
) -> Read<Option<(T, SettingValue)>> {
    let Some(found) = secret_text(setting, table, secret.spec.name, reader)? else { return Ok(None) };
    Ok(Some((check(&found, secret.parse, &mut reader.problems)?, found)))
}

fn secret_text(setting: &SettingValue, table: &Table, name: &str, reader: &mut Reader) -> Read<Option<SettingValue>> {
    let file_name = format!("{name}_file");
    let inner = |name: &str| table.get(name).map(|value| setting.inner(&format!(".{name}"), value));
    let (given, file) = (inner(name), inner(&file_name));
    let Some(file) = file else { return Ok(given) };
    if let Some(given) = given {
        let text = format!("found beside {file_name}, expected only one of the two");
        return Err(reader.problems.note(given.problem(text)));
    }
    let path = |value: &Value| match value.as_str() {
        Some(path) => secret_in(path.trim()),
        None => Err(format!("found {}, expected the path of the secret's file", kind_of(value))),
    };
    let text = check(&file, path, &mut reader.problems)?;
    Ok(Some(SettingValue { value: Value::String(text), ..file }))
}

/// A copy of the layers in which the account's overrides replace the values of the sections.
fn overlaid(setting: &SettingValue, table: &Table, reader: &mut Reader) -> Layers {
    let mut layers = reader.layers.clone();
    for spec in OVERRIDES {
        let name = spec.name;
        let Some(value) = table.get(name) else { continue };
        let setting = setting.inner(&format!(".{name}"), value);
        let expected = match (spec.kind, value) {
            (ValueKind::Table, Value::Table(_))
            | (ValueKind::Tables, Value::Array(_))
            | (ValueKind::Plain | ValueKind::Secret, _) => None,
            (ValueKind::Table, _) => Some(format!("expected a table, such as [accounts.{name}]")),
            (ValueKind::Tables, _) => Some(format!("expected a list of tables: [[accounts.{name}]]")),
        };
        match expected {
            Some(expected) => {
                let text = format!("found {}, {expected}", kind_of(value));
                reader.problems.push(setting.problem(text));
            }
            None => layers.replace(spec, setting, &mut reader.problems),
        }
    }
    layers
}

/// Names and API keys read so far, which no other account may have.
struct UniqueAccounts {
    names: Vec<AccountName>,
    /// The public half of each API key, and the location of its setting.
    api_keys: Vec<(String, String)>,
}

impl UniqueAccounts {
    fn new(reader: &Reader) -> Self {
        // An invalid API key is reported when its own setting is read.
        let main = reader.layers.get(settings::REFERSION_API_KEY.spec);
        let main = main
            .and_then(|setting| Some(((settings::REFERSION_API_KEY.parse)(&setting.value).ok()?, setting.location())));
        let api_keys = main.into_iter().map(|(key, at)| (key.public().to_owned(), at)).collect();
        Self { names: Vec::new(), api_keys }
    }

    fn api_key(&mut self, api_key: ApiKey, setting: &SettingValue, reader: &mut Reader) -> Read<ApiKey> {
        if let Some((_, first)) = self.api_keys.iter().find(|(public, _)| public == api_key.public()) {
            let text = "found the same public key in both, expected an account of Refersion's for each";
            return Err(reader.problems.note(ConfigProblem::between(first, &setting.location(), text)));
        }
        self.api_keys.push((api_key.public().to_owned(), setting.location()));
        Ok(api_key)
    }
}
