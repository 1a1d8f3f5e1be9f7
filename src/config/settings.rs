//! The list of all settings: for each its section, its name, the kind of its value, the parser that makes the value a `T`, and whether a
//! change needs a restart.
//!
//! The name and parser of a setting are written once, here; all other code names its constant. A constant is named like the environment
//! variable of the setting: the setting `n` of the section `s` is `S_N`. The list [`SETTINGS`] is made from the same lines.
//!
//! To add a setting: (1) its meaning, unit and default in `config/default.toml`; (2) its constant here; (3) its field in the section's
//! struct, which is read in `config/sections.rs` (of an account: `config/accounts.rs`); (4) if a change takes effect without a restart, its
//! copy in `config/changes.rs` (`reloaded`). A test fails without (1) or (2), the compiler without (3).
//!
//! Deliberately absent: the meaning, unit and default of a setting: `config/default.toml` has them, and tests compare the two.

use super::values::{self, Parsed, choice};
use super::{LogFormat, StoreUrl};
use crate::delivery::{Learn, OnDelete, OnExisting, OnOtherUser, OnStale};
use crate::domain::{AffiliateStatus, ApiKey, SealKey};
use secrecy::SecretString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;
use toml::Value;
use url::Url;

/// A setting whose value is a `T`.
pub(super) struct Setting<T> {
    /// Its section, name and kind.
    pub(super) spec: SettingSpec,
    /// From a value as written to a checked `T`.
    pub(super) parse: fn(&Value) -> Parsed<T>,
}

/// A setting without the type of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingSpec {
    /// The section, e.g. `refersion`.
    pub section: &'static str,
    /// The name within the section, e.g. `api_key`.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: ValueKind,
    /// Whether a change takes effect only at the next start, because the value was used to open or bind something.
    pub needs_restart: bool,
}

/// The kind of value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueKind {
    /// One value, or a list of values.
    Plain,
    /// Like `Plain`, but never shown; it can also be read from the file that the variable `S_N_FILE` names.
    Secret,
    /// A table: written as TOML in the environment, and merged with lower layers entry by entry.
    Table,
    /// A list of tables: written as TOML in the environment.
    Tables,
}

/// Defines a constant for each setting, and [`SETTINGS`].
macro_rules! settings {
    ($($constant:ident: $type:ty = $setting:expr;)*) => {
        $(pub(super) const $constant: $type = $setting;)*

        /// Every setting, in the order of the manual.
        pub const SETTINGS: &[SettingSpec] = &[$($constant.spec()),*];
    };
}

