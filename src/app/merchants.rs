//! The accounts that are not configured: each is known by the public half of a key that arrived with a request and that
//! Refersion took.
//!
//! In go key pairs, out come doors. A pair equal to the one kept for its public half is admitted at once; any other is proved
//! with Refersion first, kept sealed, and only then admitted, in the place of the one before. So who knows a public half
//! alone gets nothing delivered and replaces nothing, and what nobody proved is never stored. Invariants: the sealed key is
//! committed and synced before the first event under it is recorded; an account's name is made of the public half, so its
//! users, order and duplicates survive a change of the secret; each account has a worker and a health of its own,
//! from its first request on, or from the start if events wait for it: until then it costs its key and no more.
//! Deliberately absent: forgetting a key; one that Refersion no longer takes halts its account.

use super::ServeError;
use super::ground::Ground;
use super::proofs::{Admitted, Proofs};
use crate::account_signals::AccountSignals;
use crate::domain::{AccountName, ApiKey, SealKey, SealNonce, SealedKey, open_seal};
use crate::http::{AccountEndpoint, AdmissionError, Merchants};
use crate::refersion::{BuildError, ConnectionPool, KeyVerification};
use crate::store::{EventLog as _, KeyVault, Maintenance as _, SqliteStore};
use crate::worker::Worker;
use async_trait::async_trait;
use rand::Rng as _;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a proof may take, the wait for its turn included. Segment stops waiting for an answer after 5 s, of which
/// SERVER_WAIT takes up to 2 by default.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Those whose key was proved. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Proved(Arc<Inner>);

struct Inner {
    ground: Ground,
    seal: SealKey,
    pool: ConnectionPool,
    proofs: Proofs,
    /// Held from keeping a key until it is known here, so that the store and this agree.
    keeping: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

type Known = HashMap<AccountName, Merchant>;

struct Merchant {
    key: ApiKey,
    at_work: Option<AtWork>,
}

struct AtWork {
    door: Arc<AccountEndpoint>,
    worker: Worker,
}

/// Keys that were opened when the service started.
pub(super) type Keys = Vec<(AccountName, ApiKey)>;

/// Opens every key that is kept, or none of them. Those that the first seal key does not open are sealed anew under it.
pub(super) async fn open(seals: &[SealKey], store: &SqliteStore) -> Result<Keys, ServeError> {
    let first = seals.first().ok_or(ServeError::NoSealKey)?;
    let kept = store.kept_keys().await?;
    let opened: Vec<_> = kept.iter().filter_map(|sealed| Some((&sealed.account, open_seal(seals, sealed)?))).collect();
    if opened.len() < kept.len() {
        return Err(ServeError::Sealed { shut: kept.len() - opened.len(), kept: kept.len() });
    }
    let under_another = opened.iter().filter(|(_, opened)| !opened.by_first);
    let again: Vec<_> = under_another.map(|(account, opened)| seal(first, account, &opened.api_key)).collect();
    if !again.is_empty() {
        let count = again.len();
        store.keep_keys(again).await?;
        tracing::info!(count, "API keys were sealed anew: the seal keys after the first are not needed any more");
    }
    Ok(opened.into_iter().map(|(account, opened)| (account.clone(), opened.api_key)).collect())
}

fn seal(seal: &SealKey, account: &AccountName, key: &ApiKey) -> SealedKey {
    let mut nonce = SealNonce::default();
    rand::rng().fill_bytes(&mut nonce);
    seal.seal(account, key, &nonce)
}

impl Proved {
    /// The accounts with these keys.
    pub(super) fn new(ground: Ground, keys: Keys) -> Result<Self, ServeError> {
        let config = &ground.config;
        let seal = config.store.seal_keys.first().cloned().ok_or(ServeError::NoSealKey)?;
        let pool = ConnectionPool::new(&config.refersion.base_url, config.refersion.timeout)?;
        let accounts = keys.into_iter().map(|(name, key)| (name, Merchant { key, at_work: None })).collect();
        Ok(Self(Arc::new(Inner {
            ground,
            seal,
            pool,
            proofs: Proofs::new(),
            keeping: tokio::sync::Mutex::default(),
            known: Mutex::new(accounts),
        })))
    }

