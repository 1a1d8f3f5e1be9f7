//! The operators' listener: health by account, metrics, the API for status, accounts, events, dead letters, e-mail
//! conflicts, lookup, erasure and API keys that arrived, and the status page.
//!
//! In: requests. Out: JSON, and for every error a problem (RFC 9457); `pages` answer in HTML, `wording` has the texts that they share with
//! the command line. `access` decides whether a request needs the token; `problem` is this listener's status table; `extract` reads
//! parameters and bodies; `openapi` describes the whole surface of both listeners; every other file is one part of the API. Invariants:
//! health and metrics need no credentials; everything else passes `access`; a `GET` changes nothing and shows no personal data; the size of
//! an answer does not depend on the size of the store; every change is logged (an audit trail), without personal data; a panic is answered
//! with 500. Deliberately absent: receiving events ([`crate::http`]), and the list of accounts, which the assembly knows
//! ([`AccountDirectory`]).

mod access;
mod account_gone;
mod accounts;
mod affiliate_list;
mod api_keys;
mod backlog;
mod dead_letters;
mod directory;
mod email_conflicts;
mod events;
mod extract;
mod forget;
mod health;
mod lookup;
mod openapi;
mod pages;
mod problem;
mod reload;
mod status;
pub mod wording;
mod wrong_tokens;

pub use access::Access;
pub use account_gone::SetAside;
pub use accounts::{AccountPage, AccountStatus};
pub use dead_letters::{DeadLetterDetails, DiscardOutcome, DiscardResult, RevealedEvent};
pub use directory::{AccountDirectory, AccountState, AccountWithWorker};
pub use email_conflicts::EmailConflictPage;
pub use extract::MAX_ITEMS;
pub use lookup::{LookupRequest, LookupResult};
pub use openapi::openapi;
pub use problem::ProblemDetails;
pub use reload::{ReloadRequest, Reloaded};
pub use status::ServiceStatus;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::health::Readiness;
use crate::scrape::Scraper;
use crate::series::SeriesRecorder;
use crate::store::Store;
use crate::telemetry::Metrics;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use problem::Problem;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

/// The context of the operators' listener.
pub struct Admin {
    /// The store that is shown and changed.
    pub store: Arc<dyn Store>,
    /// The current time.
    pub clock: Clock,
    /// When the service was started.
    pub started_at: Timestamp,
    /// The counters of operators' changes.
    pub metrics: Metrics,
    /// The metrics at `/metrics`.
    pub scraper: Scraper,
    /// The recent activity.
    pub series: SeriesRecorder,
    /// Where requests to read the configuration again go.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// The accounts of the service.
    pub accounts: Arc<dyn AccountDirectory>,
    /// Cancelled when the service shuts down.
    pub shutdown: CancellationToken,
}

impl Admin {
    /// Whether the service is ready. `configured`: its configured accounts.
    fn readiness(&self, configured: &[AccountWithWorker]) -> Readiness {
        let accounts = configured.iter().map(|account| &account.signals);
        Readiness::new(self.store.status(), self.shutdown.is_cancelled(), accounts, self.clock.now())
    }
}

/// The routes of the operators' listener. The request's extensions have the address of the peer, as [`axum::extract::ConnectInfo`].
pub fn router(admin: Arc<Admin>, access: Access) -> Router {
    let open = open_routes().with_state(Arc::clone(&admin));
    let pages = pages::routes(pages::PagesContext { admin: Arc::clone(&admin), can_change: access.has_token() });
    let api = api(admin);
    let access = Arc::new(access);
    let pages = pages
        .method_not_allowed_fallback(|| async { Problem::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(extract::MAX_BODY_BYTES))
        .route_layer(from_fn_with_state(Arc::clone(&access), access::authorize))
        .layer(from_fn(pages::as_page));
    let api = api
        .route("/openapi.json", get(openapi::show))
        .method_not_allowed_fallback(|| async { Problem::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(extract::MAX_BODY_BYTES))
        .route_layer(from_fn_with_state(access, access::authorize));
    let on_panic = |_| axum::response::IntoResponse::into_response(Problem::Internal);
    open.method_not_allowed_fallback(|| async { Problem::MethodNotAllowed })
        .merge(api)
        .merge(pages)
        .fallback(|| async { Problem::UnknownPath })
        .layer(CatchPanicLayer::custom(on_panic))
}

/// The routes of the API, for a caller who may do everything.
pub fn api(admin: Arc<Admin>) -> Router {
    api_routes().with_state(admin)
}

/// Health and metrics.
fn open_routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
}

/// The API.
fn api_routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/reload", post(reload::reload))
        .route("/api/v1/accounts", get(accounts::list))
        .route("/api/v1/accounts/{account}", get(accounts::show))
        .route("/api/v1/accounts/{account}/affiliate-list", get(affiliate_list::show).post(affiliate_list::learn))
        .route("/api/v1/backlog", get(backlog::list))
        .route("/api/v1/backlog/set-aside", post(backlog::set_aside))
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/events/{seq}", get(events::show))
        .route("/api/v1/dead-letters", get(dead_letters::list))
        .route("/api/v1/dead-letters/{id}", get(dead_letters::show))
        .route("/api/v1/dead-letters/{id}/reveal", post(dead_letters::reveal))
        .route("/api/v1/dead-letters/replay", post(dead_letters::replay))
        .route("/api/v1/dead-letters/discard", post(dead_letters::discard))
        .route("/api/v1/email-conflicts", get(email_conflicts::list))
        .route("/api/v1/forget", post(forget::forget))
        .route(access::LOOKUP, post(lookup::look_up))
        .route("/api/v1/keys", get(api_keys::list))
        .route("/api/v1/keys/{account}", delete(api_keys::remove))
}
