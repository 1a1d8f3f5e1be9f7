//! The configuration: typed, complete and already checked.
//!
//! In go the manual (`config/default.toml`, compiled in), files, and the environment as an argument; out comes a [`Config`],
//! or every problem at once, each with where it came from, what was found and what is allowed. Invariants: whoever holds a
//! `Config` need not check it again; no secret is part of a problem, a warning or `Debug`. Deliberately absent: reading the
//! process's environment or arguments, and anything that opens a port or a store.
//!
//! `keys` is the table of all keys; `layers` and `environment` gather what was written; `values` says what one value may be;
//! `sections`, `rules` and `accounts` read it all through `read`; `problem` is how it is told.

mod accounts;
mod did_you_mean;
mod environment;
mod keys;
mod layers;
mod problem;
mod read;
mod rules;
mod sections;
mod values;

pub use accounts::AccountConfig;
pub use keys::{KEYS, KeySpec, Kind};
pub use problem::{Problem, Problems, Warning};

use crate::delivery::Policy;
use crate::domain::{AccountName, ApiKey, SealKey};
use crate::mapping::Rules;
use crate::scheduling::Backoff;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// The manual of every setting, and the lowest layer: `config/default.toml`.
pub const MANUAL: &str = include_str!("../../config/default.toml");

/// Everything the operator decided. What each value means stands in [`MANUAL`], under the same name.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[refersion]`: how Refersion is called.
    pub refersion: RefersionConfig,
    /// `[segment]`: how Segment is believed.
    pub segment: SegmentConfig,
    /// `[server]`: where events come in.
    pub server: ServerConfig,
    /// `[ops]`: where operators look.
    pub ops: OpsConfig,
    /// `[store]`: where events wait.
    pub store: StoreConfig,
    /// `[delivery]`: how events are carried out.
    pub delivery: DeliveryConfig,
    /// `[log]`: what is told.
    pub log: LogConfig,
    /// `[mapping]`, and of `[refersion]` how affiliates are created.
    pub rules: Rules,
    /// `[[accounts]]`: the accounts beside `main`, which is that of the sections.
    pub accounts: Vec<AccountConfig>,
}

/// `[refersion]`, but for what [`Rules`] holds.
#[derive(Clone, Debug)]
pub struct RefersionConfig {
    /// The key pair of the account `main`. In [`Mode::Live`] it is there, or there are other accounts, or any key is accepted.
    pub api_key: Option<ApiKey>,
    /// https, or http to a loopback address. Its path ends with `/`, so `join("affiliate/new")` appends.
    pub base_url: Url,
    /// Of one call; above zero.
    pub timeout: Duration,
    /// Calls under way at once: 1 to 1024.
    pub concurrency: NonZeroUsize,
    /// Above zero; none is no limit.
    pub max_requests_per_second: Option<f64>,
}

/// `[segment]`
#[derive(Clone, Debug)]
pub struct SegmentConfig {
    /// Each of them is valid; none of them is empty.
    pub shared_secrets: Vec<SecretString>,
    /// Whether a key that is no configured account's opens an account of its own. In [`Mode::Live`] there is a seal key then.
    pub accept_any_api_key: bool,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where events come in.
    pub listen: SocketAddr,
    /// How long an answer waits for the delivery; may be zero.
    pub wait: Duration,
    /// How long the work under way may take to finish on a stop; above zero.
    pub drain: Duration,
}

/// `[ops]`
#[derive(Clone, Debug)]
pub struct OpsConfig {
    /// Where operators look; its port is not the server's.
    pub listen: SocketAddr,
}

/// `[store]`
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Where events wait.
    pub url: StoreUrl,
    /// How long a settled event is remembered; above zero.
    pub deduplication_window: Duration,
    /// How much memory the ids of events may take, in bytes; older ids are looked up on disk.
    pub deduplication_memory: usize,
    /// What seals API keys that are kept: the first seals, all open.
    pub seal_keys: Vec<SealKey>,
}

/// A store, by its engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A database file; a relative path is relative to the working directory. Its folder may not exist yet.
    Sqlite(PathBuf),
}

/// `[delivery]`
#[derive(Clone, Debug)]
pub struct DeliveryConfig {
    /// Both bounds above zero, and in order.
    pub backoff: Backoff,
    /// After this an event becomes a dead letter; above zero.
    pub max_age: Duration,
    /// Events of an account waiting before further ones of it are refused; at least one.
    pub max_backlog: u64,
    /// What is done with affiliates that existed before, and on deletes.
    pub policy: Policy,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines are written: directives that `tracing_subscriber`'s `EnvFilter` has accepted.
    pub filter: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What the configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Calls Refersion: needs its key.
    Live,
    /// Calls the simulated Refersion (`--sandbox`).
    Sandbox,
    /// Calls nobody (`map`).
    Offline,
}

impl Config {
    /// Every account that has a key: `main` first, then those of `[[accounts]]` in their order.
    pub fn every_account(&self) -> Vec<AccountConfig> {
        let main = self.refersion.api_key.clone().map(|api_key| AccountConfig {
            shared_secrets: self.segment.shared_secrets.clone(),
            ..self.account(AccountName::main(), api_key)
        });
        main.into_iter().chain(self.accounts.iter().cloned()).collect()
    }

    /// An account of which nothing is said but by the sections. No signature is accepted for it.
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

    /// What operators show on the ops listener: the key of the first account; where none is configured, one that is made of
    /// the first seal key.
    pub fn operator_key(&self) -> Option<ApiKey> {
        let first = self.every_account().into_iter().next().map(|account| account.api_key);
        first.or_else(|| self.store.seal_keys.first().map(SealKey::operator))
    }

    /// Reads the manual, then `files` in their order, then `env`; each layer wins over those before it. Empty variables count
    /// as not set. Reads the files, and those that `…_FILE` variables name; nothing else.
    pub fn load(
        files: &[PathBuf],
        env: impl Iterator<Item = (String, String)>,
        mode: Mode,
    ) -> Result<(Self, Vec<Warning>), Problems> {
        let (mut layers, mut problems) = (layers::Layers::default(), Problems::default());
        layers.text(MANUAL, &problem::Origin::Default, &mut problems);
        for (order, path) in files.iter().enumerate() {
            layers.file(order, path, &mut problems);
        }
        let warnings = environment::apply(&mut layers, env, &mut problems);
        let mut reader = read::Reader { layers, problems, warnings };
        let config = sections::config(&mut reader, mode);
        reader.problems.sort();
        match config {
            Ok(config) if reader.problems.is_empty() => Ok((config, reader.warnings)),
            _ => Err(reader.problems),
        }
    }
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
