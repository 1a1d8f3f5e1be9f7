//! The differences between two configurations, and which of them need a restart.
//!
//! In: the settings of both, as they were written. Out: one [`ChangedSetting`] for each setting that differs. A setting is compared as
//! written, so every setting of [`SETTINGS`] is covered, also a new one. Invariant: no secret is shown, also not in `Debug`. Deliberately
//! absent: applying a change.

use super::layers::{Layers, SettingValue};
use super::settings::{SETTINGS, ValueKind};
use super::{Config, DeliveryConfig, LogConfig, SegmentConfig, ServerConfig};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use toml::Value;
use utoipa::ToSchema;

/// Every setting that has a value, by its path.
#[derive(Clone, Default)]
pub(super) struct SettingsAsWritten {
    settings: BTreeMap<String, Value>,
    secrets: BTreeSet<String>,
    /// The files that secrets were read from.
    pub(super) secret_files: BTreeSet<PathBuf>,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedSetting {
    /// Its name, such as `refersion.concurrency`.
    pub setting: String,
    /// Its former value, as written; `null` if it was not set. A secret is not shown.
    pub before: Option<String>,
    /// Its new value; `null` if it is not set any more.
    pub after: Option<String>,
    /// Whether it takes effect at the next start only.
    pub needs_restart: bool,
    /// The whole result in words.
    pub text: String,
}

impl SettingsAsWritten {
    /// Adds every setting of the layers except `[[accounts]]`.
    pub(super) fn add_layers(&mut self, layers: &Layers) {
        self.secret_files.extend(layers.secret_files.iter().cloned());
        for spec in SETTINGS {
            match spec.kind {
                ValueKind::Table => {
                    let entries =
                        layers.entries(*spec).map(|(name, setting)| (format!("{}.{name}", spec.path()), setting));
                    self.settings.extend(entries.map(|(path, setting)| (path, setting.value.clone())));
                }
                ValueKind::Plain | ValueKind::Tables | ValueKind::Secret => {
                    let Some(setting) = layers.get(*spec) else { continue };
                    self.add(spec.path(), setting, spec.kind == ValueKind::Secret);
                }
            }
        }
    }

    /// Adds one setting.
    pub(super) fn add(&mut self, path: String, setting: &SettingValue, is_secret: bool) {
        if is_secret {
            self.secrets.insert(path.clone());
        }
        self.settings.insert(path, setting.value.clone());
    }

    /// The settings after a reload to `new`: those that need a restart as they are here, the others as in `new`.
    fn reloaded(&self, new: &Self) -> Self {
        let kept = self.settings.iter().filter(|(path, _)| needs_restart(path));
        let replaced = new.settings.iter().filter(|(path, _)| !needs_restart(path));
        let settings = kept.chain(replaced).map(|(path, value)| (path.clone(), value.clone())).collect();
        let secrets = self.secrets.union(&new.secrets).cloned().collect();
        Self { settings, secrets, secret_files: new.secret_files.clone() }
    }

    fn changes(&self, new: &Self) -> Vec<ChangedSetting> {
        let paths: BTreeSet<&String> = self.settings.keys().chain(new.settings.keys()).collect();
        let differ = paths.into_iter().filter(|path| self.settings.get(*path) != new.settings.get(*path));
        differ.map(|path| self.change(new, path)).collect()
    }

