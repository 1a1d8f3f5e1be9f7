//! All configuration keys: for each its section, its name, the kind of its value, the parser that makes the value a `T`, and whether
//! a change needs a restart.
//!
//! A key is written once, here; everything else names its constant. A constant is named like the key's environment variable:
//! the key `k` of the section `s` is `S_K`. [`KEYS`], the list of all keys, is made from the same lines.
//! Deliberately absent: the meaning, unit and default of a key: `config/default.toml` has them, and tests compare the two.

use super::values::{self, Parsed};
use super::{LogFormat, StoreUrl};
use crate::delivery::{Learn, OnDelete, OnExisting, OnOtherUser, OnStale};
use crate::domain::{AffiliateStatus, ApiKey, SealKey};
use secrecy::SecretString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;
use toml::Value;
use url::Url;

/// A key whose value is a `T`.
pub(super) struct Key<T> {
    /// Its section, name and kind.
    pub(super) spec: KeySpec,
    /// From a value as written to a checked `T`.
    pub(super) parse: fn(&Value) -> Parsed<T>,
}

/// A key without the type of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySpec {
    /// The section, e.g. `refersion`.
    pub section: &'static str,
    /// The name within the section, e.g. `api_key`.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: ValueKind,
    /// Whether a change takes effect at the next start only: what was opened or bound with the value stays as it is.
    pub needs_restart: bool,
}

/// The kind of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueKind {
    /// One value, or a list of values.
    Plain,
    /// Like `Plain`, but never shown; it can also be read from the file that the variable `S_K_FILE` names.
    Secret,
    /// A table: written as TOML in the environment, and merged with lower layers entry by entry.
    Table,
    /// A list of tables: written as TOML in the environment.
    Tables,
}

/// Defines a constant for each key, and [`KEYS`].
macro_rules! keys {
    ($($constant:ident: $type:ty = $key:expr;)*) => {
        $(pub(super) const $constant: $type = $key;)*

        /// Every key, in the order of the manual.
        pub const KEYS: &[KeySpec] = &[$($constant.spec()),*];
    };
}

