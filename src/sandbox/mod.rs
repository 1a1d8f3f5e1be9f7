//! A simulated Refersion, for trials without an account, for tests, and for benchmarks.
//!
//! In: HTTP calls to `/v2/affiliate/…`. Out: responses as in Refersion's published API contract: two identifiers, partial and paged
//! search, 204 for unknown fields, 404 for a missing body, the exact English messages. Failures can be produced on demand: latency,
//! errors, a rate limit, a revoked API key, lost and truncated responses.
//! A test queues [`Fault`]s and reads [`Sandbox::calls`] and [`Sandbox::affiliates`]; a person opens the page at `/`; another process
//! uses the API in [`http`].
//!
//! Invariants: the sandbox implements the contract independently of the client, so it imports neither `delivery` nor `refersion`; a call
//! with an error response has changed nothing; no password and no API key is kept, shown or logged. Where the contract is silent, the head
//! of the file names the choice. Do not use real data: everything can be read at its port. [`segment`] simulates Segment for trials of
//! connecting a source. Deliberately absent: a delete (Refersion has none), several accounts, persistence, a maximum number of affiliates.

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
pub mod segment;
mod settings;

pub use account::SandboxAffiliate;
pub use call_log::CallRecord;
pub use faults::Fault;
pub use operation::Operation;
pub use settings::SandboxSettings;

use crate::domain::{AffiliateStatus, Attribute, Profile, Timestamp};
use account::SandboxAccount;
use axum::Router;
use axum::http::HeaderMap;
use call::CallReply;
use call_log::CallLog;
use faults::FaultInjector;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A simulated Refersion with one account. Clones share the account.
#[derive(Clone)]
pub struct Sandbox(Arc<SharedSandbox>);

/// The state that all clones share.
struct SharedSandbox {
    settings: SandboxSettings,
    state: Mutex<SandboxState>,
    changed: watch::Sender<()>,
}

/// All mutable state, behind one lock that is never held across an `await`.
struct SandboxState {
    account: SandboxAccount,
    call_log: CallLog,
    faults: FaultInjector,
    api_key_revoked: bool,
}

impl Sandbox {
    /// An account without affiliates.
    pub fn new(settings: SandboxSettings) -> Self {
        let faults = FaultInjector::new(&settings);
        let state = SandboxState {
            account: SandboxAccount::new(settings.first_affiliate),
            call_log: CallLog::default(),
            faults,
            api_key_revoked: false,
        };
        Self(Arc::new(SharedSandbox { settings, state: Mutex::new(state), changed: watch::Sender::new(()) }))
    }

    /// Serves until the future is dropped. Responses in progress are then finished, and connections closed.
    /// The base URL is `http://ADDRESS/v2`.
    pub fn serve(&self, listener: TcpListener) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let service = self.router().into_make_service_with_connect_info::<faulty_connection::ConnectionControl>();
        axum::serve(faulty_connection::FaultyListener(listener), service).into_future()
    }

    /// The routes without a server. The connections of another server have no faults: a response that should be lost is never sent, and
    /// one that should be truncated or slow is sent as usual.
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    /// Its settings.
    pub fn settings(&self) -> &SandboxSettings {
        &self.0.settings
    }

    /// Queues faults for the next calls of any operation, one for each call.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.queue(None, faults);
    }

    /// Queues faults for the next calls of one operation, one for each call.
    pub fn script_for(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        self.queue(Some(operation), faults);
    }

    fn queue(&self, operation: Option<Operation>, faults: impl IntoIterator<Item = Fault>) {
        self.update(|state| faults.into_iter().for_each(|fault| state.faults.push(operation, fault)));
    }

    /// How many scripted faults are pending.
    pub fn pending_faults(&self) -> usize {
        self.state().faults.pending()
    }

    /// Makes every API key wrong from now on: 401.
    pub fn revoke_api_key(&self) {
        self.update(|state| state.api_key_revoked = true);
    }

    /// Ends [`revoke_api_key`](Self::revoke_api_key).
    pub fn restore_api_key(&self) {
        self.update(|state| state.api_key_revoked = false);
    }

    /// Whether every API key is wrong at the moment.
    pub fn api_key_revoked(&self) -> bool {
        self.state().api_key_revoked
    }

    /// Adds an affiliate without a call and without the rules of `new`. Returns `None` and adds nothing if `profile` has no e-mail or a
    /// taken one.
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

    /// All affiliates, oldest first.
    pub fn affiliates(&self) -> Vec<SandboxAffiliate> {
        self.state().account.iter().cloned().collect()
    }

    /// The affiliate with this e-mail, without case.
    pub fn affiliate(&self, email: &str) -> Option<SandboxAffiliate> {
        self.state().account.by_email(email).cloned()
    }

    /// The last 10,000 calls, in the order in which they took effect.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.state().call_log.iter().cloned().collect()
    }

    /// The number of calls since the start.
    pub fn calls_total(&self) -> u64 {
        self.state().call_log.total()
    }

    /// Waits until `holds` is true; it is checked now and after every change: `until(|sandbox| sandbox.calls_total() == 3)`.
    /// There is no timeout: the caller sets one.
    pub async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        let mut changes = self.0.changed.subscribe();
        while !holds(self) {
            // Err: cannot happen, because `self` keeps the sender.
            changes.changed().await.ok();
        }
    }

    fn handle_call(&self, operation: Operation, headers: &HeaderMap, bytes: &[u8]) -> CallReply {
        self.update(|state| state.handle_call(&self.0.settings, operation, headers, bytes, now()))
    }

    fn update<T>(&self, change: impl FnOnce(&mut SandboxState) -> T) -> T {
        let result = change(&mut self.state());
        self.0.changed.send_replace(());
        result
    }

    fn state(&self) -> MutexGuard<'_, SandboxState> {
        self.0.state.lock()
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
