//! The accounts of the service: their pending events, and whether deliveries run, pause or are halted.
//!
//! Listed are the accounts that are configured, those that have a worker, and those with pending events, which may be of an account
//! that is not configured any more.

use super::account_gone::is_kept;
use super::directory::AccountState;
use super::extract::{ApiPath, ApiQuery, ApiResult, page_size};
use super::problem::Problem;
use super::{AccountWithWorker, Admin};
use crate::domain::{AccountName, Timestamp};
use crate::scheduling::{BreakerState, Cause, HealthSnapshot};
use crate::series::{Activity, BacklogTrend};
use crate::store::{Measured, StoreError};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The filter and the page of a list of accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AccountsQuery {
    /// Only accounts in this state.
    #[param(inline)]
    state: Option<AccountState>,
    /// Only accounts after this one: the `next` of the page before.
    after: Option<String>,
    /// The most accounts of a page [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// Some of the accounts, in the order of their names.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccountPage {
    /// The accounts found.
    pub accounts: Vec<AccountStatus>,
    /// The account after which the next page begins; `null` on the last page.
    pub next: Option<String>,
}

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccountStatus {
    /// Its name.
    pub name: String,
    /// Whether it is configured. Of the others the API key arrived with a request; or they are not configured any more.
    pub configured: bool,
    /// Whether it is gone although it has pending events: it is not configured, no API key of it is kept, and it has no worker.
    pub gone: bool,
    /// Whether its events are delivered.
    pub state: AccountState,
    /// The end of the pause; or when Refersion is asked again whether it accepts the API key. In milliseconds since 1970.
    #[schema(value_type = Option<i64>)]
    pub until: Option<Timestamp>,
    /// Why it is not running: `rate_limited`, `outage` or `unauthorized`.
    #[schema(value_type = Option<String>)]
    pub cause: Option<Cause>,
    /// Its pending events.
    pub pending: u64,
    /// When the oldest of them was received, in milliseconds since 1970.
    #[schema(value_type = Option<i64>)]
    pub oldest_pending_at: Option<Timestamp>,
    /// How fast they become fewer; `null` of an account that shares its measurements with others, because its API key arrived with a
    /// request or because it is beyond `OPS_METRICS_ACCOUNTS`, or that has none.
    pub drain: Option<BacklogTrend>,
    /// Its dead letters; `null` if they cannot be counted now.
    pub dead_letters: Option<u64>,
    /// Requests to Refersion in flight.
    pub in_flight: usize,
    /// How many may be in flight at once; 0 while it is paused or halted.
    pub concurrency_limit: usize,
    /// How many may begin in a second; `null` if there is no limit.
    pub requests_per_second: Option<f64>,
}

/// An account, and what happened to it recently.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountDetails {
    /// The account.
    #[serde(flatten)]
    pub status: AccountStatus,
    /// What happened recently; `null` of an account that has no worker. The accounts whose API keys arrived with requests are counted
    /// together, and so are the configured ones beyond `OPS_METRICS_ACCOUNTS`.
    pub recent: Option<Activity>,
}

/// List the accounts
#[utoipa::path(get, path = "/api/v1/accounts", tag = "accounts", operation_id = "list_accounts",
    params(AccountsQuery), responses((status = 200, description = "A page", body = AccountPage)))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    ApiQuery(query): ApiQuery<AccountsQuery>,
) -> ApiResult<AccountPage> {
    let limit = page_size(query.limit)?;
    let after = query.after.unwrap_or_default();
    let (all, now) = (ListedAccounts::of(&admin), admin.clock.now());
    let mut found = all.0.iter().filter(|(name, account)| {
        name.as_str() > after.as_str() && query.state.is_none_or(|state| state == account.state(now))
    });
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let next = page.last().filter(|_| found.next().is_some()).map(|(name, _)| name.to_string());
    Ok(Json(AccountPage { accounts: statuses(&admin, &page, now).await?, next }))
}

/// Show an account
#[utoipa::path(get, path = "/api/v1/accounts/{account}", tag = "accounts", operation_id = "show_account",
    params(("account" = String, Path, description = "Its name")),
    responses((status = 200, description = "The account", body = AccountDetails)))]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    ApiPath(account): ApiPath<String>,
) -> ApiResult<AccountDetails> {
    let name = admin.known_account(&account).await?;
    let all = ListedAccounts::of(&admin);
    let found = all.0.get(&name).cloned().unwrap_or_default();
    let mut statuses = statuses(&admin, &[(&name, &found)], admin.clock.now()).await?;
    let status = statuses.pop().ok_or(Problem::Internal)?;
    let recent = found.worker.and_then(|worker| admin.series.of(worker.name.as_str()));
    Ok(Json(AccountDetails { status, recent }))
}

