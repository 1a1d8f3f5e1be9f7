//! Typed reading of the layers: each read returns a checked value, or notes a problem.
//!
//! A section reads all its settings before it uses any of the results ([`read_all`]), so one run reports every problem.

use super::Mode;
use super::changes::SettingsAsWritten;
use super::layers::{Layers, SettingValue};
use super::problem::{ConfigProblem, Noted, Problems, SettingOrigin, Warning};
use super::settings::{STORE_SEAL_KEY, Setting, SettingSpec};
use super::values::{Parsed, found};
use toml::Value;

/// A value, or the mark that its problem has been noted.
pub(super) type Read<T> = Result<T, Noted>;

/// A struct of values. All of them are read before any error counts.
macro_rules! read_all {
    ($type:ident { $($field:ident: $read:expr),+ $(,)? }) => {
        match ($($read,)+) {
            ($(Ok($field),)+) => Ok($type { $($field),+ }),
            _ => Err($crate::config::problem::Noted),
        }
    };
}
pub(super) use read_all;

/// Reads layers, and collects problems and warnings.
pub(super) struct Reader {
    pub(super) layers: Layers,
    pub(super) problems: Problems,
    pub(super) warnings: Vec<Warning>,
    /// Every setting as it was written.
    pub(super) written: SettingsAsWritten,
}

impl Reader {
    /// The value of a setting that has a default.
    pub(super) fn value<T>(&mut self, setting: &Setting<T>) -> Read<T> {
        self.optional(setting)?.ok_or_else(|| {
            // Cannot happen: the manual has a value for each such setting, which a test checks.
            self.problems.note(ConfigProblem::new(
                &setting.spec.path(),
                &SettingOrigin::Whole,
                "has no default and no value",
            ))
        })
    }

    /// The value of a setting that may be absent.
    pub(super) fn optional<T>(&mut self, setting: &Setting<T>) -> Read<Option<T>> {
        let value = self.layers.get(setting.spec);
        value.map(|value| check(value, setting.parse, &mut self.problems)).transpose()
    }

    /// Notes that a required setting is missing; `text` says why it is required and how to set it.
    pub(super) fn missing(&mut self, spec: SettingSpec, text: &str) {
        // The setting may be in a source that could not be read, which is a separate problem.
        if !self.layers.incomplete {
            self.problems.push(ConfigProblem::new(&spec.path(), &SettingOrigin::Whole, text));
        }
    }

    /// Notes that a service needs a seal key, and has none; `why`, and what else can be done about it.
    pub(super) fn require_seal_key(&mut self, mode: Mode, why: &str, or: &str) {
        if mode == Mode::Live && self.layers.get(STORE_SEAL_KEY.spec).is_none() {
            let text = format!(
                "{why}: set STORE_SEAL_KEY, or STORE_SEAL_KEY_FILE to a file that holds it, to what `openssl rand -base64 32` \
                 prints{or}"
            );
            self.missing(STORE_SEAL_KEY.spec, &text);
        }
    }

    /// Notes that a valid value is not allowed here; `expected`: what is.
    pub(super) fn refuse(&mut self, spec: SettingSpec, expected: &str) -> Noted {
        if let Some(setting) = self.layers.get(spec) {
            self.problems.push(setting.problem(format!("found {}, expected {expected}", found(&setting.value))));
        }
        Noted
    }

    /// Notes that two valid values contradict each other; `expected`: which ones do not.
    pub(super) fn conflict(&mut self, one: SettingSpec, other: SettingSpec, expected: &str) {
        if let (Some(one), Some(other)) = (self.layers.get(one), self.layers.get(other)) {
            let text = format!("found {} and {}, expected {expected}", found(&one.value), found(&other.value));
            self.problems.push(ConfigProblem::between(&one.location(), &other.location(), text));
        }
    }

    /// Warns of a valid value with these consequences, which the operator may not expect. The value is shown; `consequences` follows it,
    /// and begins with the punctuation between the two.
    pub(super) fn warn(&mut self, spec: SettingSpec, consequences: &str) {
        if let Some(setting) = self.layers.get(spec) {
            self.warnings.push(setting.problem(format!("found {}{consequences}", found(&setting.value))));
        }
    }
}

/// Parses one setting, and notes a problem if it is not valid.
pub(super) fn check<T>(
    setting: &SettingValue,
    parse: impl FnOnce(&Value) -> Parsed<T>,
    problems: &mut Problems,
) -> Read<T> {
    parse(&setting.value).map_err(|text| problems.note(setting.problem(text)))
}
