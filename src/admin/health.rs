//! Health on the operators' listener, also by account; and the metrics.
//!
//! Invariants: health does no I/O, and nothing here writes ([`crate::scrape`]); at most [`MAX_NAMED`] unconfigured accounts are named,
//! halted ones before paused ones; a revoked key of one of them shows in `merchants`, not in `refersion`. Deliberately absent: credentials,
//! because orchestrators and Prometheus have none.

use super::directory::AccountState;
use super::{AccountWithWorker, Admin};
use crate::health::{Liveness, Readiness, refersion_state};
use crate::telemetry::ExpositionFormat;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// The most unconfigured accounts that `/readyz` names.
const MAX_NAMED: usize = 100;

/// [`Readiness`], and the state of each account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadinessByAccount {
    #[serde(flatten)]
    readiness: Readiness,
    /// On the operators' listener: the configured accounts, and those of the others that are halted or paused.
    #[schema(required = false)]
    accounts: BTreeMap<String, AccountReadiness>,
    /// On the operators' listener: the accounts that are not configured, if any key is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    merchants: Option<MerchantCounts>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AccountReadiness {
    /// `ok`, or the reason why its deliveries pause or are halted.
    refersion: &'static str,
    /// Whether this process delivers for the account; several can share one store.
    owner: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct MerchantCounts {
    /// Accounts with a worker.
    at_work: usize,
    /// Those whose API key Refersion rejects.
    halted: usize,
    /// Those whose deliveries pause.
    paused: usize,
}

/// Whether the process is alive
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "It is", body = Liveness)))]
pub(super) async fn healthz() -> Json<Liveness> {
    Json(Liveness::default())
}

/// Whether the service takes requests, also by account
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "It does", body = ReadinessByAccount),
    (status = 503, description = "It does not: it is shutting down, or the store cannot be written", body = ReadinessByAccount),
))]
pub(super) async fn readyz(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let (now, configured) = (admin.clock.now(), admin.accounts.configured());
    let unconfigured = admin.accounts.unconfigured();
    let readiness = admin.readiness(&configured);
    let in_state = |state| {
        let accounts = unconfigured.iter().flatten();
        accounts.filter(|account| account.state(now) == state).collect::<Vec<_>>()
    };
    let (halted, paused) = (in_state(AccountState::Halted), in_state(AccountState::Paused));
    let merchants = unconfigured.as_ref().map(|all| MerchantCounts {
        at_work: all.len(),
        halted: halted.len(),
        paused: paused.len(),
    });
    let named = halted.into_iter().chain(paused).take(MAX_NAMED);
    let state = |account: &AccountWithWorker| AccountReadiness {
        refersion: refersion_state([&account.signals].into_iter(), now),
        owner: admin.store.is_owner(&account.name),
    };
    let accounts = configured.iter().chain(named).map(|account| (account.name.to_string(), state(account))).collect();
    (readiness.code(), Json(ReadinessByAccount { readiness, accounts, merchants }))
}

/// The metrics, as Prometheus reads them
///
/// In the format that the client prefers: `OpenMetrics`, or Prometheus' own.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "The metrics", content_type = "text/plain", body = String),
))]
pub(super) async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let format = ExpositionFormat::preferred(accept);
    let configured = admin.accounts.configured();
    let ready = admin.readiness(&configured).is_ready();
    let accounts: Vec<AccountWithWorker> =
        configured.into_iter().chain(admin.accounts.unconfigured().unwrap_or_default()).collect();
    let accounts = accounts.iter().map(|account| (&account.name, &account.signals));
    let text = admin.scraper.text(format, ready, accounts, admin.clock.now()).await;
    ([(header::CONTENT_TYPE, format.content_type())], text)
}