/// Up to `limit` accounts, by their [rank](AccountState::rank), then those with the most pending events first; and how many more there are.
pub(super) async fn in_need_first(admin: &Admin, limit: usize) -> Result<(Vec<AccountStatus>, usize), Problem> {
    let (all, now) = (ListedAccounts::of(admin), admin.clock.now());
    let mut found: Vec<_> = all.0.iter().collect();
    let rank = |account: &ListedAccount| account.state(now).rank(account.pending);
    found.sort_by_key(|(name, account)| (rank(account), Reverse(account.pending), name.as_str()));
    let more = found.len().saturating_sub(limit);
    found.truncate(limit);
    Ok((statuses(admin, &found, now).await?, more))
}

/// The accounts that are listed.
struct ListedAccounts(BTreeMap<AccountName, ListedAccount>);

/// The state of an account that is in memory.
#[derive(Clone, Default)]
struct ListedAccount {
    configured: bool,
    /// The state that its worker publishes; `None` without a worker.
    worker: Option<AccountWithWorker>,
    pending: u64,
}

impl ListedAccounts {
    fn of(admin: &Admin) -> Self {
        let mut all: BTreeMap<AccountName, ListedAccount> = BTreeMap::new();
        for account in admin.accounts.unconfigured().unwrap_or_default() {
            let listed = all.entry(account.name.clone()).or_default();
            listed.worker = Some(account);
        }
        for account in admin.accounts.configured() {
            let listed = all.entry(account.name.clone()).or_default();
            (listed.configured, listed.worker) = (true, Some(account));
        }
        for (name, pending) in admin.store.pending() {
            all.entry(AccountName::from(name)).or_default().pending = pending;
        }
        Self(all)
    }
}

impl ListedAccount {
    /// Whether it is gone, unless an API key of it is kept: then another process may deliver its events.
    fn may_be_gone(&self) -> bool {
        self.worker.is_none() && !self.configured && self.pending > 0
    }

    fn state(&self, now: Timestamp) -> AccountState {
        self.worker.as_ref().map_or(AccountState::NoWorker, |account| account.state(now))
    }
}

/// The end of the pause, or the next probe of the API key, of an account in this state.
fn until(health: &HealthSnapshot, state: AccountState) -> Option<Timestamp> {
    match health.state {
        BreakerState::Open { until } if state == AccountState::Paused => Some(until),
        BreakerState::Halted { probe_at } => Some(probe_at),
        _ => None,
    }
}

async fn statuses(
    admin: &Admin,
    accounts: &[(&AccountName, &ListedAccount)],
    now: Timestamp,
) -> Result<Vec<AccountStatus>, StoreError> {
    let names: Vec<AccountName> = accounts.iter().map(|(name, _)| (*name).clone()).collect();
    let oldest = admin.store.oldest_pending(&names).await?;
    let may_be_gone = accounts.iter().any(|(_, account)| account.may_be_gone());
    let kept = if may_be_gone { admin.store.kept_api_keys().await? } else { Vec::new() };
    let (measured, trends) = (admin.scraper.measured().await, admin.series.backlog_trends());
    let status = |((name, account), oldest): (&(&AccountName, &ListedAccount), _)| {
        let dead_letters = |measured: &Measured| {
            let own = measured.dead_letters.iter().filter(|((account, _), _)| account == name.as_str());
            own.map(|(_, letters)| letters).sum()
        };
        let health = account.worker.as_ref().map_or_else(HealthSnapshot::default, |account| account.signals.health());
        let state = account.state(now);
        AccountStatus {
            name: name.to_string(),
            configured: account.configured,
            gone: account.may_be_gone() && !is_kept(&kept, name),
            state,
            until: until(&health, state),
            cause: health.cause.filter(|_| matches!(state, AccountState::Paused | AccountState::Halted)),
            pending: account.pending,
            oldest_pending_at: oldest,
            drain: trends.get(name.as_str()).copied(),
            dead_letters: measured.as_ref().map(dead_letters),
            in_flight: health.in_flight,
            concurrency_limit: health.concurrency_limit,
            requests_per_second: health.requests_per_second,
        }
    };
    Ok(accounts.iter().zip(oldest).map(status).collect())
}
