//! The metrics of this process: the meters of the accounts, the counts of the whole service, and the text that Prometheus reads.
//!
//! In: counts from the services, and the state that is [observed](Observed) at a scrape. Out: the text. Invariant: a gauge is set from the
//! present state at each scrape, never counted up and down, so it cannot drift.

use super::definitions::Families;
use super::exposition::ExpositionFormat;
use super::labels::{
    self, ARRIVED, AUTH_ERRORS, AccountLabel, AccountLabels, BREAKER_STATES, NO_ACCOUNT, OperationLabels, ReasonLabels,
    ReloadLabels, ReloadResult, StateLabels, StatusLabels,
};
use super::meter::Meter;
use super::meters::Meters;
use super::{EventStatus, Totals, process};
use crate::delivery::OutcomeCode;
use crate::domain::AccountName;
use crate::scheduling::HealthSnapshot;
use crate::segment::AuthError;
use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The metrics of this process. Cheap to clone; clones share the counts.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<MetricsInner>);

#[derive(Debug)]
struct MetricsInner {
    registry: Registry,
    families: Families,
    /// By status.
    request_durations: Vec<Histogram>,
    /// The most configured accounts with a separate meter.
    max_own: usize,
    meters: Mutex<Meters>,
}

/// The state at a scrape.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Whether the service accepts events.
    pub ready: bool,
    /// The accounts that have a worker.
    pub accounts: Vec<(AccountName, ObservedAccount)>,
    /// The number of pending events, by the name of the account. An account without pending events may be left out.
    pub pending: BTreeMap<String, u64>,
    /// The measurement of the store; none if it failed.
    pub store: Option<ObservedStore>,
}

/// The state of an account that has a worker.
#[derive(Clone, Copy, Debug)]
pub struct ObservedAccount {
    /// Whether this process delivers for it.
    pub is_owner: bool,
    /// Its health. A pause that is over counts as over.
    pub health: HealthSnapshot,
}

/// A measurement of the store.
#[derive(Clone, Debug, Default)]
pub struct ObservedStore {
    /// The age of the oldest pending event, by the name of the account.
    pub oldest_pending: BTreeMap<String, Duration>,
    /// The number of dead letters, by the name of the account and the reason's short word.
    pub dead_letters: BTreeMap<(String, String), u64>,
    /// The remembered traits of users who are no affiliates yet, by the name of the account: users and bytes.
    pub remembered: BTreeMap<String, (u64, u64)>,
    /// The number of users whose remembered traits were dropped because their account had reached its limit.
    pub remembered_dropped: u64,
    /// The size on disk, in bytes.
    pub size: u64,
    /// The free space on the disk, in bytes; none if the system does not state it.
    pub free: Option<u64>,
    /// The number of ids of the deduplication index in memory, and their bytes.
    pub deduplication: (u64, u64),
    /// The number of events that the ledger could not record.
    pub ledger_dropped: u64,
}

/// The gauges of one value of the label `account`.
#[derive(Clone, Copy, Debug, Default)]
struct Gauges {
    pending: u64,
    /// Users and bytes.
    remembered: (u64, u64),
    oldest: Duration,
    concurrency_limit: usize,
    in_flight: usize,
    owned: u64,
    /// The number of accounts in each of [`BREAKER_STATES`].
    states: [i64; BREAKER_STATES.len()],
}

impl Default for Metrics {
    /// Any number of configured accounts have separate series.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

fn of_no_account(error: AuthError) -> ReasonLabels {
    ReasonLabels { account: NO_ACCOUNT.into(), reason: labels::auth_reason(error) }
}

impl Metrics {
    /// With every series that is of no account. Up to `max_own` configured accounts will have separate series, in the order in which they
    /// are asked for; the further ones share theirs.
    pub fn new(max_own: usize) -> Self {
        let (families, mut registry) = (Families::default(), Registry::default());
        families.register(registry.sub_registry_with_prefix("refersion_destination"));
        process::register(&mut registry);
        let duration = |status: &EventStatus| {
            families.request_duration.get_or_create_owned(&StatusLabels { status: status.as_str() })
        };
        let request_durations = EventStatus::ALL.iter().map(duration).collect();
        for error in AUTH_ERRORS {
            drop(families.authentication_failures.get_or_create(&of_no_account(error)));
        }
        for result in ReloadResult::ALL {
            drop(families.config_reloads.get_or_create(&ReloadLabels { result: result.as_str() }));
        }
        for (operation, _) in labels::operations() {
            drop(families.upstream_operation_duration.get_or_create(&OperationLabels { operation }));
        }
        families.config_last_reload_successful.set(1);
        Self(Arc::new(MetricsInner { registry, families, request_durations, max_own, meters: Mutex::default() }))
    }

    /// The meter of a configured account. One that was removed from the configuration keeps its own until the process ends.
    pub fn of(&self, account: &AccountName) -> Meter {
        let mut meters = self.0.meters.lock();
        let label = meters.assign(account, self.0.max_own);
        meters.meter(label, &self.0.families)
    }

