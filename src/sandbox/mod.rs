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
mod faults;
pub mod http;
mod journal;
mod operation;
mod operations;
mod page;
mod refusal;
mod rules;
mod settings;
mod wire;

pub use account::AffiliateView;
pub use faults::Fault;
pub use journal::CallRecord;
pub use operation::{Operation, UnknownOperation};
pub use settings::Settings;

use crate::domain::{Attribute, Profile, Status, Timestamp};
use account::Account;
use axum::Router;
use axum::http::HeaderMap;
use call::Outcome;
use faults::Faults;
use journal::Journal;
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
    settings: Settings,
    world: Mutex<World>,
    changed: watch::Sender<()>,
}

/// Everything that changes, behind one lock that is never held across a wait.
struct World {
    account: Account,
    journal: Journal,
    faults: Faults,
    key_revoked: bool,
}

impl Sandbox {
    /// An account without affiliates.
    pub fn new(settings: Settings) -> Self {
        let faults = Faults::new(&settings);
        let world = World { account: Account::default(), journal: Journal::default(), faults, key_revoked: false };
        Self(Arc::new(Inner { settings, world: Mutex::new(world), changed: watch::Sender::new(()) }))
    }

    /// Serves until dropped; then what is being answered is still answered, and the connections are closed.
    /// The base URL is `http://ADDRESS/v2`.
    pub fn serve(&self, listener: TcpListener) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let service = self.router().into_make_service_with_connect_info::<wire::Wire>();
        axum::serve(wire::Wires(listener), service).into_future()
    }

    /// The routes alone, for a server of one's own. Such a server's connections cannot be cut from here: answers to be lost
    /// are then never given, and those to be torn or to trickle arrive whole.
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    /// How it was set up.
    pub fn settings(&self) -> &Settings {
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
        self.alter(|world| faults.into_iter().for_each(|fault| world.faults.push(operation, fault)));
    }

    /// How many scripted faults have not befallen a call yet.
    pub fn faults_waiting(&self) -> usize {
        self.world().faults.waiting()
    }

    /// From now on every key pair is wrong: 401.
    pub fn revoke_key(&self) {
        self.alter(|world| world.key_revoked = true);
    }

    /// Takes [`revoke_key`](Self::revoke_key) back.
    pub fn restore_key(&self) {
        self.alter(|world| world.key_revoked = false);
    }

    /// Whether every key pair is wrong at the moment.
    pub fn key_revoked(&self) -> bool {
        self.world().key_revoked
    }

    /// Adds an affiliate that exists before anybody calls; the rules of `new` are not applied. None, and nothing is added,
    /// where `profile` has no e-mail or one that is taken.
    pub fn add(&self, status: Status, profile: &Profile) -> Option<AffiliateView> {
        let mut fields = BTreeMap::new();
        let mut custom_fields = BTreeMap::new();
        for (attribute, value) in profile.iter() {
            match attribute {
                Attribute::Field(field) => fields.insert(field.as_str().to_owned(), value.to_owned()),
                Attribute::Custom(id) => custom_fields.insert(id.clone(), value.to_owned()),
            };
        }
        let email = fields.get("email")?.clone();
        self.alter(|world| {
            if world.account.taken(&email, None) {
                return None;
            }
            let id = world.account.create(status, fields, now()).id;
            world.account.change(id.0, |affiliate| affiliate.custom_fields = custom_fields);
            world.account.by_id(id.0).cloned()
        })
    }

    /// Every affiliate, oldest first.
    pub fn affiliates(&self) -> Vec<AffiliateView> {
        self.world().account.iter().cloned().collect()
    }

    /// The affiliate with this e-mail, without case.
    pub fn affiliate(&self, email: &str) -> Option<AffiliateView> {
        self.world().account.by_email(email).cloned()
    }

    /// The last 10,000 calls, in the order they took effect.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.world().journal.iter().cloned().collect()
    }

    /// How many calls there ever were.
    pub fn calls_total(&self) -> u64 {
        self.world().journal.total()
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

    fn take(&self, operation: Operation, headers: &HeaderMap, bytes: &[u8]) -> Outcome {
        self.alter(|world| world.take(&self.0.settings, operation, headers, bytes, now()))
    }

    fn alter<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.world());
        self.0.changed.send_replace(());
        result
    }

    /// A poisoned lock is taken all the same: one call that panicked must not end the account for all others.
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