    /// Wakes the workers of those for whom events wait.
    pub(super) fn wake(&self, waiting: &BTreeMap<String, u64>) -> Result<(), BuildError> {
        let mut known = self.0.known();
        for (name, _) in waiting.iter().filter(|(_, events)| **events > 0) {
            let name = AccountName::from(name.clone());
            if let Some(door) = self.0.door_of(&mut known, &name)? {
                (door.wake_worker)();
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Merchants for Proved {
    async fn admit(&self, key: ApiKey) -> Admitted {
        let name = self.0.ground.store.hash_key().account(&key);
        if let Some(admitted) = self.0.known_key(&name, &key) {
            return admitted;
        }
        let inner = Arc::clone(&self.0);
        let pair = inner.ground.store.hash_key().key_pair(&key);
        // By itself, so that a sender who hangs up leaves nothing half done.
        let proving = tokio::spawn(async move { inner.proofs.of(pair, inner.prove(&name, &key)).await });
        // Err: a panic, which is a bug.
        proving.await.unwrap_or(Err(AdmissionError::KeyUnverified))
    }

    fn endpoints(&self) -> Vec<Arc<AccountEndpoint>> {
        let known = self.0.known();
        let at_work = known.values().filter_map(|merchant| merchant.at_work.as_ref());
        at_work.map(|at_work| Arc::clone(&at_work.door)).collect()
    }

    fn wake_accounts_with_pending_events(&self) {
        if let Err(error) = self.wake(&self.0.ground.store.waiting()) {
            tracing::error!(%error, "events of accounts that are not configured may wait for their next one");
        }
    }
}

impl Inner {
    /// What there is to say without asking Refersion.
    fn known_key(&self, name: &AccountName, key: &ApiKey) -> Option<Admitted> {
        let mut known = self.known();
        known.get(name).filter(|merchant| merchant.key.is_same_pair(key))?;
        Some(self.admitted(&mut known, name))
    }

    /// Proves a key, and keeps it if Refersion takes it.
    async fn prove(&self, name: &AccountName, key: &ApiKey) -> Admitted {
        let client = self.pool.client(key).map_err(|_| AdmissionError::KeyRefused)?;
        let unproven = match tokio::time::timeout(PATIENCE, self.proofs.in_turn(client.verify_key())).await {
            Ok(KeyVerification::Accepted) => return self.keep(name, key).await,
            Ok(KeyVerification::Rejected) => return Err(AdmissionError::KeyRefused),
            Ok(KeyVerification::Unknown { reason: what, .. }) => what,
            Err(_) => "it took too long".to_owned(),
        };
        if self.proofs.is_to_be_told() {
            tracing::warn!(
                "cannot tell whether Refersion takes a new API key: {unproven} (more within 10 s are not logged)"
            );
        }
        Err(AdmissionError::KeyUnverified)
    }

    /// Keeps a key that Refersion takes, in the place of an earlier one of the account.
    async fn keep(&self, name: &AccountName, key: &ApiKey) -> Admitted {
        let _alone = self.keeping.lock().await;
        if let Err(error) = self.ground.store.keep_keys(vec![seal(&self.seal, name, key)]).await {
            tracing::error!(account = %name, %error, "an API key cannot be kept");
            return Err(AdmissionError::KeyNotStored);
        }
        let mut known = self.known();
        let at_work = known.get(name).and_then(|merchant| merchant.at_work.as_ref());
        let at_work = at_work.map(|at_work| self.rekeyed(name, key, at_work)).transpose().map_err(bug)?;
        let before = known.insert(name.clone(), Merchant { key: key.clone(), at_work });
        if before.is_none() {
            tracing::info!(account = %name, "Refersion takes a new API key: an account of its own");
        } else {
            tracing::info!(account = %name, "Refersion takes another API key of the account: it goes on with it");
        }
        self.admitted(&mut known, name)
    }

    /// The same worker with another key, and a door that this key opens.
    fn rekeyed(&self, name: &AccountName, key: &ApiKey, at_work: &AtWork) -> Result<AtWork, BuildError> {
        let AtWork { door, worker } = at_work;
        worker.replace_key(key)?;
        let account = self.ground.config.account(name.clone(), key.clone());
        let door = self.ground.door(account, door.signals.clone(), worker.clone());
        Ok(AtWork { door: Arc::new(door), worker: worker.clone() })
    }

    fn admitted(&self, known: &mut Known, name: &AccountName) -> Admitted {
        self.door_of(known, name).map_err(bug)?.ok_or(AdmissionError::Draining)
    }

    /// The door of an account, which goes to work if it is not yet; none if it is not known, or the service is about to stop.
    fn door_of(&self, known: &mut Known, name: &AccountName) -> Result<Option<Arc<AccountEndpoint>>, BuildError> {
        let shutting_down = self.ground.runtime.shutdown.is_cancelled();
        let Some(merchant) = known.get_mut(name).filter(|_| !shutting_down) else { return Ok(None) };
        if let Some(at_work) = &merchant.at_work {
            return Ok(Some(Arc::clone(&at_work.door)));
        }
        let account = self.ground.config.account(name.clone(), merchant.key.clone());
        let client = self.pool.client(&merchant.key)?;
        let signals = AccountSignals::default();
        let worker = self.ground.worker(&account, client, signals.clone());
        let door = Arc::new(self.ground.door(account, signals, worker.clone()));
        merchant.at_work = Some(AtWork { door: Arc::clone(&door), worker });
        Ok(Some(door))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that was proved fits into a client: that it does not is a bug.
fn bug(error: BuildError) -> AdmissionError {
    tracing::error!(%error, "a client for a proved API key cannot be made");
    AdmissionError::KeyUnverified
}
