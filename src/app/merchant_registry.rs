//! The registry of merchants' accounts: accounts that are not configured (`key-…`), each created by an API key that arrived with a
//! request and that Refersion accepted.
//!
//! In: the API key of a request. Out: the endpoint of its account, or the reason why the request is not admitted. A key that equals the
//! stored one of its account is admitted at once. Any other key is verified with Refersion, stored sealed, and only then admitted; it
//! replaces the stored key of its account.
//!
//! Invariants: only a verified key is stored, so a caller that knows only a public key can neither get events delivered nor replace a key.
//! The sealed key is committed and synced before the first event of its account is appended. The account's name is derived from the public
//! key, so its users, their order and its deduplication survive a change of the secret key. Each account has its own worker and health,
//! created by its first request or, if it has pending events, at the start; until then an account costs the memory of its key. The keys
//! that other processes store are read from the store: the worker of an account gets a key that was replaced elsewhere, and ends if the key
//! was removed elsewhere. A stored key that Refersion no longer accepts (it was revoked) halts its account; an operator can remove it. An
//! account whose key is removed gets no new worker before the old one has ended, so it has one run loop at most.

use super::ServeError;
use super::api_key_verification::{Admission, ApiKeyVerifier};
use super::context::AppContext;
use super::stored_api_keys::{StoredApiKeys, seal};
use crate::config::Config;
use crate::delivery::ApiKeyVerification;
use crate::domain::{AccountName, ApiKey, SealKey, open_seal};
use crate::http::{AccountEndpoint, AdmissionError, MerchantAccounts};
use crate::refersion::{ClientBuildError, ConnectionPool};
use crate::store::StoreError;
use crate::telemetry::{LogThrottle, Meter};
use crate::worker::Worker;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the verification of an API key may take, including the wait for a permit. Segment stops waiting for a response after 5 s.
const VERIFICATION_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How long a request waits for the admission of its API key. A silent store takes longer to store the key, which it does nevertheless.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(3);

/// The accounts of verified API keys. Cheap to clone; all clones share the same accounts.
#[derive(Clone)]
pub(super) struct MerchantRegistry(Arc<SharedRegistry>);

struct SharedRegistry {
    context: AppContext,
    meter: Meter,
    seal_key: SealKey,
    pool: ArcSwap<ConnectionPool>,
    verifier: ApiKeyVerifier<Arc<AccountEndpoint>>,
    /// The throttle of log lines about failures that a request can cause.
    log_throttle: LogThrottle,
    /// Held while an API key is written to the store and then to `accounts`, so that both have the same key of an account.
    writing: tokio::sync::Mutex<()>,
    accounts: Mutex<MerchantsByName>,
    /// Accounts whose API key was removed and whose worker has not ended yet.
    ending: Mutex<HashSet<AccountName>>,
}

type MerchantsByName = HashMap<AccountName, MerchantAccount>;

struct MerchantAccount {
    api_key: ApiKey,
    /// `None` until the account's first request, or until it has pending events.
    active: Option<ActiveAccount>,
}

struct ActiveAccount {
    endpoint: Arc<AccountEndpoint>,
    worker: Worker,
    /// The shared context with a separate shutdown. The removal of the account's API key cancels it, too.
    context: AppContext,
}

impl MerchantRegistry {
    /// A registry of the accounts with these API keys, none of them active.
    pub(super) fn new(context: AppContext, api_keys: StoredApiKeys) -> Result<Self, ServeError> {
        let config = context.config();
        let seal_key = config.store.seal_keys.first().cloned().ok_or(ServeError::NoSealKey)?;
        let pool = ArcSwap::from_pointee(new_pool(&config)?);
        let accounts =
            api_keys.into_iter().map(|(name, api_key)| (name, MerchantAccount { api_key, active: None })).collect();
        let meter = context.metrics.of_arrived();
        Ok(Self(Arc::new(SharedRegistry {
            context,
            meter,
            seal_key,
            pool,
            verifier: ApiKeyVerifier::new(),
            log_throttle: LogThrottle::new(),
            writing: tokio::sync::Mutex::default(),
            accounts: Mutex::new(accounts),
            ending: Mutex::default(),
        })))
    }

    fn try_wake(&self, names: &[AccountName]) -> Result<(), ClientBuildError> {
        let mut accounts = self.0.accounts.lock();
        for name in names {
            if let Some(endpoint) = self.0.activate(&mut accounts, name)? {
                (endpoint.wake_worker)();
            }
        }
        Ok(())
    }

    /// Gives every account with a worker the settings of the present configuration and the connections of `pool`.
    pub(super) fn take_settings(&self, pool: ConnectionPool) {
        let config = self.0.context.config();
        let mut accounts = self.0.accounts.lock();
        for (name, account) in accounts.iter_mut() {
            let Some(active) = &mut account.active else { continue };
            match pool.client(&account.api_key) {
                Ok(client) => active.worker.replace_client(client),
                Err(error) => _ = client_bug(error),
            }
            let settings = config.account(name.clone(), account.api_key.clone());
            active.worker.apply_settings(active.context.delivery_settings(&settings));
            active.endpoint = Arc::new(active.context.new_endpoint(settings, &active.worker));
        }
        self.0.pool.store(Arc::new(pool));
    }
}