    /// The shared meter of all accounts whose API keys arrived with requests.
    pub fn of_arrived(&self) -> Meter {
        self.0.meters.lock().meter(ARRIVED.into(), &self.0.families)
    }

    /// The meter of the account with this name, of which the store has events; none if the service does not count for it.
    pub fn find(&self, account: &AccountName) -> Option<Meter> {
        let meters = self.0.meters.lock();
        meters.find(account.as_str()).cloned()
    }

    /// Counts a request without an account that was refused because of its credentials.
    pub fn authentication_failed(&self, error: AuthError) {
        self.0.families.authentication_failures.get_or_create(&of_no_account(error)).inc();
    }

    /// Counts a request of Segment, by the status of the answer.
    pub fn request_answered(&self, status: EventStatus, took: Duration) {
        if let Some(duration) = self.0.request_durations.get(status as usize) {
            duration.observe(took.as_secs_f64());
        }
    }

    /// Counts a reload of the configuration.
    pub fn config_reloaded(&self, result: ReloadResult) {
        self.0.families.config_reloads.get_or_create(&ReloadLabels { result: result.as_str() }).inc();
        self.0.families.config_last_reload_successful.set((result != ReloadResult::Refused).into());
    }

    /// Counts a commit of the store, and the number of requests that shared it.
    pub fn committed(&self, requests: usize, took: Duration) {
        self.0.families.store_commit_requests.observe(u32::try_from(requests).unwrap_or(u32::MAX).into());
        self.0.families.store_commit_duration.observe(took.as_secs_f64());
    }

    /// The counts of every meter so far, by its value of the label `account`.
    pub fn totals(&self) -> Vec<(String, Totals)> {
        let meters: Vec<Meter> = self.0.meters.lock().all().cloned().collect();
        meters.iter().map(|meter| (meter.name(), meter.totals())).collect()
    }

    /// The value of the label `account` of the account with this name; none if the service has no such account.
    pub fn label_of(&self, account: &str) -> Option<String> {
        let label = self.0.meters.lock().label(account);
        (label != NO_ACCOUNT).then(|| label.into_owned())
    }

    /// All metrics as text, with the gauges as `observed`.
    pub fn text(&self, format: ExpositionFormat, observed: &Observed) -> String {
        self.set_account_gauges(observed);
        self.set_service_gauges(observed);
        let mut text = String::new();
        // Err: writing to a `String` does not fail.
        let _ = text::encode(&mut text, &self.0.registry);
        format.of(text)
    }

    fn set_account_gauges(&self, observed: &Observed) {
        let families = &self.0.families;
        for (label, gauges) in self.account_gauges(observed) {
            let account = AccountLabels { account: label.clone() };
            families.events_pending.get_or_create(&account).set(count(gauges.pending));
            families.oldest_pending_event_age.get_or_create(&account).set(gauges.oldest.as_secs_f64());
            families.remembered_users.get_or_create(&account).set(count(gauges.remembered.0));
            families.remembered_bytes.get_or_create(&account).set(count(gauges.remembered.1));
            if label == NO_ACCOUNT {
                continue; // this label has no worker
            }
            families.upstream_concurrency_limit.get_or_create(&account).set(count(gauges.concurrency_limit as u64));
            families.upstream_requests_in_flight.get_or_create(&account).set(count(gauges.in_flight as u64));
            families.accounts_owned.get_or_create(&account).set(count(gauges.owned));
            for (state, accounts) in BREAKER_STATES.into_iter().zip(gauges.states) {
                let labels = StateLabels { account: label.clone(), state };
                families.circuit_breaker_state.get_or_create(&labels).set(accounts);
            }
        }
    }

    /// The gauges of every existing label, including those without a value.
    fn account_gauges(&self, observed: &Observed) -> BTreeMap<AccountLabel, Gauges> {
        let meters = self.0.meters.lock();
        let labels = meters.labels().chain([NO_ACCOUNT.into()]);
        let mut gauges: BTreeMap<AccountLabel, Gauges> = labels.map(|label| (label, Gauges::default())).collect();
        let mut with = |name: &str, change: &dyn Fn(&mut Gauges)| {
            if let Some(gauges) = gauges.get_mut(&meters.label(name)) {
                change(gauges);
            }
        };
        for (name, state) in &observed.accounts {
            with(name.as_str(), &|gauges| gauges.add(state));
        }
        for (name, pending) in &observed.pending {
            with(name, &|gauges| gauges.pending += pending);
        }
        for (name, age) in observed.store.iter().flat_map(|store| &store.oldest_pending) {
            with(name, &|gauges| gauges.oldest = gauges.oldest.max(*age));
        }
        for (name, (users, bytes)) in observed.store.iter().flat_map(|store| &store.remembered) {
            with(name, &|gauges| {
                gauges.remembered.0 += users;
                gauges.remembered.1 += bytes;
            });
        }
        gauges
    }