keys! {
    REFERSION_API_KEY: Key<ApiKey> = secret("refersion", "api_key", values::api_key);
    REFERSION_BASE_URL: Key<Url> = plain("refersion", "base_url", values::base_url);
    REFERSION_ALLOW_PLAIN_HTTP: Key<bool> = plain("refersion", "allow_plain_http", values::boolean);
    REFERSION_STATUS: Key<AffiliateStatus> = plain("refersion", "status", values::initial_status);
    REFERSION_OFFER: Key<String> = plain("refersion", "offer", values::id);
    REFERSION_SEND_WELCOME: Key<bool> = plain("refersion", "send_welcome", values::boolean);
    REFERSION_TIMEOUT: Key<Duration> = plain("refersion", "timeout", values::duration);
    REFERSION_CONCURRENCY: Key<NonZeroUsize> = plain("refersion", "concurrency", values::concurrency);
    REFERSION_MAX_REQUESTS_PER_SECOND: Key<f64> = plain("refersion", "max_requests_per_second", values::above_zero);
    SEGMENT_SHARED_SECRETS: Key<Vec<SecretString>> = secret("segment", "shared_secrets", values::shared_secrets);
    SEGMENT_ACCEPT_ANY_API_KEY: Key<bool> = plain("segment", "accept_any_api_key", values::boolean).at_start();
    SEGMENT_TRUSTED_PROJECTS: Key<Vec<String>> = plain("segment", "trusted_projects", values::texts);
    CONNECT_CLIENT_ID: Key<String> = plain("connect", "client_id", values::text).at_start();
    CONNECT_CLIENT_SECRET: Key<SecretString> = secret("connect", "client_secret", values::client_secret).at_start();
    CONNECT_REDIRECT_URL: Key<Url> = plain("connect", "redirect_url", values::redirect_url).at_start();
    CONNECT_SCOPE: Key<String> = plain("connect", "scope", values::scope).at_start();
    CONNECT_AUTH_BASE_URL: Key<Url> = plain("connect", "auth_base_url", values::base_url).at_start();
    CONNECT_API_BASE_URL: Key<Url> = plain("connect", "api_base_url", values::base_url).at_start();
    SERVER_LISTEN: Key<SocketAddr> = plain("server", "listen", values::listen).at_start();
    SERVER_WAIT: Key<Duration> = plain("server", "wait", values::duration_or_zero);
    SERVER_DRAIN: Key<Duration> = plain("server", "drain", values::duration).at_start();
    OPS_LISTEN: Key<SocketAddr> = plain("ops", "listen", values::listen).at_start();
    OPS_TOKEN: Key<SecretString> = secret("ops", "token", values::token).at_start();
    STORE_URL: Key<StoreUrl> = secret("store", "url", values::store_url).at_start();
    STORE_DEDUPLICATION_WINDOW: Key<Duration> = plain("store", "deduplication_window", values::duration).at_start();
    STORE_DEDUPLICATION_MEMORY_MB: Key<usize> = plain("store", "deduplication_memory_mb", values::megabytes).at_start();
    STORE_LEDGER_WINDOW: Key<Duration> = plain("store", "ledger_window", values::duration).at_start();
    STORE_LEASE: Key<Duration> = plain("store", "lease", values::lease).at_start();
    STORE_SEAL_KEY: Key<Vec<SealKey>> = secret("store", "seal_key", values::seal_keys).at_start();
    DELIVERY_RETRY_MIN: Key<Duration> = plain("delivery", "retry_min", values::duration);
    DELIVERY_RETRY_MAX: Key<Duration> = plain("delivery", "retry_max", values::duration);
    DELIVERY_MAX_AGE: Key<Duration> = plain("delivery", "max_age", values::duration);
    DELIVERY_MAX_BACKLOG: Key<u64> = plain("delivery", "max_backlog", values::at_least_one).at_start();
    DELIVERY_ON_EXISTING: Key<OnExisting> = plain("delivery", "on_existing", values::on_existing);
    DELIVERY_ON_DELETE: Key<OnDelete> = plain("delivery", "on_delete", values::on_delete);
    DELIVERY_ON_OTHER_USER: Key<OnOtherUser> = plain("delivery", "on_other_user", values::on_other_user);
    DELIVERY_STALE: Key<OnStale> = plain("delivery", "stale", values::on_stale);
    DELIVERY_LEARN: Key<Learn> = plain("delivery", "learn", values::learn);
    MAPPING_MISSING_NAME: Key<String> = plain("mapping", "missing_name", values::text);
    MAPPING_IGNORED_USER_IDS: Key<Vec<String>> = plain("mapping", "ignored_user_ids", values::texts);
    MAPPING_PAYPAL_EMAIL: Key<bool> = plain("mapping", "paypal_email", values::boolean);
    MAPPING_REMEMBER_TRAITS: Key<Option<Duration>> = plain("mapping", "remember_traits", values::duration_or_off);
    MAPPING_CUSTOM_FIELDS: KeySpec = spec("mapping", "custom_fields", ValueKind::Table);
    MAPPING_AUDIENCES: KeySpec = spec("mapping", "audiences", ValueKind::Tables);
    MAPPING_CREATE_IF: KeySpec = spec("mapping", "create_if", ValueKind::Table);
    LOG_FORMAT: Key<LogFormat> = plain("log", "format", values::log_format).at_start();
    LOG_FILTER: Key<String> = plain("log", "filter", values::log_filter);
}

const fn spec(section: &'static str, name: &'static str, kind: ValueKind) -> KeySpec {
    KeySpec { section, name, kind, needs_restart: false }
}

const fn plain<T>(section: &'static str, name: &'static str, parse: fn(&Value) -> Parsed<T>) -> Key<T> {
    Key { spec: spec(section, name, ValueKind::Plain), parse }
}

const fn secret<T>(section: &'static str, name: &'static str, parse: fn(&Value) -> Parsed<T>) -> Key<T> {
    Key { spec: spec(section, name, ValueKind::Secret), parse }
}

impl<T> Key<T> {
    /// The same key, of which a change takes effect at the next start only.
    const fn at_start(mut self) -> Self {
        self.spec.needs_restart = true;
        self
    }

    const fn spec(&self) -> KeySpec {
        self.spec
    }
}

impl KeySpec {
    const fn spec(self) -> Self {
        self
    }

    /// The key as files spell it, e.g. `refersion.api_key`.
    pub fn path(self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The key as the environment spells it, e.g. `REFERSION_API_KEY`.
    pub fn env(self) -> String {
        format!("{}_{}", self.section, self.name).to_uppercase()
    }

    /// The variable that names a file with the secret, e.g. `REFERSION_API_KEY_FILE`; only secrets have one.
    pub fn env_file(self) -> Option<String> {
        (self.kind == ValueKind::Secret).then(|| format!("{}_FILE", self.env()))
    }
}

/// The names of all sections, in the order of the manual.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    sections
}

/// The keys of one section.
pub(super) fn of_section(section: &str) -> impl Iterator<Item = KeySpec> {
    KEYS.iter().copied().filter(move |key| key.section == section)
}