/// The connections of all accounts that are not configured.
pub(super) fn new_pool(config: &Config) -> Result<ConnectionPool, ClientBuildError> {
    ConnectionPool::new(&config.refersion.base_url, config.refersion.timeout)
}

#[async_trait]
impl MerchantAccounts for MerchantRegistry {
    async fn admit(&self, key: ApiKey) -> Admission {
        let hash_key = self.0.context.store.hash_key();
        let name = hash_key.account(&key);
        if let Some(admission) = self.0.admit_stored(&name, &key) {
            return admission;
        }
        let (inner, pair) = (Arc::clone(&self.0), hash_key.key_pair(&key));
        // A separate task: the key is verified and stored even if the caller disconnects or is answered before.
        let task = tokio::spawn(async move { inner.verifier.admit_once(pair, inner.verify(&name, &key)).await });
        match tokio::time::timeout(ADMISSION_TIMEOUT, task).await {
            // Err: the task panicked, which is a bug.
            Ok(ended) => ended.unwrap_or(Err(AdmissionError::KeyUnverified)),
            // The verification has ended, but storing the key has not.
            Err(_) => Err(AdmissionError::KeyNotStored),
        }
    }

    fn meter(&self) -> &Meter {
        &self.0.meter
    }

    fn endpoints(&self) -> Vec<Arc<AccountEndpoint>> {
        let accounts = self.0.accounts.lock();
        let active = accounts.values().filter_map(|account| account.active.as_ref());
        active.map(|active| Arc::clone(&active.endpoint)).collect()
    }

    fn names(&self) -> Vec<AccountName> {
        self.0.accounts.lock().keys().cloned().collect()
    }

    fn wake(&self, accounts: &[AccountName]) {
        if let Err(error) = self.try_wake(accounts) {
            tracing::error!(%error, "cannot start the workers of accounts that are not configured; their pending events are delivered after their next event");
        }
    }

    async fn read_api_keys(&self) -> Result<(), StoreError> {
        // Held while reading, too, because a key that is stored meanwhile would be newer.
        let _guard = self.0.writing.lock().await;
        let sealed = self.0.context.store.kept_api_keys().await?;
        let config = self.0.context.config();
        let (seal_keys, configured) = (&config.store.seal_keys, config.every_account());
        let mut unopened = 0;
        for key in sealed.iter().filter(|key| configured.iter().all(|account| account.name != key.account)) {
            match open_seal(seal_keys, key) {
                Some(opened) => self.0.accept_stored(&key.account, &opened.api_key),
                None => unopened += 1,
            }
        }
        let kept: HashSet<&AccountName> = sealed.iter().map(|key| &key.account).collect();
        for name in self.names().into_iter().filter(|name| !kept.contains(name)) {
            tracing::info!(account = %name, "another process has removed an API key");
            let (inner, removed) = (Arc::clone(&self.0), self.0.remove_account(&name));
            // A separate task, because the requests in flight finish first.
            tokio::spawn(async move { inner.end_removed(&name, removed).await });
        }
        if unopened > 0 && self.0.log_throttle.may_log(Instant::now()) {
            tracing::error!(
                unopened,
                "another process has stored API keys with a seal key that STORE_SEAL_KEY does not hold here"
            );
        }
        Ok(())
    }

