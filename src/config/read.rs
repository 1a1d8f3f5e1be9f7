//! Typed reading of the layers: each read gives a checked value, or notes a problem and goes on to the next.
//!
//! A section reads all of its keys before it asks, by `?`, whether it has them: so no problem hides another.

use super::keys::{Key, KeySpec};
use super::layers::{Layers, Setting};
use super::problem::{Noted, Origin, Problem, Problems, Warning};
use super::values::Parsed;
use toml::Value;

/// What was read, unless a problem was noted instead.
pub(super) type Read<T> = Result<T, Noted>;

/// Reads layers, collecting what is wrong with them.
pub(super) struct Reader {
    pub(super) layers: Layers,
    pub(super) problems: Problems,
    pub(super) warnings: Vec<Warning>,
}

impl Reader {
    /// The value of a key that has a default.
    pub(super) fn value<T>(&mut self, key: &Key<T>) -> Read<T> {
        self.optional(key)?.ok_or_else(|| {
            // Cannot happen while every such key stands in the manual, which a test holds.
            self.problems.note(Problem::new(&key.spec.path(), &Origin::Whole, "has no default and no value"))
        })
    }

    /// The value of a key that may be absent.
    pub(super) fn optional<T>(&mut self, key: &Key<T>) -> Read<Option<T>> {
        let setting = self.layers.get(key.spec);
        setting.map(|setting| check(setting, key.parse, &mut self.problems)).transpose()
    }

    /// Notes that `key` is needed and absent; `text` says what for and how to set it.
    pub(super) fn missing(&mut self, key: KeySpec, text: &str) {
        // It may stand in a source that could not be read, which is told already.
        if !self.layers.incomplete {
            self.problems.push(Problem::new(&key.path(), &Origin::Whole, text));
        }
    }

    /// Notes that a value, all right by itself, cannot be had here.
    pub(super) fn reject(&mut self, key: KeySpec, text: impl FnOnce(&Value) -> String) {
        if let Some(setting) = self.layers.get(key) {
            self.problems.push(setting.problem(text(&setting.value)));
        }
    }

    /// Notes that two values, each all right by itself, do not go together.
    pub(super) fn conflict(&mut self, one: KeySpec, other: KeySpec, text: impl FnOnce(&Value, &Value) -> String) {
        if let (Some(one), Some(other)) = (self.layers.get(one), self.layers.get(other)) {
            let text = text(&one.value, &other.value);
            self.problems.push(Problem::between(&one.at(), &other.at(), text));
        }
    }

    /// Notes that a value holds, but will surprise.
    pub(super) fn warn(&mut self, key: KeySpec, text: impl FnOnce(&Value) -> String) {
        if let Some(setting) = self.layers.get(key) {
            self.warnings.push(Warning::new(&setting.name, &setting.origin, text(&setting.value)));
        }
    }
}

/// Parses one setting, noting what is wrong with it.
pub(super) fn check<T>(setting: &Setting, parse: impl FnOnce(&Value) -> Parsed<T>, problems: &mut Problems) -> Read<T> {
    parse(&setting.value).map_err(|text| problems.note(setting.problem(text)))
}
