//! A simulated Refersion: for a first try without an account, for tests, and for benchmarks.
//!
//! In come HTTP calls to `/v2/affiliate/…`, out come Refersion's answers as its published contract has them: two
//! identifiers, partial and paged search, 204 for unknown fields, 404 for no body, exact English messages. What goes wrong
//! out there goes wrong here on demand: latency, failures, a rate limit, revoked keys, lost and broken answers.
//! A test queues [`Fault`]s and reads [`Sandbox::calls`] and [`Sandbox::affiliates`]; a person opens the page at `/`;
//! another process uses the doors listed in [`http`].
//!
//! Invariants: it is an independent second reading of the contract, so it imports neither `delivery` nor `refersion`; a
//! refused call changed nothing; no password and no key is kept, shown or logged. Where the contract is silent, the head of
//! the file concerned says what was chosen. Not a place for real data: whoever reaches the port reads everything.
//! Deliberately absent: a delete (Refersion has none), several accounts, persistence, a maximum of affiliates.

mod account;
mod call;
mod call_log;
mod error_response;
mod faults;
mod faulty_connection;
pub mod http;
mod operation;
mod operations;
mod page;
mod rules;
mod settings;

pub use account::SandboxAffiliate;
pub use call_log::CallRecord;
pub use faults::Fault;
pub use operation::{Operation, UnknownOperation};
pub use settings::SandboxSettings;

use crate::domain::{AffiliateStatus, Attribute, Profile, Timestamp};
use account::SandboxAccount;
use axum::Router;
use axum::http::HeaderMap;
use call::CallOutcome;
use call_log::CallLog;
use faults::FaultInjector;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A simulated Refersion account. Clones are handles on the same one.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    settings: SandboxSettings,
    state: Mutex<SandboxState>,
    changed: watch::Sender<()>,
}

/// Everything that changes, behind one lock that is never held across a wait.
struct SandboxState {
    account: SandboxAccount,
    call_log: CallLog,
    faults: FaultInjector,
    key_revoked: bool,
}

impl Sandbox {
    /// An account without affiliates.
    pub fn new(settings: SandboxSettings) -> Self {
        let faults = FaultInjector::new(&settings);
        let state = SandboxState {
            account: SandboxAccount::default(),
            call_log: CallLog::default(),
            faults,
            key_revoked: false,
        };
        Self(Arc::new(Inner { settings, state: Mutex::new(state), changed: watch::Sender::new(()) }))
    }

    /// Serves until dropped; then what is being answered is still answered, and the connections are closed.
    /// The base URL is `http://ADDRESS/v2`.
    pub fn serve(&self, listener: TcpListener) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let service = self.router().into_make_service_with_connect_info::<faulty_connection::ConnectionControl>();
        axum::serve(faulty_connection::FaultyListener(listener), service).into_future()
    }

    /// The routes alone, for a server of one's own. Such a server's connections cannot be cut from here: answers to be lost
    /// are then never given, and those to be torn or to trickle arrive whole.
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    /// How it was set up.
    pub fn settings(&self) -> &SandboxSettings {
        &self.0.settings
    }

    /// Queues faults for the next calls, one each, whatever the operation.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.queue(None, faults);
    }

    /// Queues faults for the next calls of one operation.
    pub fn script_for(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        self.queue(Some(operation), faults);
    }

    fn queue(&self, operation: Option<Operation>, faults: impl IntoIterator<Item = Fault>) {
        self.update(|state| faults.into_iter().for_each(|fault| state.faults.push(operation, fault)));
    }

    /// How many scripted faults have not befallen a call yet.
    pub fn pending_faults(&self) -> usize {
        self.state().faults.pending()
    }

    /// From now on every key pair is wrong: 401.
    pub fn revoke_key(&self) {
        self.update(|state| state.key_revoked = true);
    }

    /// Takes [`revoke_key`](Self::revoke_key) back.
    pub fn restore_key(&self) {
        self.update(|state| state.key_revoked = false);
    }

    /// Whether every key pair is wrong at the moment.
    pub fn key_revoked(&self) -> bool {
        self.state().key_revoked
    }

    /// Adds an affiliate that exists before anybody calls; the rules of `new` are not applied. None, and nothing is added,
    /// where `profile` has no e-mail or one that is taken.
    pub fn add(&self, status: AffiliateStatus, profile: &Profile) -> Option<SandboxAffiliate> {
        let mut fields = BTreeMap::new();
        let mut custom_fields = BTreeMap::new();
        for (attribute, value) in profile.iter() {
            match attribute {
                Attribute::Field(field) => fields.insert(field.as_str().to_owned(), value.to_owned()),
                Attribute::Custom(id) => custom_fields.insert(id.clone(), value.to_owned()),
            };
        }
        let email = fields.get("email")?.clone();
        self.update(|state| {
            if state.account.email_taken(&email, None) {
                return None;
            }
            let id = state.account.create(status, fields, now()).id;
            state.account.change(id.0, |affiliate| affiliate.custom_fields = custom_fields);
            state.account.by_id(id.0).cloned()
        })
    }

    /// Every affiliate, oldest first.
    pub fn affiliates(&self) -> Vec<SandboxAffiliate> {
        self.state().account.iter().cloned().collect()
    }

    /// The affiliate with this e-mail, without case.
    pub fn affiliate(&self, email: &str) -> Option<SandboxAffiliate> {
        self.state().account.by_email(email).cloned()
    }

    /// The last 10,000 calls, in the order they took effect.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.state().call_log.iter().cloned().collect()
    }

    /// How many calls there ever were.
    pub fn calls_total(&self) -> u64 {
        self.state().call_log.total()
    }

    /// Waits until `holds`, which is asked now and after every change: `until(|sandbox| sandbox.calls_total() == 3)`.
    /// Waits forever if need be: the caller sets a deadline.
    pub async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        let mut changes = self.0.changed.subscribe();
        while !holds(self) {
            // The sender lives as long as `self`, so this never fails.
            changes.changed().await.ok();
        }
    }

    fn handle_call(&self, operation: Operation, headers: &HeaderMap, bytes: &[u8]) -> CallOutcome {
        self.update(|state| state.handle_call(&self.0.settings, operation, headers, bytes, now()))
    }

    fn update<T>(&self, change: impl FnOnce(&mut SandboxState) -> T) -> T {
        let result = change(&mut self.state());
        self.0.changed.send_replace(());
        result
    }

    /// A poisoned lock is taken all the same: one call that panicked must not end the account for all others.
    fn state(&self) -> MutexGuard<'_, SandboxState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
