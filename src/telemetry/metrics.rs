//! Counters and gauges in the OpenMetrics format, which Prometheus reads.
//!
//! In: what the services count. Out: the text of `GET /metrics`. Nearly every metric has the label `account`, the account's name.
//! Invariant: the value of every other label comes from an enum, so that there are few time series and no personal datum
//! is among them. Deliberately absent: histograms; Segment and Refersion measure latency where it matters, at their end.

use super::EventStatus;
use super::labels::{
    AccountLabels, CauseLabels, OperationLabels, OutcomeLabels, RequestLabels, ResultLabels, StatusLabels,
};
use crate::delivery::{Call, Outcome, Remark, Reply};
use crate::domain::AccountName;
use crate::scheduling::{Cause, Probe};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// The metrics of all accounts. Cheap to clone; clones share the counters.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Registered>);

#[derive(Debug)]
struct Registered {
    registry: Registry,
    families: Families,
}

/// The metrics of one account. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Meter {
    account: String,
    families: Families,
}

#[derive(Clone, Debug, Default)]
struct Families {
    events_received: Family<StatusLabels, Counter>,
    events_coalesced: Family<AccountLabels, Counter>,
    events_pending: Gauge,
    deliveries: Family<OutcomeLabels, Counter>,
    email_conflicts: Family<AccountLabels, Counter>,
    attributes_left_out: Family<AccountLabels, Counter>,
    delivery_retries: Family<AccountLabels, Counter>,
    dead_letters: Gauge,
    requests: Family<RequestLabels, Counter>,
    request_affiliates: Family<OperationLabels, Counter>,
    requests_in_flight: Family<AccountLabels, Gauge>,
    concurrency_limit: Family<AccountLabels, Gauge>,
    breaker_opened: Family<CauseLabels, Counter>,
    breaker_open: Family<AccountLabels, Gauge>,
    halts: Family<AccountLabels, Counter>,
    halted: Family<AccountLabels, Gauge>,
    key_probes: Family<ResultLabels, Counter>,
}

impl Families {
    /// A registry of all metrics. The encoder adds `_total` to the names of counters.
    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("refersion_destination");
        let r = &mut registry;
        r.register(
            "events_received",
            "Events received from Segment, by the status answered",
            self.events_received.clone(),
        );
        r.register("events_coalesced", "Events delivered together with an earlier one", self.events_coalesced.clone());
        r.register("events_pending", "Accepted events that are not settled yet", self.events_pending.clone());
        r.register("deliveries", "Events settled, by outcome", self.deliveries.clone());
        r.register(
            "email_conflicts",
            "Deliveries that left an e-mail as it is, because another affiliate has the new one",
            self.email_conflicts.clone(),
        );
        r.register(
            "attributes_left_out",
            "Values that were left out of a delivery, because Refersion refuses them",
            self.attributes_left_out.clone(),
        );
        r.register("delivery_retries", "Failed attempts that will be retried", self.delivery_retries.clone());
        r.register("dead_letters", "Dead letters in the store", self.dead_letters.clone());
        r.register("upstream_requests", "Requests to Refersion, by operation and reply", self.requests.clone());
        r.register(
            "upstream_request_affiliates",
            "Affiliates in the requests to Refersion, by operation",
            self.request_affiliates.clone(),
        );
        r.register("upstream_requests_in_flight", "Requests to Refersion in flight", self.requests_in_flight.clone());
        r.register(
            "upstream_concurrency_limit",
            "Requests to Refersion that may be in flight at once",
            self.concurrency_limit.clone(),
        );
        r.register("circuit_breaker_opened", "Times the circuit breaker opened, by cause", self.breaker_opened.clone());
        r.register("circuit_breaker_open", "1 while the circuit breaker is not closed", self.breaker_open.clone());
        r.register("halts", "Times the account halted because Refersion rejected its API key", self.halts.clone());
        r.register("halted", "1 while the account is halted", self.halted.clone());
        r.register("api_key_probes", "Probes of a rejected API key, by result", self.key_probes.clone());
        registry
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let families = Families::default();
        Self(Arc::new(Registered { registry: families.register(), families }))
    }
}

impl Metrics {
    /// The metrics of `account`.
    pub fn of(&self, account: &AccountName) -> Meter {
        Meter { account: account.to_string(), families: self.0.families.clone() }
    }

