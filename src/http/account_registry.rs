//! The registry of account endpoints, which selects the endpoint of a request.
//!
//! In: the headers of a request. Out: its [`AccountEndpoint`], or the response that refuses it. Each configured account has an endpoint of
//! its own, `/segment/{name}`; all accounts share `/segment`, `/v1/batch` and `/v1/import`: there the public half of the API key in the
//! Basic credentials selects the account (a wrong secret half is a failed authentication there, no other account). If any API key is
//! accepted, [`MerchantAccounts`] verifies an unknown key with Refersion. Every other request is for the account `main`: one with a
//! signature (`X-Signature`) and no Basic credentials, or with credentials of a gateway. If those look like an API key that Refersion
//! rejects or cannot verify now, a request with a signature is for `main`, too. Invariants: the path of an account that does not exist is
//! answered like any other unknown path; an API key with the public half of a configured account never selects another account.
//! Deliberately absent: whether a request is authentic ([`crate::segment::Authenticator`]).

use super::AccountEndpoint;
use super::response::ApiResponse;
use crate::clock::Clock;
use crate::domain::{AccountName, ApiKey};
use crate::segment::{self, AuthError};
use crate::store::{Store, StoreError};
use crate::telemetry::{Meter, Metrics};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The accounts that are not configured, whose API keys arrive with requests.
#[async_trait]
pub trait MerchantAccounts: Send + Sync {
    /// The endpoint of the account with this API key, after Refersion has accepted the key and the key is stored.
    async fn admit(&self, key: ApiKey) -> Result<Arc<AccountEndpoint>, AdmissionError>;

    /// The counters that all these accounts share.
    fn meter(&self) -> &Meter;

    /// The endpoints of the accounts that have a worker.
    fn endpoints(&self) -> Vec<Arc<AccountEndpoint>>;

    /// The names of all accounts.
    fn names(&self) -> Vec<AccountName>;

    /// Wakes the workers of the accounts in this list that are not configured and whose API keys are stored.
    fn wake(&self, accounts: &[AccountName]);

    /// Reads the API keys that other processes have stored: new ones and replacements.
    async fn read_api_keys(&self) -> Result<(), StoreError>;

    /// Removes the API key of an account, and ends its worker; returns whether there was a key. Its events stay.
    async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError>;
}

/// Why the API key of an account that is not configured is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionError {
    /// Refersion rejects the API key.
    KeyRejected,
    /// Refersion did not answer in time whether it accepts the API key.
    KeyUnverified,
    /// The store could not store the API key.
    KeyNotStored,
    /// The service is shutting down.
    Draining,
}

/// The endpoint that a request is for.
pub(super) struct SelectedEndpoint {
    pub(super) endpoint: Arc<AccountEndpoint>,
    /// The error of the request if its signature turns out to be wrong: then it is about its API key, and not for this endpoint.
    pub(super) if_unauthenticated: Option<AdmissionError>,
}

impl From<Arc<AccountEndpoint>> for SelectedEndpoint {
    fn from(endpoint: Arc<AccountEndpoint>) -> Self {
        Self { endpoint, if_unauthenticated: None }
    }
}

/// Endpoints. The endpoint of `main` is the first, if it exists.
pub type Endpoints = Vec<Arc<AccountEndpoint>>;

/// The endpoints of all accounts; they share one store.
pub struct AccountRegistry {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    merchants: Option<Arc<dyn MerchantAccounts>>,
    pub(super) metrics: Metrics,
    shutdown: CancellationToken,
    configured: ArcSwap<Endpoints>,
}

