//! The table of all metrics: for each its type, its name, and its help text.
//!
//! A row is a field of [`Families`]; the names get the prefix `refersion_destination_`, and those of counters `_total`. The
//! operator's guide (`config/README.md`) lists every name, and a test compares the two. Names and units follow the conventions of
//! Prometheus: base units (seconds, bytes), and the unit at the end. A histogram has a series for each bucket, so it has one label at
//! most. Deliberately absent: the metrics of the process, which come from [`super::process`] under the names that every client
//! of Prometheus uses.

use super::labels::{
    AccountLabels, ActionLabels, CauseLabels, EventLabels, FieldLabels, OperationLabels, ReasonLabels, ReloadLabels,
    RequestLabels, ResultLabels, StateLabels, StatusLabels,
};
use super::optional_gauge::OptionalGauge;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// A gauge with a fraction.
pub(super) type FloatGauge = Gauge<f64, AtomicU64>;
/// A histogram with labels.
pub(super) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The buckets of request durations: from a request that is refused at once to one that waits for its outcome as long as Segment does.
const REQUEST_SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0];
/// The buckets of call durations: from a fast answer of Refersion to the default of `REFERSION_TIMEOUT`.
const UPSTREAM_SECONDS: [f64; 9] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The buckets of affiliates per request, which has at most 50.
const AFFILIATES: [f64; 6] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0];
/// The buckets of commit durations: from a fast disk to one that is about to fail.
const COMMIT_SECONDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// The buckets of requests per commit, which has at most 512.
const COMMIT_REQUESTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

macro_rules! families {
    ($($field:ident: $type:ty = $new:expr, $name:literal, $help:literal;)+) => {
        /// Every family of metrics. Clones share the counts.
        #[derive(Clone, Debug)]
        pub(super) struct Families { $(pub(super) $field: $type,)+ }

        impl Default for Families {
            fn default() -> Self {
                Self { $($field: $new,)+ }
            }
        }

        impl Families {
            /// Registers all families.
            pub(super) fn register(&self, registry: &mut Registry) {
                $(registry.register($name, $help, self.$field.clone());)+
            }
        }
    };
}