    async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError> {
        let (inner, account) = (Arc::clone(&self.0), account.clone());
        // A separate task: the worker ends in order even if the caller disconnects.
        let task = tokio::spawn(async move { inner.remove_api_key(&account).await });
        // Err: the task panicked, which is a bug.
        task.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl SharedRegistry {
    /// Removes the API key of account `name`, and ends its worker.
    async fn remove_api_key(&self, name: &AccountName) -> Result<bool, StoreError> {
        let removed = {
            let _guard = self.writing.lock().await;
            if !self.context.store.remove_api_key(name).await? {
                return Ok(false);
            }
            self.remove_account(name)
        };
        self.end_removed(name, removed).await;
        Ok(true)
    }

    /// Removes the account, whose API key was removed from the store. `writing` must be held. The caller must [end](Self::end_removed) the
    /// returned account.
    fn remove_account(&self, name: &AccountName) -> Option<ActiveAccount> {
        self.ending.lock().insert(name.clone());
        self.accounts.lock().remove(name).and_then(|account| account.active)
    }

    /// Ends the worker of a removed account, if it had one. Afterwards its API key can be accepted again.
    async fn end_removed(&self, name: &AccountName, removed: Option<ActiveAccount>) {
        if let Some(ActiveAccount { worker, context, .. }) = removed {
            context.runtime.shutdown.cancel();
            worker.ended().await;
        }
        self.ending.lock().remove(name);
    }

    /// The endpoint of account `name` if `key` is its stored API key; otherwise `None`.
    fn admit_stored(&self, name: &AccountName, key: &ApiKey) -> Option<Admission> {
        let mut accounts = self.accounts.lock();
        accounts.get(name).filter(|account| account.api_key.is_same_pair(key))?;
        Some(self.admit_active(&mut accounts, name))
    }

    /// Verifies `key` with Refersion, and stores it if Refersion accepts it.
    async fn verify(&self, name: &AccountName, key: &ApiKey) -> Admission {
        let client = self.pool.load().client(key).map_err(|_| AdmissionError::KeyRejected)?;
        let verification = self.verifier.with_permit(client.verify_api_key());
        let reason = match tokio::time::timeout(VERIFICATION_TIMEOUT, verification).await {
            Ok(ApiKeyVerification::Accepted) => return self.store_api_key(name, key).await,
            Ok(ApiKeyVerification::Rejected) => return Err(AdmissionError::KeyRejected),
            Ok(ApiKeyVerification::Unknown(failure)) => failure.what,
            Err(_) => "it took too long".to_owned(),
        };
        if self.log_throttle.may_log(Instant::now()) {
            tracing::warn!(
                "cannot verify a new API key with Refersion: {reason} (further failures are not logged for 10 s)"
            );
        }
        Err(AdmissionError::KeyUnverified)
    }

    /// Stores a verified key as the key of account `name`, in place of an earlier one.
    async fn store_api_key(&self, name: &AccountName, key: &ApiKey) -> Admission {
        let _guard = self.writing.lock().await;
        if self.ending.lock().contains(name) {
            return Err(AdmissionError::KeyUnverified); // the event is sent again
        }
        if let Err(error) = self.context.store.keep_api_keys(vec![seal(&self.seal_key, name, key)]).await {
            tracing::error!(account = %name, %error, "cannot store an API key");
            return Err(AdmissionError::KeyNotStored);
        }
        let mut accounts = self.accounts.lock();
        if self.set_api_key(&mut accounts, name, key).map_err(client_bug)? {
            tracing::info!(account = %name, "Refersion accepts another API key of the account: it replaces the stored key");
        } else {
            tracing::info!(account = %name, "Refersion accepts a new API key: created an account for it");
        }
        self.admit_active(&mut accounts, name)
    }

    /// Takes over the API key of account `name` that another process has verified and stored.
    fn accept_stored(&self, name: &AccountName, key: &ApiKey) {
        let mut accounts = self.accounts.lock();
        let same = accounts.get(name).is_some_and(|account| account.api_key.is_same_pair(key));
        if same || self.ending.lock().contains(name) {
            return;
        }
        match self.set_api_key(&mut accounts, name, key) {
            Ok(replaced) => tracing::info!(account = %name, replaced, "another process has stored an API key"),
            Err(error) => _ = client_bug(error),
        }
    }

    /// Sets the API key of account `name`; returns whether it replaces another one. An active account keeps its worker.
    fn set_api_key(
        &self,
        accounts: &mut MerchantsByName,
        name: &AccountName,
        key: &ApiKey,
    ) -> Result<bool, ClientBuildError> {
        let Some(account) = accounts.get_mut(name) else {
            accounts.insert(name.clone(), MerchantAccount { api_key: key.clone(), active: None });
            return Ok(false);
        };
        if let Some(active) = &mut account.active {
            active.worker.replace_api_key(key)?;
            let settings = self.context.config().account(name.clone(), key.clone());
            active.endpoint = Arc::new(active.context.new_endpoint(settings, &active.worker));
        }
        account.api_key = key.clone();
        Ok(true)
    }

    fn admit_active(&self, accounts: &mut MerchantsByName, name: &AccountName) -> Admission {
        self.activate(accounts, name).map_err(client_bug)?.ok_or(AdmissionError::Draining)
    }

    /// The endpoint of an account. Makes its worker and endpoint if it has none. `None` if there is no such account or the service shuts
    /// down.
    fn activate(
        &self,
        accounts: &mut MerchantsByName,
        name: &AccountName,
    ) -> Result<Option<Arc<AccountEndpoint>>, ClientBuildError> {
        let shutting_down = self.context.runtime.shutdown.is_cancelled();
        let Some(account) = accounts.get_mut(name).filter(|_| !shutting_down) else { return Ok(None) };
        if let Some(active) = &account.active {
            return Ok(Some(Arc::clone(&active.endpoint)));
        }
        let settings = self.context.config().account(name.clone(), account.api_key.clone());
        let client = self.pool.load().client(&account.api_key)?;
        let mut context = self.context.clone();
        context.runtime.shutdown = self.context.runtime.shutdown.child_token();
        let worker = context.new_worker(&settings, client, self.meter.clone());
        let endpoint = Arc::new(context.new_endpoint(settings, &worker));
        account.active = Some(ActiveAccount { endpoint: Arc::clone(&endpoint), worker, context });
        Ok(Some(endpoint))
    }
}

/// Logs that no client can be made for a verified API key. The verification made one, so this is a bug.
fn client_bug(error: ClientBuildError) -> AdmissionError {
    tracing::error!(%error, "cannot make a client for a verified API key");
    AdmissionError::KeyUnverified
}
