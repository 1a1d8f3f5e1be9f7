//! The table of all keys, and the one rule that names them: key `k` of section `s` is `S_K` in the environment.
//!
//! What a key means, its unit and its default stand in `config/default.toml`; tests hold the two together.

/// A key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The section, e.g. `refersion`.
    pub section: &'static str,
    /// The name within the section, e.g. `api_key`.
    pub name: &'static str,
    /// What its value is made of.
    pub kind: Kind,
}

/// What the value of a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value, or a list of them.
    Plain,
    /// As plain, but never shown, and also read from the file that `S_K_FILE` names.
    Secret,
    /// A table: TOML in the environment too, and merged with lower layers entry by entry.
    Table,
    /// A list of tables: TOML in the environment too.
    Tables,
}

use Kind::{Plain, Secret, Table, Tables};

/// Every key, in the order of the manual.
pub const KEYS: &[Key] = &[
    key("refersion", "api_key", Secret),
    key("refersion", "base_url", Plain),
    key("refersion", "status", Plain),
    key("refersion", "offer", Plain),
    key("refersion", "send_welcome", Plain),
    key("refersion", "timeout", Plain),
    key("refersion", "concurrency", Plain),
    key("refersion", "max_requests_per_second", Plain),
    key("segment", "shared_secrets", Secret),
    key("segment", "accept_any_api_key", Plain),
    key("server", "listen", Plain),
    key("server", "wait", Plain),
    key("server", "drain", Plain),
    key("ops", "listen", Plain),
    key("store", "url", Plain),
    key("store", "deduplication_window", Plain),
    key("store", "deduplication_memory_mb", Plain),
    key("store", "seal_key", Secret),
    key("delivery", "retry_min", Plain),
    key("delivery", "retry_max", Plain),
    key("delivery", "max_age", Plain),
    key("delivery", "max_backlog", Plain),
    key("delivery", "on_existing", Plain),
    key("delivery", "on_delete", Plain),
    key("mapping", "missing_name", Plain),
    key("mapping", "custom_fields", Table),
    key("mapping", "audiences", Tables),
    key("mapping", "create_if", Table),
    key("log", "format", Plain),
    key("log", "filter", Plain),
];

const fn key(section: &'static str, name: &'static str, kind: Kind) -> Key {
    Key { section, name, kind }
}

impl Key {
    /// The key as files spell it, e.g. `refersion.api_key`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The key as the environment spells it, e.g. `REFERSION_API_KEY`.
    pub fn env(&self) -> String {
        format!("{}_{}", self.section, self.name).to_uppercase()
    }

    /// The variable that names a file with the secret, e.g. `REFERSION_API_KEY_FILE`; secrets alone have one.
    pub fn env_file(&self) -> Option<String> {
        (self.kind == Secret).then(|| format!("{}_FILE", self.env()))
    }
}

/// The names of all sections, in the order of the manual.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    sections
}

/// The keys of one section.
pub(super) fn of_section(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section == section)
}

/// The name that `wrong` was most likely meant to be: off by one letter in three at most, a swap counting once.
pub(super) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    let near = |name: &&str| distance(name) <= (wrong.chars().count().min(name.chars().count()) / 3).max(1);
    known.into_iter().filter(near).min_by_key(|name| distance(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_another_word_does_not() {
        let known = ["format", "filter", "timeout", "url"];
        for (wrong, meant) in [
            ("fitler", Some("filter")),
            ("tmeout", Some("timeout")),
            ("TIMEOUT", Some("timeout")),
            ("uri", Some("url")),
            ("file", None),
            ("level", None),
            ("time", None),
        ] {
            assert_eq!(nearest(wrong, known), meant, "{wrong}");
        }
    }
}