    fn set_service_gauges(&self, observed: &Observed) {
        let families = &self.0.families;
        families.ready.set(observed.ready.into());
        let Some(store) = &observed.store else { return };
        families.store_size.set(count(store.size));
        let dropped = &families.remembered_users_dropped;
        dropped.inc_by(store.remembered_dropped.saturating_sub(dropped.get()));
        families.store_free.set(store.free.map(count));
        families.deduplication_ids.set(count(store.deduplication.0));
        families.deduplication_bytes.set(count(store.deduplication.1));
        families.ledger_dropped.inner().store(store.ledger_dropped, Ordering::Relaxed);
        for ((account, reason), letters) in self.dead_letters(store) {
            families.dead_letters.get_or_create(&ReasonLabels { account, reason }).set(count(letters));
        }
    }

    /// The dead letters by label and reason, including zeros.
    fn dead_letters(&self, store: &ObservedStore) -> BTreeMap<(AccountLabel, &'static str), u64> {
        let meters = self.0.meters.lock();
        let mut letters = BTreeMap::new();
        for account in meters.labels().chain([NO_ACCOUNT.into()]) {
            letters.extend(OutcomeCode::failures().map(|reason| ((account.clone(), reason.as_str()), 0)));
        }
        for ((name, reason), found) in &store.dead_letters {
            // A word of another release counts, too.
            let known = OutcomeCode::failures().find(|known| known.as_str() == reason);
            let reason = known.unwrap_or(OutcomeCode::Unrecorded).as_str();
            *letters.entry((meters.label(name), reason)).or_default() += found;
        }
        letters
    }
}

impl Gauges {
    fn add(&mut self, account: &ObservedAccount) {
        self.concurrency_limit += account.health.concurrency_limit;
        self.in_flight += account.health.in_flight;
        self.owned += u64::from(account.is_owner);
        self.states[labels::index_of(account.health.state)] += 1;
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduling::BreakerState;

    fn value(text: &str, series: &str) -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn any_number_of_accounts_with_keys_that_arrived_share_their_series() {
        let metrics = Metrics::default();
        let (_main, arrived) = (metrics.of(&AccountName::main()), metrics.of_arrived());
        let series = |metrics: &Metrics, observed: &Observed| {
            metrics.text(ExpositionFormat::Prometheus, observed).lines().filter(|line| !line.starts_with('#')).count()
        };
        let before = series(&metrics, &Observed { store: Some(ObservedStore::default()), ..Observed::default() });
        let names = (0..1_000).map(|n| format!("key-{n:016}"));
        let health =
            HealthSnapshot { state: BreakerState::HalfOpen, concurrency_limit: 2, ..HealthSnapshot::default() };
        let state = ObservedAccount { is_owner: true, health };
        let store = ObservedStore {
            oldest_pending: names.clone().zip((0..1_000).map(Duration::from_secs)).collect(),
            dead_letters: names.clone().map(|name| ((name, "refused".to_owned()), 2)).collect(),
            ..ObservedStore::default()
        };
        let observed = Observed {
            accounts: names.clone().map(|name| (AccountName::from(name), state)).collect(),
            pending: names.clone().map(|name| (name, 3)).collect(),
            store: Some(store),
            ready: true,
        };
        names.for_each(|_| arrived.clone().events_appended(1));
        assert_eq!(series(&metrics, &observed), before);
        let text = metrics.text(ExpositionFormat::Prometheus, &observed);
        for (name, expected) in [
            (r#"events_appended_total{account="key-*"}"#, 1_000.0),
            (r#"events_pending{account="key-*"}"#, 3_000.0),
            (r#"oldest_pending_event_age_seconds{account="key-*"}"#, 999.0),
            (r#"dead_letters{account="key-*",reason="refused"}"#, 2_000.0),
            (r#"circuit_breaker_state{account="key-*",state="half_open"}"#, 1_000.0),
            (r#"upstream_concurrency_limit{account="key-*"}"#, 2_000.0),
            (r#"accounts_owned{account="key-*"}"#, 1_000.0),
            (r#"events_pending{account="main"}"#, 0.0),
            ("ready", 1.0),
        ] {
            assert_eq!(value(&text, &format!("refersion_destination_{name}")), Some(expected), "{name}");
        }
    }

    #[test]
    fn counts_without_an_account_are_shown_under_a_name_that_no_account_has() {
        let metrics = Metrics::default();
        let _ = metrics.of(&AccountName::main());
        let dead = BTreeMap::from([(("key-1".to_owned(), "of another release".to_owned()), 1)]);
        let observed = Observed {
            pending: BTreeMap::from([("removed".to_owned(), 5), ("main".to_owned(), 1)]),
            store: Some(ObservedStore { dead_letters: dead, ..ObservedStore::default() }),
            ..Observed::default()
        };
        let text = metrics.text(ExpositionFormat::OpenMetrics, &observed);
        for (name, expected) in [
            (r#"events_pending{account="(none)"}"#, 5.0),
            (r#"dead_letters{account="(none)",reason="unrecorded"}"#, 1.0),
        ] {
            assert_eq!(value(&text, &format!("refersion_destination_{name}")), Some(expected), "{name}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
