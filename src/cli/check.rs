//! `check`: prints every problem of the configuration, then verifies the API key of each configured account by one cheap call
//! to Refersion.

use super::{ConfigArgs, block_on, eprint, fail, print};
use crate::config::{AccountConfig, Config, Mode};
use crate::refersion::{ConnectionPool, KeyVerification};
use crate::telemetry;
use std::process::ExitCode;
use std::time::Duration;

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let config = match args.load(Mode::Live) {
        Ok(config) => config,
        Err(code) => return code,
    };
    telemetry::start(false, "off");
    print("configuration: no problem");
    match block_on(verify_keys(config)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

/// Prints a line for each account. Returns whether Refersion accepts all keys.
async fn verify_keys(config: Config) -> bool {
    let mut all_accepted = true;
    if config.segment.accept_any_api_key {
        let url = &config.refersion.base_url;
        print(&format!("any other API key: verified with {url} when it first arrives"));
    }
    for account in config.every_account() {
        let name = account.name.clone();
        match verify_key(account, config.refersion.timeout).await {
            Ok(accepted) => print(&format!("account {name}: {accepted}")),
            Err(reason) => {
                eprint(&format!("account {name}: {reason}"));
                all_accepted = false;
            }
        }
    }
    all_accepted
}

async fn verify_key(account: AccountConfig, timeout: Duration) -> Result<String, String> {
    let AccountConfig { api_key, base_url: url, .. } = &account;
    let public = api_key.public();
    let client = ConnectionPool::new(url, timeout).and_then(|pool| pool.client(api_key));
    match client.map_err(|error| error.to_string())?.verify_key().await {
        KeyVerification::Accepted => Ok(format!("{url} accepts the API key {public}.…")),
        KeyVerification::Rejected => Err(format!(
            "{url} refuses the API key {public}.…; compare it with the keys in Refersion's account settings"
        )),
        KeyVerification::Unknown { reason, .. } => {
            Err(format!("cannot verify the API key {public}.… with {url}: {reason}"))
        }
    }
}
