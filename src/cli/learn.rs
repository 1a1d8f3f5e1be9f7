//! `learn`: reads Refersion's list of affiliates, so that a first sync needs no search for each affiliate. It works through the running
//! service, or on the store of a stopped one.
//!
//! In: the name of an account. Out: counts. After an interruption, a further run continues with the next page. Without a running service,
//! the command keeps below `REFERSION_MAX_REQUESTS_PER_SECOND` and makes one request at a time.

use super::account_args::AccountArgs;
use super::admin_client::AdminClient;
use super::progress::count_bar;
use super::{CommandResult, now, print};
use crate::account_signals::AffiliateListStatus;
use crate::config::{AccountConfig, Config};
use crate::delivery::{ListPage, ListProgress, TransientFailure};
use crate::domain::AccountName;
use crate::refersion::{Client, ConnectionPool, SendGuard};
use crate::scheduling::Backoff;
use crate::store::{Store, affiliate_list};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(mut_arg("account", |arg| arg.help(ACCOUNT_HELP)))]
pub(super) struct LearnArgs {
    #[command(flatten)]
    on: AccountArgs,
}

/// A request to the service names the account, so the settings of this command decide.
const ACCOUNT_HELP: &str = "The account. If not given: the first configured account, which is `main` if there is one. \
                            Required if no account is configured and any API key is accepted";

/// The interval at which the running service is asked for its progress.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// The waits after a page that could not be read.
const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };
/// The number of failures in a row after which the command gives up.
const MAX_FAILURES: u32 = 4;

pub(super) fn run(args: &LearnArgs) -> CommandResult {
    let (config, account) = args.on.load()?;
    let bar = count_bar("affiliates");
    let learned = args.on.target.with_owner(&config, async |api| {
        let learned = learn(api, &config, &account, &bar).await;
        bar.finish_and_clear();
        learned
    })?;
    print(&if args.on.json { json!(learned).to_string() } else { on_list(learned.read) });
    Ok(())
}

async fn learn(
    api: &AdminClient,
    config: &Config,
    account: &AccountName,
    bar: &ProgressBar,
) -> Result<AffiliateListStatus, String> {
    let Some(store) = api.own_store() else { return through_service(api, account.as_str(), bar).await };
    let configured = config.every_account().into_iter().find(|configured| configured.name == *account);
    let configured = configured.ok_or_else(|| {
        format!("no API key of the account {account} is configured: start the service, and run this again")
    })?;
    on_store(store, config, &configured, bar).await
}

/// The number of learned affiliates, in words.
fn on_list(affiliates: u64) -> String {
    match affiliates {
        1 => "1 affiliate is on Refersion's list, and known by e-mail".to_owned(),
        _ => format!("{affiliates} affiliates are on Refersion's list, and known by e-mail"),
    }
}

/// Lets the service read the list, and waits until it has.
async fn through_service(
    service: &AdminClient,
    account: &str,
    bar: &ProgressBar,
) -> Result<AffiliateListStatus, String> {
    let path = format!("/api/v1/accounts/{account}/affiliate-list");
    let mut status: AffiliateListStatus = service.post(&path, &json!({})).await?;
    while status.reading {
        show(bar, status.read, status.total);
        tokio::time::sleep(POLL_EVERY).await;
        status = service.get(&path, &json!({})).await?;
    }
    match status.failure {
        Some(failure) => Err(format!("{failure}; {} affiliates were read, run this again to go on", status.read)),
        None => Ok(status),
    }
}

/// Reads the list here.
async fn on_store(
    store: &dyn Store,
    config: &Config,
    account: &AccountConfig,
    bar: &ProgressBar,
) -> Result<AffiliateListStatus, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let pool = ConnectionPool::new(&account.base_url, config.refersion.timeout).map_err(|error| text(&error))?;
    let client = pool.client(&account.api_key).map_err(|error| text(&error))?;
    let spacing = account.max_requests_per_second.map(|rate| 1.0 / rate).unwrap_or_default();
    let spacing = Duration::try_from_secs_f64(spacing).unwrap_or(Duration::MAX);
    let progress = affiliate_list::list_progress(store, &account.name).await;
    let mut progress = progress.map_err(|error| text(&error))?;
    loop {
        let page = page(&client, progress.page).await?;
        let remembered = affiliate_list::remember_page(store, &account.name, &progress, &page, now()).await;
        (progress, _) = remembered.map_err(|error| text(&error))?;
        show(bar, progress.seen, progress.total);
        if progress.is_complete() {
            let ListProgress { seen, total, completed_at, .. } = progress;
            return Ok(AffiliateListStatus { reading: false, read: seen, total, completed_at, failure: None });
        }
        tokio::time::sleep(spacing).await;
    }
}

/// A page of the list; an error after some failures.
async fn page(client: &Client, page: u32) -> Result<ListPage, String> {
    let mut failures = 0;
    loop {
        let TransientFailure { what, retry_after } = match client.list(page, &SendGuard::none()).await {
            Some(Ok(page)) => return Ok(page),
            Some(Err(failure)) => failure,
            None => TransientFailure::new("the request was not sent"),
        };
        failures += 1;
        if failures == MAX_FAILURES {
            return Err(format!("{what}; run this again to go on with page {page}"));
        }
        tokio::time::sleep(BACKOFF.wait(failures, 1.0, retry_after)).await;
    }
}

fn show(bar: &ProgressBar, read: u64, total: Option<u64>) {
    if let Some(total) = total {
        bar.set_length(total);
    }
    bar.set_position(read);
}
