//! The layers of a configuration: the manual's defaults, then files, then the environment; a later layer wins.
//!
//! In: TOML texts, and values from the environment. Out: for each setting the value of the highest layer, with its origin. Tables are
//! merged entry by entry, and each entry keeps its own origin; all other values are replaced as a whole. An unknown section or setting is a
//! problem here. Deliberately absent: the check of a value, which its parser makes ([`super::values`]).

use super::did_you_mean::{nearest, unknown};
use super::problem::{ConfigProblem, Problems, SettingOrigin, either};
use super::settings::{SETTINGS, SettingSpec, ValueKind, of_section, sections};
use super::values::found;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The list of further accounts: the only name at the top level that is no section.
const ACCOUNTS: &str = "accounts";

/// A value and its origin. It has no `Debug`, because the value may be a secret.
#[derive(Clone)]
pub(super) struct SettingValue {
    /// The name of the setting as its source spells it.
    pub(super) name: String,
    pub(super) origin: SettingOrigin,
    pub(super) value: Value,
}

impl SettingValue {
    /// `DELIVERY_RETRY_MIN (environment)`
    pub(super) fn location(&self) -> String {
        format!("{} ({})", self.name, self.origin)
    }

    /// A problem with its value.
    pub(super) fn problem(&self, text: impl Into<String>) -> ConfigProblem {
        ConfigProblem::new(&self.name, &self.origin, text)
    }

    /// A setting inside this one. `name` is appended to the name of this one: `.trait`, ` #1`.
    pub(super) fn inner(&self, name: &str, value: &Value) -> Self {
        Self { name: format!("{}{name}", self.name), origin: self.origin.clone(), value: value.clone() }
    }
}

/// All layers read so far.
#[derive(Clone, Default)]
pub(super) struct Layers {
    settings: BTreeMap<SettingSpec, SettingValue>,
    entries: BTreeMap<SettingSpec, BTreeMap<String, SettingValue>>,
    /// `[[accounts]]`, from the highest layer that has any.
    pub(super) accounts: Option<SettingValue>,
    /// Whether a source could not be read: a setting that seems missing may be set there.
    pub(super) incomplete: bool,
    /// The files that secrets were read from.
    pub(super) secret_files: Vec<PathBuf>,
}

impl Layers {
    /// The value of a setting, from the highest layer that has one.
    pub(super) fn get(&self, spec: SettingSpec) -> Option<&SettingValue> {
        self.settings.get(&spec)
    }

    /// The entries of the table `spec` by name, each from the highest layer that has it.
    pub(super) fn entries(&self, spec: SettingSpec) -> impl Iterator<Item = (&String, &SettingValue)> {
        self.entries.get(&spec).into_iter().flatten()
    }

    /// Sets one value, in a layer above all others.
    pub(super) fn put(&mut self, spec: SettingSpec, setting: SettingValue, problems: &mut Problems) {
        if spec.kind == ValueKind::Table {
            let Value::Table(table) = &setting.value else {
                let text = format!("found {}, expected a table, such as [{}]", found(&setting.value), spec.path());
                return problems.push(setting.problem(text));
            };
            let entries = self.entries.entry(spec).or_default();
            for (name, value) in table {
                entries.insert(name.clone(), setting.inner(&format!(".{name}"), value));
            }
        }
        self.settings.insert(spec, setting);
    }

    /// Sets one value instead of the values of all layers. An empty table removes the setting.
    pub(super) fn replace(&mut self, spec: SettingSpec, setting: SettingValue, problems: &mut Problems) {
        self.settings.remove(&spec);
        self.entries.remove(&spec);
        if !setting.value.as_table().is_some_and(Table::is_empty) {
            self.put(spec, setting, problems);
        }
    }

    /// Adds a file as the highest layer.
    pub(super) fn file(&mut self, order: usize, path: &Path, problems: &mut Problems) {
        let origin = SettingOrigin::File { order, path: path.to_owned() };
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&text, &origin, problems),
            Err(error) => {
                self.incomplete = true;
                problems.push(ConfigProblem::file(&origin, format!("cannot be read: {error}; expected a TOML file")));
            }
        }
    }

    /// Adds the text of a file as the highest layer.
    pub(super) fn text(&mut self, text: &str, origin: &SettingOrigin, problems: &mut Problems) {
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => {
                self.incomplete = true;
                return problems.push(ConfigProblem::file(origin, syntax(text, error)));
            }
        };
        for (section, value) in table {
            match value {
                _ if section == ACCOUNTS => {
                    self.accounts = Some(SettingValue { name: section, origin: origin.clone(), value });
                }
                _ if !sections().contains(&section.as_str()) => {
                    problems.push(ConfigProblem::new(&section, origin, unknown_section(&section, &value)));
                }
                Value::Table(settings) => self.section(&section, settings, origin, problems),
                other => {
                    let text = format!("found {}, expected a section: [{section}]", kind_of(&other));
                    problems.push(ConfigProblem::new(&section, origin, text));
                }
            }
        }
    }

    fn section(&mut self, section: &str, settings: Table, origin: &SettingOrigin, problems: &mut Problems) {
        for (name, value) in settings {
            let path = format!("{section}.{name}");
            match of_section(section).find(|spec| spec.name == name) {
                Some(spec) => self.put(spec, SettingValue { name: path, origin: origin.clone(), value }, problems),
                None => problems.push(ConfigProblem::new(&path, origin, unknown_setting(section, &name))),
            }
        }
    }
}

/// Why a text is not TOML: the position and the parser's message. The error itself is not shown, because it quotes the line, which
/// may contain a secret.
fn syntax(text: &str, last: toml::de::Error) -> String {
    let offset = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    // `parse` returns only the last error, which is often a consequence of the first.
    let (_, errors) = toml::de::DeTable::parse_recoverable(text);
    let first = errors.into_iter().min_by_key(offset).unwrap_or(last);
    let (line, column) = position(text, offset(&first));
    format!("line {line}, column {column}: not TOML: {}", first.message())
}

/// The line and column of an offset, counted from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The kind of a value. A value in the wrong place is not shown itself, because it may be a secret.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn unknown_section(wrong: &str, value: &Value) -> String {
    let homes: Vec<_> =
        SETTINGS.iter().filter(|spec| spec.name == wrong).map(|spec| format!("[{}]", spec.section)).collect();
    match nearest(wrong, sections()) {
        None if nearest(wrong, [ACCOUNTS]).is_some() => format!("unknown section; did you mean [[{ACCOUNTS}]]?"),
        _ if !value.is_table() && !homes.is_empty() => {
            format!("found outside of any section; `{wrong}` belongs under {}", either(&homes))
        }
        Some(meant) => format!("unknown section; did you mean [{meant}]?"),
        None => {
            let mut all: Vec<_> = sections().iter().map(|section| format!("[{section}]")).collect();
            all.push(format!("[[{ACCOUNTS}]]"));
            format!("unknown section; expected {}", either(&all))
        }
    }
}

fn unknown_setting(section: &str, wrong: &str) -> String {
    let homes: Vec<_> =
        SETTINGS.iter().filter(|spec| spec.name == wrong).map(|spec| format!("[{}]", spec.section)).collect();
    if !homes.is_empty() {
        return format!("unknown setting; `{wrong}` belongs under {}", either(&homes));
    }
    let names: Vec<_> = of_section(section).map(|spec| spec.name).collect();
    unknown("unknown setting", wrong, &names)
}
