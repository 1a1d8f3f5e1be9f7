//! `check`: checks everything that a start needs, before the service is started: the configuration, the mapping, the store, kept API keys,
//! the space on the disk, the API key of each configured account, and the clock.
//!
//! Out: one line for each check; exit code 1 if one of them fails, 64 for a bad configuration. Invariants: it listens on no address,
//! migrates nothing, and leaves no file behind; it makes one cheap call to Refersion for each account; no secret is printed.

mod account;
mod diff;
mod mapping;
mod store;

use super::{CommandResult, ConfigArgs, block_on, eprint, print};
use crate::config::{Config, Mode};
use crate::telemetry;
use clap::Args;
use serde::Serialize;
use std::convert::Infallible;
use std::process::ExitCode;
use url::Url;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Print JSON, one object on each line
    #[arg(long)]
    json: bool,
    /// Only ask the running service what a reload would change
    #[arg(long)]
    diff: bool,
    /// The URL of the running service's operators' listener, for --diff. If not given, OPS_LISTEN
    #[arg(long, value_name = "URL", requires = "diff")]
    ops: Option<Url>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    /// The subject of the check.
    check: &'static str,
    /// The account of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Whether the check passed.
    ok: bool,
    /// The finding; if the check failed, also the remedy.
    message: String,
}

impl Finding {
    fn good(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, account: None, ok: true, message: message.into() }
    }

    fn bad(check: &'static str, message: impl Into<String>) -> Self {
        Self { ok: false, ..Self::good(check, message) }
    }

    /// The line in plain text.
    fn line(&self) -> String {
        match &self.account {
            Some(account) => format!("{} {account}: {}", self.check, self.message),
            None => format!("{}: {}", self.check, self.message),
        }
    }
}

pub(super) fn run(args: &CheckArgs) -> CommandResult {
    let mode = if args.diff { Mode::Offline } else { Mode::Live };
    let config = args.config.load(mode)?;
    if args.diff {
        return diff::run(&config, args.ops.as_ref(), args.json);
    }
    telemetry::start(false, "off");
    let mut all_good = true;
    let mut report = |finding: Finding| {
        all_good &= finding.ok;
        match (args.json, finding.ok) {
            (true, _) => print(&serde_json::json!(finding).to_string()),
            (false, true) => print(&finding.line()),
            (false, false) => eprint(&finding.line()),
        }
    };
    report(Finding::good("configuration", "no problem"));
    block_on(async {
        look_at(&config, &mut report).await;
        Ok::<_, Infallible>(())
    })?;
    if all_good { Ok(()) } else { Err(ExitCode::FAILURE) }
}

async fn look_at(config: &Config, report: &mut impl FnMut(Finding)) {
    for finding in store::look_at(config).await {
        report(finding);
    }
    if config.segment.accept_any_api_key {
        let url = &config.refersion.base_url;
        report(Finding::good("any other API key", format!("verified with {url} when it first arrives")));
    }
    for finding in mapping::look_at(config) {
        report(finding);
    }
    let mut clocks = None;
    for account in config.every_account() {
        let (finding, found) = account::look_at(account, config.refersion.timeout).await;
        report(finding);
        clocks = clocks.or(found);
    }
    clocks.map(account::clock).into_iter().for_each(report);
}
