//! The configuration of the service: typed, complete and checked.
//!
//! In: the manual (`config/default.toml`, compiled in), files, and the environment as an argument. Out: a [`Config`], or every
//! problem at once, each with its origin, the value that was found and the values that are allowed. Invariants: a `Config` is valid
//! and need not be checked again; no problem, no warning and no `Debug` output contains a secret. Deliberately absent: reading the
//! process's environment or arguments, and opening a port or a store.
//!
//! `settings` lists all settings, each with its type. `layers` and `environment` collect their values; `values` parses one value;
//! `sections`, `connect`, `rules`, `base_url` and `accounts` read typed values through `read`; `problem` describes an invalid configuration
//! to an operator, `did_you_mean` suggests names; `changes` compares two configurations.

mod accounts;
mod base_url;
mod changes;
mod connect;
mod did_you_mean;
mod environment;
mod layers;
mod problem;
mod read;
mod rules;
mod sections;
mod settings;
mod values;

pub use accounts::AccountConfig;
pub use changes::ChangedSetting;
pub use problem::{ConfigProblem, Problems, Warning};
pub use settings::{SETTINGS, SettingSpec, ValueKind};

use crate::delivery::{Learn, Policy};
use crate::domain::{AccountName, ApiKey, SealKey};
use crate::mapping::Rules;
use crate::scheduling::Backoff;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// The manual of every setting, and the lowest layer: `config/default.toml`.
pub const MANUAL: &str = include_str!("../../config/default.toml");

/// All settings. [`MANUAL`] explains each of them, under the same name.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[refersion]`: how Refersion is called.
    pub refersion: RefersionConfig,
    /// `[segment]`: how requests are authenticated.
    pub segment: SegmentConfig,
    /// `[connect]`: the app at Segment by which merchants connect. `None`: there is none.
    pub connect: Option<ConnectConfig>,
    /// `[server]`: the public listener.
    pub server: ServerConfig,
    /// `[ops]`: the operators' listener.
    pub ops: OpsConfig,
    /// `[store]`: the event log and everything else that is kept.
    pub store: StoreConfig,
    /// `[delivery]`: how events are delivered.
    pub delivery: DeliveryConfig,
    /// `[log]`: what is logged.
    pub log: LogConfig,
    /// `[mapping]`, the settings of `[refersion]` about new affiliates, and `[segment] trusted_projects`.
    pub rules: Rules,
    /// `[[accounts]]`: the accounts beside `main`, which the sections describe.
    pub accounts: Vec<AccountConfig>,
    /// Every setting as written, for [`Config::changes`].
    written: changes::SettingsAsWritten,
}

/// `[refersion]`, without the settings in [`Rules`].
#[derive(Clone, Debug)]
pub struct RefersionConfig {
    /// The API key of the account `main`. In [`Mode::Live`] it is `None` only if there are other accounts or any API key is accepted.
    pub api_key: Option<ApiKey>,
    /// https; or http to a loopback address, or to any with `allow_plain_http`. Its path ends with `/`, so `join("affiliate/new")`
    /// appends.
    pub base_url: Url,
    /// The timeout of one request; above zero.
    pub timeout: Duration,
    /// Requests in flight at once, at most: 1 to 1024.
    pub concurrency: NonZeroUsize,
    /// Above zero. `None`: no fixed limit.
    pub max_requests_per_second: Option<f64>,
}

/// `[segment]`
#[derive(Clone, Debug)]
pub struct SegmentConfig {
    /// A signature made with any of them is accepted; none is empty.
    pub shared_secrets: Vec<SecretString>,
    /// Whether a request may bring an API key that is not configured. If so, there is a seal key in [`Mode::Live`].
    pub accept_any_api_key: bool,
}

/// `[connect]`
#[derive(Clone, Debug)]
pub struct ConnectConfig {
    /// The app's client id.
    pub client_id: String,
    /// The app's client secret.
    pub client_secret: SecretString,
    /// The URL to which Segment sends a merchant back: https, or http to a loopback address; its path ends with `/connect/callback`.
    /// `None`, only in a trial: at the address of the public listener.
    pub redirect_url: Option<Url>,
    /// `destination/` and the slug of the destination.
    pub scope: String,
    /// The base URL of Segment's OAuth: https, or http to a loopback address. Its path ends with `/`.
    pub auth_base_url: Url,
    /// The base URL of Segment's Config API; likewise.
    pub api_base_url: Url,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address of the public listener.
    pub listen: SocketAddr,
    /// How long a response waits for the delivery; may be zero.
    pub wait: Duration,
    /// The grace period of a shutdown: how long requests in flight and deliveries in flight may take to finish; above zero.
    pub drain: Duration,
}

/// `[ops]`
#[derive(Clone, Debug)]
pub struct OpsConfig {
    /// The address of the operators' listener; its port is not the server's.
    pub listen: SocketAddr,
    /// The token of operators: at least 16 characters of ASCII. `None`: nothing can be changed through the listener.
    pub token: Option<SecretString>,
    /// The number of configured accounts with separate metrics and charts; above zero. Further ones share theirs.
    pub metrics_accounts: usize,
}

/// `[store]`
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Its location.
    pub url: StoreUrl,
    /// How long the id of an event is remembered; above zero.
    pub deduplication_window: Duration,
    /// How much memory these ids may take, in bytes; older ids are looked up on disk.
    pub deduplication_memory: usize,
    /// How long the ledger knows an event; above zero.
    pub ledger_window: Duration,
    /// If several processes share a store: after this time without a heartbeat, others take over the accounts of a process.
    pub lease: Duration,
    /// The seal keys, which encrypt API keys in the store: the first seals, all of them open.
    pub seal_keys: Vec<SealKey>,
}

