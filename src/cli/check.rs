//! `check`: every problem of the configuration at once, then one cheap call for each account, which proves its key.

use super::{Layers, block_on, fail, say, tell};
use crate::config::{AccountConfig, Config, Mode};
use crate::refersion::{ConnectionPool, KeyVerification};
use crate::telemetry;
use std::process::ExitCode;
use std::time::Duration;

pub(super) fn run(layers: &Layers) -> ExitCode {
    let config = match layers.load(Mode::Live) {
        Ok(config) => config,
        Err(code) => return code,
    };
    telemetry::start(false, "off");
    tell("configuration: no problem");
    match block_on(prove_all(config)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

/// Reports on each account; whether all of their keys are taken.
async fn prove_all(config: Config) -> bool {
    let mut all = true;
    if config.segment.accept_any_api_key {
        tell(&format!("any other API key: {} is asked when it first arrives", config.refersion.base_url));
    }
    for account in config.every_account() {
        let name = account.name.clone();
        match prove(account, config.refersion.timeout).await {
            Ok(proved) => tell(&format!("account {name}: {proved}")),
            Err(why) => {
                say(&format!("account {name}: {why}"));
                all = false;
            }
        }
    }
    all
}

async fn prove(account: AccountConfig, timeout: Duration) -> Result<String, String> {
    let AccountConfig { api_key, base_url: url, .. } = &account;
    let public = api_key.public();
    let client = ConnectionPool::new(url, timeout).and_then(|pool| pool.client(api_key));
    match client.map_err(|error| error.to_string())?.verify_key().await {
        KeyVerification::Accepted => Ok(format!("{url} takes the API key {public}.…")),
        KeyVerification::Rejected => Err(format!(
            "{url} refuses the API key {public}.…; compare it with the keys in Refersion's account settings"
        )),
        KeyVerification::Unknown { reason: what, .. } => {
            Err(format!("the API key could not be proved at {url}: {what}"))
        }
    }
}