families! {
    // Requests of Segment.
    events_received: Family<EventLabels, Counter> = Family::default(),
        "events_received", "Events received from Segment, by type and by the status answered";
    authentication_failures: Family<ReasonLabels, Counter> = Family::default(),
        "authentication_failures", "Requests refused because of their credentials or signature, by reason";
    events_refused: Family<ReasonLabels, Counter> = Family::default(),
        "events_refused", "Events that were answered with an error and not stored, by reason";
    events_ignored: Family<ReasonLabels, Counter> = Family::default(),
        "events_ignored", "Events for which there was nothing to do, by reason, at receipt or at delivery";
    event_notes: Family<FieldLabels, Counter> = Family::default(),
        "event_notes", "Values that the mapping left out of an event at receipt, by field";
    events_appended: Family<AccountLabels, Counter> = Family::default(),
        "events_appended", "Events appended to the event log";
    request_duration: Histograms<StatusLabels> = histograms(|| Histogram::new(REQUEST_SECONDS)),
        "request_duration_seconds", "Time to answer a request of Segment, by the status answered; it includes the wait for an outcome";

    // Outcomes of events.
    events_settled: Family<ResultLabels, Counter> = Family::default(),
        "events_settled", "Events of the log that ended, by result";
    events_coalesced: Family<AccountLabels, Counter> = Family::default(),
        "events_coalesced", "Events that were delivered together with an earlier one of their user";
    deliveries: Family<ActionLabels, Counter> = Family::default(),
        "deliveries", "Deliveries that ended without a failure, by action; events delivered together are one delivery";
    delivery_retries: Family<AccountLabels, Counter> = Family::default(),
        "delivery_retries", "Failed attempts that will be retried";
    email_conflicts: Family<AccountLabels, Counter> = Family::default(),
        "email_conflicts", "Deliveries that left an e-mail as it is, because another affiliate has the new one";
    attributes_left_out: Family<FieldLabels, Counter> = Family::default(),
        "attributes_left_out", "Values that were left out of a delivery because Refersion rejects them, by field";
    events_pending: Family<AccountLabels, Gauge> = Family::default(),
        "events_pending", "Accepted events that have not ended yet";
    oldest_pending_event_age: Family<AccountLabels, FloatGauge> = Family::default(),
        "oldest_pending_event_age_seconds", "Time since the oldest pending event was received; 0 if none is pending";
    dead_letters: Family<ReasonLabels, Gauge> = Family::default(),
        "dead_letters", "Dead letters in the store, by reason";
    remembered_users: Family<AccountLabels, Gauge> = Family::default(),
        "remembered_users", "Users with remembered traits, who are no affiliates yet";
    remembered_bytes: Family<AccountLabels, Gauge> = Family::default(),
        "remembered_bytes", "Size of the sealed traits of users who are no affiliates yet";
    remembered_users_dropped: Counter = Counter::default(),
        "remembered_users_dropped", "Users whose remembered traits were dropped because their account had reached its limit";

    // Refersion.
    upstream_requests: Family<RequestLabels, Counter> = Family::default(),
        "upstream_requests", "Requests to Refersion, by operation and reply";
    upstream_request_duration: Histograms<AccountLabels> = histograms(|| Histogram::new(UPSTREAM_SECONDS)),
        "upstream_request_duration_seconds", "Time until Refersion replied";
    upstream_operation_duration: Histograms<OperationLabels> = histograms(|| Histogram::new(UPSTREAM_SECONDS)),
        "upstream_operation_duration_seconds", "Time until Refersion replied, by operation, over all accounts";
    upstream_request_affiliates: Histograms<AccountLabels> = histograms(|| Histogram::new(AFFILIATES)),
        "upstream_request_affiliates", "Affiliates in one request to Refersion that may be about several";
    upstream_requests_in_flight: Family<AccountLabels, Gauge> = Family::default(),
        "upstream_requests_in_flight", "Requests to Refersion in flight";
    upstream_concurrency_limit: Family<AccountLabels, Gauge> = Family::default(),
        "upstream_concurrency_limit", "Requests to Refersion that may be in flight at once; 0 while paused or halted";
    accounts_owned: Family<AccountLabels, Gauge> = Family::default(),
        "accounts_owned", "Accounts that this process delivers for";
    circuit_breaker_state: Family<StateLabels, Gauge> = Family::default(),
        "circuit_breaker_state", "Accounts whose circuit breaker is in this state";
    circuit_breaker_opened: Family<CauseLabels, Counter> = Family::default(),
        "circuit_breaker_opened", "Pauses of an account, by cause";
    halts: Family<AccountLabels, Counter> = Family::default(),
        "halts", "Halts of an account because Refersion rejected its API key";
    api_key_probes: Family<ResultLabels, Counter> = Family::default(),
        "api_key_probes", "Probes of a rejected API key, by result";

    // The store and this process.
    store_commit_requests: Histogram = Histogram::new(COMMIT_REQUESTS),
        "store_commit_requests", "Requests to the store that shared one commit";
    store_commit_duration: Histogram = Histogram::new(COMMIT_SECONDS),
        "store_commit_duration_seconds", "Time of one commit, with its sync to disk";
    store_size: Gauge = Gauge::default(),
        "store_size_bytes", "Size of the store on disk, with its write-ahead log";
    store_free: OptionalGauge = OptionalGauge::default(),
        "store_disk_free_bytes", "Room that is left on the disk of the store";
    deduplication_ids: Gauge = Gauge::default(),
        "deduplication_index_ids", "Event ids in the deduplication index in memory";
    deduplication_bytes: Gauge = Gauge::default(),
        "deduplication_index_bytes", "Memory of the deduplication index";
    ledger_dropped: Counter = Counter::default(),
        "ledger_events_dropped", "Events that the ledger lacks, because too many were answered at once without being stored";
    config_reloads: Family<ReloadLabels, Counter> = Family::default(),
        "config_reloads", "Times the configuration was read again, by result";
    config_last_reload_successful: Gauge = Gauge::default(),
        "config_last_reload_successful", "0 if the configuration was refused when it was last read again, otherwise 1";
    ready: Gauge = Gauge::default(),
        "ready", "1 while the service takes events, as in /readyz; otherwise 0";
}

/// A family of histograms that `new` makes.
fn histograms<L: Clone + std::hash::Hash + Eq>(new: fn() -> Histogram) -> Histograms<L> {
    Family::new_with_constructor(new)
}
