//! The account endpoints ([`Door`]), and which of them a request is for.
//!
//! Each configured account has an endpoint of its own, `/segment/{name}`; `/segment` and `/v1/batch` are for all accounts: the
//! key in the Basic credentials says which, and a request without credentials is for the account `main`. Where any key is
//! accepted, one that is no configured account's goes to [`Merchants`], which verifies it with Refersion. Invariants: a path that
//! no account has is answered like any other unknown path; a key with the public half of a configured account goes nowhere
//! else. Deliberately absent: whether a request is authentic ([`crate::segment::Trust`]).

use super::Door;
use super::answer::Answer;
use crate::clock::Clock;
use crate::domain::{AccountName, ApiKey};
use crate::segment::{self, Disbelief, Trust};
use crate::store::Store;
use crate::telemetry::Metrics;
use async_trait::async_trait;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The accounts that are not configured: their keys arrive with their requests.
#[async_trait]
pub trait Merchants: Send + Sync {
    /// The door of the account with this key, once Refersion has taken the key and it is kept.
    async fn admit(&self, key: ApiKey) -> Result<Arc<Door>, Barred>;

    /// The doors of those that are at work.
    fn doors(&self) -> Vec<Arc<Door>>;

    /// Events may wait that did not before, after a replay: the workers of their accounts are woken.
    fn wake_those_with_events(&self);
}

/// Why a key opens no door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// Refersion refuses it.
    Refused,
    /// Nobody could say in time whether Refersion takes it.
    Unproven,
    /// It could not be kept.
    NotKept,
    /// The service is about to stop.
    Draining,
}

/// The doors of all accounts, before one store.
pub struct Doors {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    /// Who may see and change dead letters, and erase; without it, nobody.
    pub(super) operator: Option<Trust>,
    pub(super) merchants: Option<Arc<dyn Merchants>>,
    pub(super) metrics: Metrics,
    shutdown: CancellationToken,
    all: Vec<Arc<Door>>,
}

impl Doors {
    /// The doors of configured accounts with different names and keys, all of them before `store`. `shutdown` is cancelled
    /// when the service shuts down.
    pub fn new(store: Arc<dyn Store>, clock: Clock, shutdown: CancellationToken, doors: Vec<Door>) -> Self {
        let all = doors.into_iter().map(Arc::new).collect();
        Self { store, clock, operator: None, merchants: None, metrics: Metrics::default(), shutdown, all }
    }

    /// The same, whose operators show `key`.
    #[must_use]
    pub fn operated_with(self, key: ApiKey) -> Self {
        Self { operator: Some(Trust::new(key, Vec::new())), ..self }
    }

    /// The same, whose operators are shown these counters.
    #[must_use]
    pub fn counted_by(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// The same, with doors for keys that no configured account has.
    #[must_use]
    pub fn and(self, merchants: Arc<dyn Merchants>) -> Self {
        Self { merchants: Some(merchants), ..self }
    }

    /// The door of every configured account; `main` is the first, if there is one.
    pub(super) fn configured(&self) -> impl Iterator<Item = &Arc<Door>> + Clone {
        self.all.iter()
    }

    /// The doors of the other accounts that are at work.
    pub(super) fn of_merchants(&self) -> Vec<Arc<Door>> {
        self.merchants.as_ref().map(|merchants| merchants.doors()).unwrap_or_default()
    }

    /// Whether the service shuts down.
    pub(super) fn is_draining(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// Wakes the worker of every account for which events wait: a replay may have appended some.
    pub fn wake_those_with_events(&self) {
        if let Some(merchants) = &self.merchants {
            merchants.wake_those_with_events();
        }
        let waiting = self.store.waiting();
        let has_events = |door: &&Arc<Door>| waiting.get(door.account.as_str()).is_some_and(|events| *events > 0);
        self.configured().filter(has_events).for_each(|door| (door.wake)());
    }

    /// The door that a request with these headers is for.
    pub(super) async fn door_for(&self, headers: &HeaderMap) -> Result<Arc<Door>, Answer> {
        if self.is_draining() {
            return Err(Answer::Draining);
        }
        let trusts = self.all.iter().map(|door| &door.trust);
        let door = match segment::choose(trusts, credentials(headers)) {
            Ok(Some(place)) => self.all.get(place),
            Ok(None) => self.all.iter().find(|door| door.account == AccountName::main()),
            Err(why) => return self.merchant(headers).await.unwrap_or(Err(Answer::Disbelieved(why))),
        };
        door.cloned().ok_or(Answer::Disbelieved(Disbelief::Nothing))
    }

    /// The door of the account that is not configured and has the key presented; none where there can be no such account.
    async fn merchant(&self, headers: &HeaderMap) -> Option<Result<Arc<Door>, Answer>> {
        let merchants = self.merchants.as_ref()?;
        let key = segment::presented(credentials(headers))?;
        if self.all.iter().any(|door| door.trust.is_of(&key)) {
            return None;
        }
        Some(merchants.admit(key).await.map_err(Answer::from))
    }
}

/// The values of the `Authorization` headers.
pub(super) fn credentials(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(AUTHORIZATION).into_iter().map(HeaderValue::as_bytes)
}
