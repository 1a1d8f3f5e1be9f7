//! `check`: every problem of the configuration at once, then one cheap call that proves the key.

use super::{Layers, block_on, fail, say, tell};
use crate::config::{Config, Mode};
use crate::refersion::{Client, Proof, Settings};
use crate::telemetry;
use std::process::ExitCode;

pub(super) fn run(layers: &Layers) -> ExitCode {
    let config = match layers.load(Mode::Live) {
        Ok(config) => config,
        Err(code) => return code,
    };
    telemetry::start(false, "off");
    tell("configuration: no problem");
    match block_on(prove(config)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(why)) => {
            say(&why);
            ExitCode::FAILURE
        }
        Err(error) => fail(&error),
    }
}

async fn prove(config: Config) -> Result<(), String> {
    let refersion = config.refersion;
    let api_key = refersion.api_key.ok_or("REFERSION_API_KEY is not set")?;
    let (public, url) = (api_key.public().to_owned(), refersion.base_url.clone());
    let client = Client::new(Settings {
        base_url: refersion.base_url,
        api_key,
        timeout: refersion.timeout,
        max_requests_per_second: refersion.max_requests_per_second,
    });
    match client.map_err(|error| error.to_string())?.prove().await {
        Proof::Accepted => {
            tell(&format!("account main: {url} takes the API key {public}.…"));
            Ok(())
        }
        Proof::Refused => Err(format!(
            "account main: {url} refuses the API key {public}.…; compare it with the keys in Refersion's account settings"
        )),
        Proof::Unknown(what, _) => Err(format!("account main: the API key could not be proved at {url}: {what}")),
    }
}