impl AccountRegistry {
    /// A registry of the configured accounts, whose names and API keys must differ. `merchants` admits API keys that no configured account
    /// has. `shutdown` is cancelled when the service shuts down.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Clock,
        metrics: Metrics,
        shutdown: CancellationToken,
        configured: Vec<AccountEndpoint>,
        merchants: Option<Arc<dyn MerchantAccounts>>,
    ) -> Self {
        let configured = ArcSwap::from_pointee(configured.into_iter().map(Arc::new).collect());
        Self { store, clock, merchants, metrics, shutdown, configured }
    }

    /// The present endpoints of the configured accounts.
    pub fn configured(&self) -> Arc<Endpoints> {
        self.configured.load_full()
    }

    /// Replaces the configured accounts. A request that has its endpoint already continues with it.
    pub fn replace_configured(&self, configured: Vec<AccountEndpoint>) {
        self.configured.store(Arc::new(configured.into_iter().map(Arc::new).collect()));
    }

    /// The endpoints of the accounts that are not configured and have a worker. `None` if only configured API keys are accepted.
    pub fn unconfigured(&self) -> Option<Vec<Arc<AccountEndpoint>>> {
        self.merchants.as_ref().map(|merchants| merchants.endpoints())
    }

    /// Removes the API key of an account that is not configured; returns whether there was a key. Its events stay.
    pub async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError> {
        match &self.merchants {
            Some(merchants) => merchants.remove_api_key(account).await,
            None => self.store.remove_api_key(account).await,
        }
    }

    /// Whether the service is shutting down.
    pub(super) fn is_draining(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// Wakes the worker of every account with pending events, for instance after a start or a replay.
    pub fn wake_accounts_with_pending_events(&self) {
        let pending = self.store.pending().into_iter().filter(|(_, events)| *events > 0);
        self.wake(&pending.map(|(name, _)| AccountName::from(name)).collect::<Vec<_>>());
    }

    /// Wakes the workers of the accounts in this list that this process owns.
    pub fn wake(&self, accounts: &[AccountName]) {
        let (configured, mut others) = (self.configured(), Vec::new());
        for account in accounts.iter().filter(|account| self.store.is_owner(account)) {
            match configured.iter().find(|endpoint| endpoint.account == *account) {
                Some(endpoint) => (endpoint.wake_worker)(),
                None => others.push(account.clone()),
            }
        }
        if let Some(merchants) = self.merchants.as_ref().filter(|_| !others.is_empty()) {
            merchants.wake(&others);
        }
    }

    /// The names of all accounts that this process can deliver for.
    pub fn accounts(&self) -> BTreeSet<AccountName> {
        let configured = self.configured();
        let configured = configured.iter().map(|endpoint| endpoint.account.clone());
        configured.chain(self.merchants.iter().flat_map(|merchants| merchants.names())).collect()
    }

    /// Reads the API keys that other processes have stored.
    pub async fn read_api_keys(&self) -> Result<(), StoreError> {
        match &self.merchants {
            Some(merchants) => merchants.read_api_keys().await,
            None => Ok(()),
        }
    }

    /// Counts a request with wrong credentials. `endpoint`: the account of the request, if there is one.
    pub(super) fn count_auth_error(&self, endpoint: Option<&AccountEndpoint>, error: AuthError) {
        match (endpoint, &self.merchants) {
            (Some(endpoint), _) => endpoint.meter.authentication_failed(error),
            (None, Some(merchants)) => merchants.meter().authentication_failed(error),
            (None, None) => self.metrics.authentication_failed(error),
        }
    }

    /// The endpoint of the configured account that a path of the form `/segment/{name}` or `/segment/{name}/` names.
    pub(super) fn named_in(&self, path: &str) -> Option<Arc<AccountEndpoint>> {
        let name = path.strip_prefix("/segment/")?;
        let name = name.strip_suffix('/').unwrap_or(name);
        self.configured().iter().find(|endpoint| endpoint.account.as_str() == name).cloned()
    }

    /// The endpoint that a request with these headers is for.
    pub(super) async fn select(&self, headers: &HeaderMap) -> Result<SelectedEndpoint, ApiResponse> {
        if self.is_draining() {
            return Err(ApiResponse::Draining);
        }
        let configured = self.configured();
        let authenticators = configured.iter().map(|endpoint| &endpoint.authenticator);
        match segment::find_authenticator(authenticators, credentials(headers)) {
            Ok(Some(index)) => {
                configured.get(index).cloned().map(SelectedEndpoint::from).ok_or(ApiResponse::InternalError)
            }
            Ok(None) => self.main(AuthError::NoCredentials).map(SelectedEndpoint::from),
            Err(error) => self.select_by_other_credentials(headers, error).await,
        }
    }

    /// The endpoint for credentials with an API key of no configured account; `error` if there is none.
    async fn select_by_other_credentials(
        &self,
        headers: &HeaderMap,
        error: AuthError,
    ) -> Result<SelectedEndpoint, ApiResponse> {
        let Some(key) = segment::presented_api_key(credentials(headers)) else {
            return self.main(error).map(SelectedEndpoint::from);
        };
        if let Some(same) = self.configured().iter().find(|endpoint| endpoint.authenticator.has_public_part_of(&key)) {
            return Ok(Arc::clone(same).into());
        }
        let Some(merchants) = &self.merchants else { return self.main(error).map(SelectedEndpoint::from) };
        match (merchants.admit(key).await, self.main_if_signed(headers)) {
            (Err(error @ (AdmissionError::KeyRejected | AdmissionError::KeyUnverified)), Some(main)) => {
                Ok(SelectedEndpoint { endpoint: main, if_unauthenticated: Some(error) })
            }
            (admission, _) => admission.map(SelectedEndpoint::from).map_err(ApiResponse::from),
        }
    }

    /// The endpoint of the account `main`, if the request has a signature that it checks. Credentials of a gateway can look like a key.
    fn main_if_signed(&self, headers: &HeaderMap) -> Option<Arc<AccountEndpoint>> {
        let main = self.main(AuthError::NoCredentials).ok()?;
        (headers.contains_key("x-signature") && main.authenticator.has_shared_secrets()).then_some(main)
    }

    /// The endpoint of the account `main`; `error` if there is no such account.
    fn main(&self, error: AuthError) -> Result<Arc<AccountEndpoint>, ApiResponse> {
        let configured = self.configured();
        let main = configured.iter().find(|endpoint| endpoint.account == AccountName::main());
        main.cloned().ok_or(ApiResponse::Unauthenticated(error))
    }
}

/// The values of the `Authorization` headers.
pub(super) fn credentials(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(AUTHORIZATION).into_iter().map(HeaderValue::as_bytes)
}
