//! Typed reading of the layers: each read returns a checked value, or notes a problem.
//!
//! A section reads all of its keys before it uses `?` on any of the results. That way one run reports every problem.

use super::changes::SettingsAsWritten;
use super::keys::{Key, KeySpec};
use super::layers::{Layers, Setting};
use super::problem::{ConfigProblem, Noted, Problems, SettingOrigin, Warning};
use super::values::Parsed;
use toml::Value;

/// A value that was read, or the mark that its problem has been noted.
pub(super) type Read<T> = Result<T, Noted>;

/// Reads layers, and collects problems and warnings.
pub(super) struct Reader {
    pub(super) layers: Layers,
    pub(super) problems: Problems,
    pub(super) warnings: Vec<Warning>,
    /// Every setting as it was written.
    pub(super) written: SettingsAsWritten,
}

impl Reader {
    /// The value of a key that has a default.
    pub(super) fn value<T>(&mut self, key: &Key<T>) -> Read<T> {
        self.optional(key)?.ok_or_else(|| {
            // Cannot happen: the manual has a value for each such key, which a test checks.
            self.problems.note(ConfigProblem::new(
                &key.spec.path(),
                &SettingOrigin::Whole,
                "has no default and no value",
            ))
        })
    }

    /// The value of a key that may be absent.
    pub(super) fn optional<T>(&mut self, key: &Key<T>) -> Read<Option<T>> {
        let setting = self.layers.get(key.spec);
        setting.map(|setting| check(setting, key.parse, &mut self.problems)).transpose()
    }

    /// Notes that a required key is missing; `text` says why it is required and how to set it.
    pub(super) fn missing(&mut self, key: KeySpec, text: &str) {
        // It may be set in a source that could not be read, which is a problem of its own.
        if !self.layers.incomplete {
            self.problems.push(ConfigProblem::new(&key.path(), &SettingOrigin::Whole, text));
        }
    }

    /// Notes that a valid value is not allowed in this mode.
    pub(super) fn refuse(&mut self, key: KeySpec, text: impl FnOnce(&Value) -> String) {
        if let Some(setting) = self.layers.get(key) {
            self.problems.push(setting.problem(text(&setting.value)));
        }
    }

    /// Notes that two valid values contradict each other.
    pub(super) fn conflict(&mut self, one: KeySpec, other: KeySpec, text: impl FnOnce(&Value, &Value) -> String) {
        if let (Some(one), Some(other)) = (self.layers.get(one), self.layers.get(other)) {
            let text = text(&one.value, &other.value);
            self.problems.push(ConfigProblem::between(&one.location(), &other.location(), text));
        }
    }

    /// Warns of a valid value with consequences that the operator may not expect.
    pub(super) fn warn(&mut self, key: KeySpec, text: impl FnOnce(&Value) -> String) {
        if let Some(setting) = self.layers.get(key) {
            self.warnings.push(Warning::new(&setting.name, &setting.origin, text(&setting.value)));
        }
    }
}

/// Parses one setting, and notes a problem if it is not valid.
pub(super) fn check<T>(setting: &Setting, parse: impl FnOnce(&Value) -> Parsed<T>, problems: &mut Problems) -> Read<T> {
    parse(&setting.value).map_err(|text| problems.note(setting.problem(text)))
}
