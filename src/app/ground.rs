//! What all accounts stand on: the configuration, the store, the clock and the counters; and how one comes to its worker and
//! its door.

use crate::clock::Clock;
use crate::config::{Account, Config};
use crate::http::Door;
use crate::notice::Notice;
use crate::queue::{Queue, SqliteQueue};
use crate::refersion::Client;
use crate::segment::Trust;
use crate::telemetry::Metrics;
use crate::worker::{self, Worker};
use std::sync::Arc;
use std::time::Duration;

/// What all accounts share. Cheap to clone.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) config: Arc<Config>,
    pub(super) queue: Arc<SqliteQueue>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
}

impl Ground {
    /// The store, whatever its engine.
    pub(super) fn store(&self) -> Arc<dyn Queue> {
        Arc::clone(&self.queue) as Arc<dyn Queue>
    }

    /// The worker of `account`, which calls through `client`.
    pub(super) fn worker(&self, account: &Account, client: Client, notice: Notice) -> Worker {
        let (delivery, timeout) = (&self.config.delivery, self.config.refersion.timeout);
        let settings = worker::Settings {
            account: account.name.clone(),
            client,
            rules: account.rules.clone(),
            policy: delivery.policy,
            backoff: delivery.backoff,
            max_age: delivery.max_age,
            concurrency: account.concurrency.get(),
            longest_call: longest_call(account, timeout),
            lease: lease(account, timeout),
            meter: self.metrics.of(&account.name),
        };
        Worker::new(settings, self.store(), notice, self.clock)
    }

    /// The door of `account`.
    pub(super) fn door(&self, account: Account, notice: Notice) -> Door {
        Door {
            meter: self.metrics.of(&account.name),
            account: account.name,
            trust: Trust::new(account.api_key, account.shared_secrets),
            rules: account.rules,
            clock: self.clock,
            queue: self.store(),
            notice,
            wait: self.config.server.wait,
            at_once: account.concurrency.get() as u64,
        }
    }
}

/// Its turn under the ceiling of requests per second, then its timeout, then some.
fn longest_call(account: &Account, timeout: Duration) -> Duration {
    let turns = u32::try_from(account.concurrency.get()).unwrap_or(u32::MAX);
    let per_turn = account
        .max_requests_per_second
        .map_or(Duration::ZERO, |rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX));
    Duration::from_secs(5).saturating_add(timeout).saturating_add(per_turn.saturating_mul(turns))
}

/// Long enough to wait in line behind others.
fn lease(account: &Account, timeout: Duration) -> Duration {
    longest_call(account, timeout).saturating_mul(8)
}
