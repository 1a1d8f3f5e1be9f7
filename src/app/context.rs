//! The app context: the parts that all accounts share (configuration, store, clock, metrics, the runtime of the workers). It makes the
//! worker and the endpoint of each account.
//!
//! In: the settings of an account. Out: its idle worker, and the endpoint that wakes that worker. Deliberately absent: the list of accounts
//! ([`super`] for configured ones, [`super::merchant_registry`] for all others).

use crate::account_signals::AccountSignals;
use crate::clock::Clock;
use crate::config::{AccountConfig, Config};
use crate::http::AccountEndpoint;
use crate::mapping::Rules;
use crate::refersion::Client;
use crate::scheduling::HealthLimits;
use crate::segment::Authenticator;
use crate::store::Store;
use crate::telemetry::{Meter, Metrics};
use crate::worker::{self, DeliverySettings, Runtime, Worker};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The parts that all accounts share. Cheap to clone; all clones share the same parts.
#[derive(Clone)]
pub(super) struct AppContext {
    config: Arc<ArcSwap<Config>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) runtime: Runtime,
}

impl AppContext {
    /// A context of these parts. Events are delivered on `runtime`.
    pub(super) fn new(config: Config, store: Arc<dyn Store>, clock: Clock, metrics: Metrics, runtime: Runtime) -> Self {
        Self { config: Arc::new(ArcSwap::from_pointee(config)), store, clock, metrics, runtime }
    }

    /// The present configuration.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Replaces the configuration: every later [`AppContext::config`] returns this one.
    pub(super) fn set_config(&self, config: Arc<Config>) {
        self.config.store(config);
    }

    /// The settings for the deliveries of `account`.
    pub(super) fn delivery_settings(&self, account: &AccountConfig) -> DeliverySettings {
        let config = self.config();
        DeliverySettings {
            rules: self.rules_of(account),
            policy: config.delivery.policy,
            limits: HealthLimits {
                backoff: config.delivery.backoff,
                concurrency: account.concurrency.get(),
                requests_per_second: account.max_requests_per_second,
            },
            max_age: config.delivery.max_age,
            learn: config.delivery.learn,
            seal_keys: config.store.seal_keys.clone(),
        }
    }

    /// The account's rules. Without a seal key no traits are remembered. A seal key that a reload adds is used from the next start on.
    fn rules_of(&self, account: &AccountConfig) -> Rules {
        let can_seal = !self.config().store.seal_keys.is_empty();
        Rules { remember_traits: account.rules.remember_traits.filter(|_| can_seal), ..account.rules.clone() }
    }

    /// A worker for `account` that calls Refersion through `client`. It is idle until it is woken.
    pub(super) fn new_worker(&self, account: &AccountConfig, client: Client, meter: Meter) -> Worker {
        let delivery = ArcSwap::from_pointee(self.delivery_settings(account));
        let context = worker::WorkerContext { account: account.name.clone(), client, delivery, meter };
        let (runtime, store) = (self.runtime.clone(), Arc::clone(&self.store));
        Worker::new(context, runtime, store, AccountSignals::default(), self.clock)
    }

    /// An endpoint for the account of `worker`, which it wakes.
    pub(super) fn new_endpoint(&self, account: AccountConfig, worker: &Worker) -> AccountEndpoint {
        let (rules, woken) = (self.rules_of(&account), worker.clone());
        AccountEndpoint {
            meter: worker.meter().clone(),
            account: account.name,
            authenticator: Authenticator::new(account.api_key, account.shared_secrets),
            rules,
            clock: self.clock,
            store: Arc::clone(&self.store),
            signals: worker.signals().clone(),
            wake_worker: Arc::new(move || woken.wake()),
            shutdown: self.runtime.shutdown.clone(),
            max_wait: self.config().server.wait,
            concurrency: account.concurrency.get() as u64,
        }
    }
}