    fn change(&self, new: &Self, path: &str) -> ChangedSetting {
        let is_secret = self.secrets.contains(path) || new.secrets.contains(path);
        let (before, after) = (self.settings.get(path), new.settings.get(path));
        let after_secret = if before.is_some() { "another secret" } else { "a secret" };
        let shown = |value: Option<&Value>, secret: &str| {
            value.map(|value| if is_secret { secret.to_owned() } else { text(value) })
        };
        let (before, after, needs_restart) =
            (shown(before, "a secret"), shown(after, after_secret), needs_restart(path));
        let [from, to] = [&before, &after].map(|value| value.as_deref().unwrap_or("not set"));
        let when = if needs_restart { " (at the next start)" } else { "" };
        let text = format!("{path}: {from} → {to}{when}");
        ChangedSetting { setting: path.to_owned(), before, after, needs_restart, text }
    }
}

/// A value as JSON, which is similar to its written form.
fn text(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Whether a change of the setting takes effect only at the next start.
fn needs_restart(path: &str) -> bool {
    SETTINGS.iter().any(|spec| spec.needs_restart && spec.path() == path)
}

impl Config {
    /// The settings that differ in `new`.
    pub fn changes(&self, new: &Self) -> Vec<ChangedSetting> {
        self.written.changes(&new.written)
    }

    /// The configuration after a reload to `new`: it keeps the settings that need a restart.
    #[must_use]
    pub fn reloaded(&self, new: Self) -> Self {
        let written = self.written.reloaded(&new.written);
        Self {
            refersion: new.refersion,
            segment: SegmentConfig { accept_any_api_key: self.segment.accept_any_api_key, ..new.segment },
            connect: self.connect.clone(),
            server: ServerConfig { wait: new.server.wait, ..self.server.clone() },
            ops: self.ops.clone(),
            store: self.store.clone(),
            delivery: DeliveryConfig { max_backlog: self.delivery.max_backlog, ..new.delivery },
            log: LogConfig { format: self.log.format, ..new.log },
            rules: new.rules,
            accounts: new.accounts,
            written,
        }
    }

    /// The files that secrets were read from.
    pub fn secret_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.written.secret_files.iter()
    }
}

impl fmt::Debug for SettingsAsWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SettingsAsWritten(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::*;

    fn load(files: &[&str], env: &[(&str, &str)]) -> Config {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |(n, text): (usize, &&str)| {
            let path = folder.path().join(format!("{n}.toml"));
            std::fs::write(&path, text).expect("writes");
            path
        };
        let files: Vec<PathBuf> = files.iter().enumerate().map(path).collect();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(&files, env, Mode::Offline).expect("a configuration").0
    }

    fn shown(old: &Config, new: &Config) -> Vec<String> {
        old.changes(new).into_iter().map(|change| change.text).collect()
    }

    const ACCOUNT: &str = "[[accounts]]\nname = \"b\"\napi_key = \"pub_b.sec_b\"\n";

    #[test]
    fn every_setting_that_differs_is_named_and_no_secret_is_shown() {
        let old = load(&["[refersion]\nconcurrency = 16"], &[("REFERSION_API_KEY", "pub_a.sec_a")]);
        assert_eq!(shown(&old, &old), [""; 0]);
        let more =
            format!("[refersion]\nconcurrency = 8\n[mapping.custom_fields]\nplan = \"7\"\n{ACCOUNT}offer = \"9\"\n");
        let env = [("REFERSION_API_KEY", "pub_a.sec_other"), ("STORE_URL", "sqlite://other.db")];
        let new = load(&[&more], &env);
        let expected = [
            "accounts.b.api_key: not set → a secret",
            "accounts.b.offer: not set → \"9\"",
            "mapping.custom_fields.plan: not set → \"7\"",
            "refersion.api_key: a secret → another secret",
            "refersion.concurrency: 16 → 8",
            "store.url: a secret → another secret (at the next start)",
        ];
        assert_eq!(shown(&old, &new), expected);
        assert!(!format!("{old:?}{new:?}{:?}", old.changes(&new)).contains("sec_"));
    }

    #[test]
    fn a_setting_that_needs_a_restart_stays_as_it_was_and_is_named_until_then() {
        let old = load(&[], &[("REFERSION_API_KEY", "pub_a.sec_a")]);
        let env = [("REFERSION_API_KEY", "pub_a.sec_a"), ("OPS_LISTEN", "127.0.0.1:9"), ("SERVER_WAIT", "1s")];
        let new = load(&[], &env);
        let reloaded = old.reloaded(new.clone());
        assert_eq!((reloaded.ops.listen, reloaded.server.wait), (old.ops.listen, new.server.wait));
        assert_eq!(shown(&reloaded, &new), [r#"ops.listen: "127.0.0.1:9090" → "127.0.0.1:9" (at the next start)"#]);
        assert_eq!(shown(&reloaded, &old), [r#"server.wait: "1s" → "2s""#]);
    }

    /// Of each setting, a valid value that is not the default. `REFERSION_ALLOW_PLAIN_HTTP` is none of a [`Config`]'s values.
    const OTHER_VALUES: [(&str, &str); 46] = [
        ("REFERSION_API_KEY", "pub_a.sec_a"),
        ("REFERSION_BASE_URL", "https://localhost/v2"),
        ("REFERSION_STATUS", "ACTIVE"),
        ("REFERSION_OFFER", "1"),
        ("REFERSION_SEND_WELCOME", "true"),
        ("REFERSION_TIMEOUT", "7s"),
        ("REFERSION_CONCURRENCY", "7"),
        ("REFERSION_MAX_REQUESTS_PER_SECOND", "7"),
        ("SEGMENT_SHARED_SECRETS", "abc123"),
        ("SEGMENT_ACCEPT_ANY_API_KEY", "true"),
        ("SEGMENT_TRUSTED_PROJECTS", "a"),
        ("CONNECT_CLIENT_ID", "b"),
        ("CONNECT_REDIRECT_URL", "https://b/connect/callback"),
        ("CONNECT_SCOPE", "destination/b"),
        ("CONNECT_AUTH_BASE_URL", "https://localhost"),
        ("CONNECT_API_BASE_URL", "https://localhost"),
        ("SERVER_LISTEN", "127.0.0.1:7"),
        ("SERVER_WAIT", "1s"),
        ("SERVER_DRAIN", "1s"),
        ("OPS_LISTEN", "127.0.0.1:7"),
        ("OPS_TOKEN", "0123456789abcdef"),
        ("OPS_METRICS_ACCOUNTS", "7"),
        ("STORE_URL", "sqlite://other.db"),
        ("STORE_DEDUPLICATION_WINDOW", "5h"),
        ("STORE_DEDUPLICATION_MEMORY_MB", "7"),
        ("STORE_LEDGER_WINDOW", "8d"),
        ("STORE_LEASE", "7s"),
        ("STORE_SEAL_KEY", "c2VhbC1rZXktb25lLW9mLXRoaXJ0eS10d28tYnl0ZXM="),
        ("DELIVERY_RETRY_MIN", "7ms"),
        ("DELIVERY_RETRY_MAX", "7d"),
        ("DELIVERY_MAX_AGE", "7s"),
        ("DELIVERY_MAX_BACKLOG", "7"),
        ("DELIVERY_ON_EXISTING", "ignore"),
        ("DELIVERY_ON_DELETE", "anonymize"),
        ("DELIVERY_ON_OTHER_USER", "update"),
        ("DELIVERY_STALE", "apply"),
        ("DELIVERY_LEARN", "daily"),
        ("MAPPING_MISSING_NAME", "n/a"),
        ("MAPPING_IGNORED_USER_IDS", "none"),
        ("MAPPING_PAYPAL_EMAIL", "true"),
        ("MAPPING_REMEMBER_TRAITS", "7d"),
        ("MAPPING_CUSTOM_FIELDS", r#"{ plan = "7" }"#),
        ("MAPPING_AUDIENCES", r#"[{ trait = "vip", on_true = { offer = "7" } }]"#),
        ("MAPPING_CREATE_IF", r#"{ trait = "a", equals = "b" }"#),
        ("LOG_FORMAT", "json"),
        ("LOG_FILTER", "debug"),
    ];

    #[test]
    fn a_reload_takes_every_setting_but_those_that_need_a_restart() {
        const CONNECT: [(&str, &str); 3] = [
            ("CONNECT_CLIENT_ID", "a"),
            ("CONNECT_CLIENT_SECRET", "a"),
            ("CONNECT_REDIRECT_URL", "https://a/connect/callback"),
        ];
        let (old, text) = (load(&[], &CONNECT), |config: &Config| format!("{config:?}"));
        // The first has no separate field; the second is not shown, and is kept together with its section.
        let not_seen = ["REFERSION_ALLOW_PLAIN_HTTP", "CONNECT_CLIENT_SECRET"];
        for spec in SETTINGS.iter().filter(|spec| !not_seen.contains(&&*spec.env())) {
            let name = spec.env();
            let other = OTHER_VALUES.iter().find(|(own, _)| *own == name).expect(&name);
            let new = load(&[], &[&CONNECT[..], &[*other]].concat());
            assert_ne!(text(&new), text(&old), "{name}");
            let is_kept = text(&old.reloaded(new)) == text(&old);
            assert_eq!(is_kept, spec.needs_restart, "{name}");
        }
    }

    #[test]
    fn the_files_that_hold_secrets_are_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("writes");
            path
        };
        let (key, secrets) = (write("key", "pub_a.sec_a"), write("secrets", "abc123"));
        let account =
            format!("[[accounts]]\nname = \"b\"\napi_key = \"pub_b.sec_b\"\nshared_secrets_file = {secrets:?}\n");
        let config = load(&[&account], &[("REFERSION_API_KEY_FILE", &key.to_string_lossy())]);
        assert_eq!(config.secret_files().collect::<Vec<_>>(), [&key, &secrets]);
    }

    /// The manual says of each of these settings that it takes effect at the next start, and of no other.
    #[test]
    fn the_manual_says_which_settings_take_effect_at_the_next_start() {
        for spec in SETTINGS {
            let name = format!("\n# {}", spec.env());
            let (before, _) = super::super::MANUAL.split_once(&name).expect("in the manual");
            let paragraph = before.rsplit("\n\n").next().expect("a paragraph");
            let says = paragraph.replace("\n# ", " ").contains("takes effect at the next start");
            assert_eq!(says, spec.needs_restart, "{}", spec.path());
        }
    }
}