/// The location of a store, by engine.
#[derive(Clone, Debug)]
pub enum StoreUrl {
    /// A database file. A relative path is relative to the working directory. The folder may not exist yet.
    Sqlite(PathBuf),
    /// A URL of PostgreSQL, which may contain a password. The engine checks everything after the scheme.
    Postgres(SecretString),
}

impl StoreUrl {
    /// Parses a URL as `STORE_URL` has it. The error says what was found and what is allowed, and shows no password.
    pub fn parse(text: &str) -> Result<Self, String> {
        values::store_url(&toml::Value::String(text.to_owned()))
    }
}

/// `[delivery]`
#[derive(Clone, Debug)]
pub struct DeliveryConfig {
    /// Both bounds are above zero, and the lower one is not above the upper one.
    pub backoff: Backoff,
    /// How long an event may keep failing before it becomes a dead letter; above zero.
    pub max_age: Duration,
    /// How many pending events an account may have; at least one.
    pub max_backlog: u64,
    /// The delivery policy: affiliates that existed before, deletes, older facts, other owners.
    pub policy: Policy,
    /// Whether affiliates are learned from Refersion's list.
    pub learn: Learn,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The format of log lines.
    pub format: LogFormat,
    /// The filter directives, as `tracing_subscriber`'s `Targets` accepts them.
    pub filter: String,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// The use of the configuration, which determines the required settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Calls Refersion: an API key is required.
    Live,
    /// Calls the simulated Refersion (`--sandbox`).
    Sandbox,
    /// Makes no calls (`map`).
    Offline,
}

impl Config {
    /// Every account that has an API key: `main` first, then those of `[[accounts]]` in their order.
    pub fn every_account(&self) -> Vec<AccountConfig> {
        let main = self.refersion.api_key.clone().map(|api_key| AccountConfig {
            shared_secrets: self.segment.shared_secrets.clone(),
            ..self.account(AccountName::main(), api_key)
        });
        main.into_iter().chain(self.accounts.iter().cloned()).collect()
    }

    /// The account of this name that has an API key; without a name, the first one.
    pub fn account_or_first(&self, name: Option<&str>) -> Option<AccountConfig> {
        self.every_account().into_iter().find(|account| name.is_none_or(|name| account.name.as_str() == name))
    }

    /// An account that has every setting from the sections, and no shared secrets.
    pub fn account(&self, name: AccountName, api_key: ApiKey) -> AccountConfig {
        AccountConfig {
            name,
            api_key,
            shared_secrets: Vec::new(),
            base_url: self.refersion.base_url.clone(),
            concurrency: self.refersion.concurrency,
            max_requests_per_second: self.refersion.max_requests_per_second,
            rules: self.rules.clone(),
        }
    }

    /// The mapping rules of the account of this name; those of the sections if it is not in `[[accounts]]`.
    pub fn rules_of(&self, account: &str) -> &Rules {
        let configured = self.accounts.iter().find(|configured| configured.name.as_str() == account);
        configured.map_or(&self.rules, |configured| &configured.rules)
    }

    /// Reads the manual, then the files that `CONFIG_FILES` in `env` names, then `files`, each in their order, then `env`; a later
    /// layer wins. An empty variable counts as not set. Reads only these files and the files that `…_FILE` variables name.
    pub fn load(
        files: &[PathBuf],
        env: impl Iterator<Item = (String, String)>,
        mode: Mode,
    ) -> Result<(Self, Vec<Warning>), Problems> {
        let mut reader = read_layers(files, env);
        let config = sections::config(&mut reader, mode);
        reader.problems.sort();
        match config {
            Ok(config) if reader.problems.is_empty() => Ok((config, reader.warnings)),
            _ => Err(reader.problems),
        }
    }

    /// The address of the operators' listener, from the same layers as [`Config::load`], and the problems of these layers. `None`: the
    /// address itself is not valid. A mistake elsewhere, which was made since the start, does not matter for the running service.
    pub fn ops_listen(
        files: &[PathBuf],
        env: impl Iterator<Item = (String, String)>,
    ) -> (Option<SocketAddr>, Problems) {
        let mut reader = read_layers(files, env);
        let listen = reader.value(&settings::OPS_LISTEN).ok();
        (listen, reader.problems)
    }
}

/// All layers, and the problems of those that cannot be read.
fn read_layers(files: &[PathBuf], env: impl Iterator<Item = (String, String)>) -> read::Reader {
    let (mut layers, mut problems) = (layers::Layers::default(), Problems::default());
    let env: BTreeMap<String, String> = env.collect();
    layers.text(MANUAL, &problem::SettingOrigin::Default, &mut problems);
    for (order, path) in environment::config_files(&env).iter().chain(files).enumerate() {
        layers.file(order, path, &mut problems);
    }
    let warnings = environment::apply(&mut layers, env, &mut problems);
    read::Reader { layers, problems, warnings, written: changes::SettingsAsWritten::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(env: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), Problems> {
        Config::load(&[], env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())), Mode::Offline)
    }

    #[test]
    fn the_manual_gives_the_default_rules() {
        let (config, warnings) = load(&[]).expect("the manual is a configuration");
        assert_eq!(config.rules, Rules::default());
        assert_eq!(config.delivery.policy, Policy::default());
        assert_eq!(warnings, []);
    }

    #[test]
    fn joining_appends_to_the_base_url() {
        for base in ["https://api.refersion.com/v2", "https://api.refersion.com/v2/"] {
            let (config, _) = load(&[("REFERSION_BASE_URL", base)]).expect("valid");
            let joined = config.refersion.base_url.join("affiliate/new").expect("joins");
            assert_eq!(joined.as_str(), "https://api.refersion.com/v2/affiliate/new");
        }
    }
}