    /// All metrics in the OpenMetrics format. `pending` and `dead_letters` are the numbers of events and dead letters of all
    /// accounts.
    pub fn text(&self, pending: u64, dead_letters: u64) -> String {
        self.0.families.events_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.0.families.dead_letters.set(i64::try_from(dead_letters).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Err: writing to a `String` does not fail.
        let _ = text::encode(&mut text, &self.0.registry);
        text
    }
}

impl Meter {
    fn labels(&self) -> AccountLabels {
        AccountLabels { account: self.account.clone() }
    }

    /// Counts events received, by their status in the response to Segment.
    pub fn events_received(&self, status: EventStatus, events: usize) {
        let labels = StatusLabels { account: self.account.clone(), status: status.as_str() };
        self.families.events_received.get_or_create(&labels).inc_by(events as u64);
    }

    /// Counts an event that was settled without a failure, and what its delivery left as it is.
    pub fn event_delivered(&self, outcome: &Outcome) {
        self.delivered(outcome.word());
        let Outcome::Delivered { remarks, .. } = outcome else { return };
        for remark in remarks {
            match remark {
                Remark::EmailTaken => {
                    self.families.email_conflicts.get_or_create(&self.labels()).inc();
                }
                Remark::LeftOut(names) => {
                    self.families.attributes_left_out.get_or_create(&self.labels()).inc_by(names.len() as u64);
                }
                Remark::StatusKept(_) | Remark::OtherAffiliate(_) => {}
            }
        }
    }

    /// Counts an event that became a dead letter.
    pub fn event_dead(&self) {
        self.delivered("dead_letter");
    }

    fn delivered(&self, outcome: &'static str) {
        let labels = OutcomeLabels { account: self.account.clone(), outcome };
        self.families.deliveries.get_or_create(&labels).inc();
    }

    /// Counts events that were delivered together with an earlier one.
    pub fn events_coalesced(&self, events: usize) {
        self.families.events_coalesced.get_or_create(&self.labels()).inc_by(events as u64);
    }

    /// Counts an attempt that failed and will be retried.
    pub fn delivery_retried(&self) {
        self.families.delivery_retries.get_or_create(&self.labels()).inc();
    }

    /// Counts a request in flight, and sets the concurrency limit at this moment.
    pub fn request_started(&self, concurrency_limit: usize) {
        self.families.requests_in_flight.get_or_create(&self.labels()).inc();
        self.set_concurrency_limit(concurrency_limit);
    }

    fn set_concurrency_limit(&self, limit: usize) {
        self.families.concurrency_limit.get_or_create(&self.labels()).set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// Counts a request that is no longer in flight, with its reply and the number of affiliates it was about.
    pub fn request_ended(&self, call: &Call, reply: &Reply, affiliates: usize) {
        let (account, operation) = (self.account.clone(), call.operation());
        let request = RequestLabels { account: account.clone(), operation, reply: reply.name() };
        self.families.requests.get_or_create(&request).inc();
        let labels = OperationLabels { account, operation };
        self.families.request_affiliates.get_or_create(&labels).inc_by(affiliates as u64);
        self.families.requests_in_flight.get_or_create(&self.labels()).dec();
    }

    /// The circuit breaker opened. It is counted only if it was closed before, not if it was half-open.
    pub fn breaker_opened(&self, cause: Cause, was_closed: bool) {
        self.set_concurrency_limit(0);
        let labels = CauseLabels { account: self.account.clone(), cause: cause.as_str() };
        self.families.breaker_opened.get_or_create(&labels).inc_by(u64::from(was_closed));
        self.families.breaker_open.get_or_create(&self.labels()).set(1);
    }

    /// Deliveries go on after the circuit breaker was open or the account halted.
    pub fn resumed(&self) {
        self.families.breaker_open.get_or_create(&self.labels()).set(0);
        self.families.halted.get_or_create(&self.labels()).set(0);
    }

    /// The account halted: Refersion rejected its API key.
    pub fn halted(&self) {
        self.set_concurrency_limit(0);
        self.families.halts.get_or_create(&self.labels()).inc();
        self.families.halted.get_or_create(&self.labels()).set(1);
    }

    /// Counts a probe of the rejected API key.
    pub fn key_probed(&self, probe: Probe) {
        let result = match probe {
            Probe::Accepted => "accepted",
            Probe::Refused => "rejected",
            Probe::Unknown { .. } => "unknown",
        };
        let labels = ResultLabels { account: self.account.clone(), result };
        self.families.key_probes.get_or_create(&labels).inc();
    }
}