settings! {
    REFERSION_API_KEY: Setting<ApiKey> = secret("refersion", "api_key", values::api_key);
    REFERSION_BASE_URL: Setting<Url> = plain("refersion", "base_url", values::base_url);
    REFERSION_ALLOW_PLAIN_HTTP: Setting<bool> = plain("refersion", "allow_plain_http", values::boolean);
    REFERSION_STATUS: Setting<AffiliateStatus> = plain("refersion", "status", |value| {
        choice(value, &[("PENDING", AffiliateStatus::Pending), ("ACTIVE", AffiliateStatus::Active)])
    });
    REFERSION_OFFER: Setting<String> = plain("refersion", "offer", values::id);
    REFERSION_SEND_WELCOME: Setting<bool> = plain("refersion", "send_welcome", values::boolean);
    REFERSION_TIMEOUT: Setting<Duration> = plain("refersion", "timeout", values::duration);
    REFERSION_CONCURRENCY: Setting<NonZeroUsize> = plain("refersion", "concurrency", values::concurrency);
    REFERSION_MAX_REQUESTS_PER_SECOND: Setting<f64> = plain("refersion", "max_requests_per_second", values::above_zero);
    SEGMENT_SHARED_SECRETS: Setting<Vec<SecretString>> = secret("segment", "shared_secrets", values::shared_secrets);
    SEGMENT_ACCEPT_ANY_API_KEY: Setting<bool> = plain("segment", "accept_any_api_key", values::boolean).at_start();
    SEGMENT_TRUSTED_PROJECTS: Setting<Vec<String>> = plain("segment", "trusted_projects", values::texts);
    CONNECT_CLIENT_ID: Setting<String> = plain("connect", "client_id", values::text).at_start();
    CONNECT_CLIENT_SECRET: Setting<SecretString> = secret("connect", "client_secret", values::client_secret).at_start();
    CONNECT_REDIRECT_URL: Setting<Url> = plain("connect", "redirect_url", values::redirect_url).at_start();
    CONNECT_SCOPE: Setting<String> = plain("connect", "scope", values::scope).at_start();
    CONNECT_AUTH_BASE_URL: Setting<Url> = plain("connect", "auth_base_url", values::base_url).at_start();
    CONNECT_API_BASE_URL: Setting<Url> = plain("connect", "api_base_url", values::base_url).at_start();
    SERVER_LISTEN: Setting<SocketAddr> = plain("server", "listen", values::listen).at_start();
    SERVER_WAIT: Setting<Duration> = plain("server", "wait", values::duration_or_zero);
    SERVER_DRAIN: Setting<Duration> = plain("server", "drain", values::duration).at_start();
    OPS_LISTEN: Setting<SocketAddr> = plain("ops", "listen", values::listen).at_start();
    OPS_TOKEN: Setting<SecretString> = secret("ops", "token", values::token).at_start();
    OPS_METRICS_ACCOUNTS: Setting<usize> = plain("ops", "metrics_accounts", values::count_from_one).at_start();
    STORE_URL: Setting<StoreUrl> = secret("store", "url", values::store_url).at_start();
    STORE_DEDUPLICATION_WINDOW: Setting<Duration> = plain("store", "deduplication_window", values::duration).at_start();
    STORE_DEDUPLICATION_MEMORY_MB: Setting<usize> = plain("store", "deduplication_memory_mb", values::megabytes).at_start();
    STORE_LEDGER_WINDOW: Setting<Duration> = plain("store", "ledger_window", values::duration).at_start();
    STORE_LEASE: Setting<Duration> = plain("store", "lease", values::lease).at_start();
    STORE_SEAL_KEY: Setting<Vec<SealKey>> = secret("store", "seal_key", values::seal_keys).at_start();
    DELIVERY_RETRY_MIN: Setting<Duration> = plain("delivery", "retry_min", values::duration);
    DELIVERY_RETRY_MAX: Setting<Duration> = plain("delivery", "retry_max", values::duration);
    DELIVERY_MAX_AGE: Setting<Duration> = plain("delivery", "max_age", values::duration);
    DELIVERY_MAX_BACKLOG: Setting<u64> = plain("delivery", "max_backlog", values::at_least_one).at_start();
    DELIVERY_ON_EXISTING: Setting<OnExisting> = plain("delivery", "on_existing", |value| {
        choice(value, &[("update", OnExisting::Update), ("ignore", OnExisting::Ignore)])
    });
    DELIVERY_ON_DELETE: Setting<OnDelete> = plain("delivery", "on_delete", |value| {
        choice(value, &[("disable", OnDelete::Disable), ("anonymize", OnDelete::Anonymize)])
    });
    DELIVERY_ON_OTHER_USER: Setting<OnOtherUser> = plain("delivery", "on_other_user", |value| {
        choice(value, &[("ignore", OnOtherUser::Ignore), ("update", OnOtherUser::Update)])
    });
    DELIVERY_STALE: Setting<OnStale> = plain("delivery", "stale", |value| {
        choice(value, &[("ignore", OnStale::Ignore), ("apply", OnStale::Apply)])
    });
    DELIVERY_LEARN: Setting<Learn> = plain("delivery", "learn", |value| {
        choice(value, &[("off", Learn::Off), ("once", Learn::Once), ("daily", Learn::Daily)])
    });
    MAPPING_MISSING_NAME: Setting<String> = plain("mapping", "missing_name", values::text);
    MAPPING_IGNORED_USER_IDS: Setting<Vec<String>> = plain("mapping", "ignored_user_ids", values::texts);
    MAPPING_PAYPAL_EMAIL: Setting<bool> = plain("mapping", "paypal_email", values::boolean);
    MAPPING_REMEMBER_TRAITS: Setting<Option<Duration>> = plain("mapping", "remember_traits", values::duration_or_off);
    MAPPING_CUSTOM_FIELDS: SettingSpec = spec("mapping", "custom_fields", ValueKind::Table);
    MAPPING_AUDIENCES: SettingSpec = spec("mapping", "audiences", ValueKind::Tables);
    MAPPING_CREATE_IF: SettingSpec = spec("mapping", "create_if", ValueKind::Table);
    LOG_FORMAT: Setting<LogFormat> = plain("log", "format", |value| {
        choice(value, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
    }).at_start();
    LOG_FILTER: Setting<String> = plain("log", "filter", values::log_filter);
}

const fn spec(section: &'static str, name: &'static str, kind: ValueKind) -> SettingSpec {
    SettingSpec { section, name, kind, needs_restart: false }
}

const fn plain<T>(section: &'static str, name: &'static str, parse: fn(&Value) -> Parsed<T>) -> Setting<T> {
    Setting { spec: spec(section, name, ValueKind::Plain), parse }
}

const fn secret<T>(section: &'static str, name: &'static str, parse: fn(&Value) -> Parsed<T>) -> Setting<T> {
    Setting { spec: spec(section, name, ValueKind::Secret), parse }
}

impl<T> Setting<T> {
    /// The same setting, whose change takes effect only at the next start.
    const fn at_start(mut self) -> Self {
        self.spec.needs_restart = true;
        self
    }

    const fn spec(&self) -> SettingSpec {
        self.spec
    }
}

impl SettingSpec {
    const fn spec(self) -> Self {
        self
    }

    /// The name of the setting in files, e.g. `refersion.api_key`.
    pub fn path(self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The name of the setting in the environment, e.g. `REFERSION_API_KEY`.
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
    let mut sections: Vec<_> = SETTINGS.iter().map(|setting| setting.section).collect();
    sections.dedup();
    sections
}

/// The settings of one section.
pub(super) fn of_section(section: &str) -> impl Iterator<Item = SettingSpec> {
    SETTINGS.iter().copied().filter(move |setting| setting.section == section)
}
