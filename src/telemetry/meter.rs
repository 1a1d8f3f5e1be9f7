//! A meter: the counters of one account, or of all accounts that share a value of the label `account`.
//!
//! In: counts from the services. Invariants: every series of the account exists as soon as its meter does, so a rate is right from the
//! first count on; a count for every received event costs an addition, without a look-up.

use super::definitions::Families;
use super::labels::{
    self, AUTH_ERRORS, AccountLabel, AccountLabels, ActionLabels, CAUSES, CauseLabels, EventLabels, FAILED,
    FieldLabels, LIST, OperationLabels, PAGE, PROBES, ReasonLabels, RequestLabels, ResultLabels, SettledAs,
};
use super::latency::LatencyCounters;
use super::{EventStatus, EventType, RefusalReason, Totals};
use crate::delivery::{Action, ApiKeyVerification, Call, OutcomeCode, Remark, Reply, Success};
use crate::scheduling::Cause;
use crate::segment::AuthError;
use prometheus_client::metrics::counter::Counter;
use std::sync::Arc;
use std::time::Duration;

/// Counts for one value of the label `account`. Cheap to clone; clones share the counts.
#[derive(Clone, Debug)]
pub struct Meter(Arc<MeterInner>);

#[derive(Debug)]
struct MeterInner {
    account: AccountLabel,
    families: Families,
    /// By type and by status; none if an event of the type cannot have the status.
    received: Vec<Vec<Option<Counter>>>,
    appended: Counter,
    /// The latencies of requests to Refersion.
    latencies: LatencyCounters,
}

impl Meter {
    /// Creates every series of `account`.
    pub(super) fn new(account: AccountLabel, families: Families) -> Self {
        let labels = AccountLabels { account: account.clone() };
        let received = |kind: EventType, status: EventStatus| {
            let labels = EventLabels { account: account.clone(), r#type: kind.as_str(), status: status.as_str() };
            let possible = labels::statuses(kind).contains(&status);
            possible.then(|| families.events_received.get_or_create_owned(&labels))
        };
        let row = |kind: &EventType| EventStatus::ALL.iter().map(|status| received(*kind, *status)).collect();
        let received = EventType::ALL.iter().map(row).collect();
        let appended = families.events_appended.get_or_create_owned(&labels);
        let meter =
            Self(Arc::new(MeterInner { account, families, received, appended, latencies: LatencyCounters::default() }));
        meter.create_event_series();
        meter.create_delivery_series();
        meter.create_upstream_series();
        meter
    }

    fn create_event_series(&self) {
        let families = &self.0.families;
        for error in AUTH_ERRORS {
            drop(families.authentication_failures.get_or_create(&self.reason(labels::auth_reason(error))));
        }
        for reason in RefusalReason::ALL {
            drop(families.events_refused.get_or_create(&self.reason(reason.as_str())));
        }
        for code in labels::ignored_reasons() {
            drop(families.events_ignored.get_or_create(&self.reason(code.as_str())));
        }
        for field in labels::fields() {
            drop(families.event_notes.get_or_create(&self.field(field)));
            drop(families.attributes_left_out.get_or_create(&self.field(field)));
        }
    }

    fn create_delivery_series(&self) {
        let (families, account) = (&self.0.families, self.account());
        for family in [&families.events_coalesced, &families.delivery_retries, &families.email_conflicts] {
            drop(family.get_or_create(&account));
        }
        for result in SettledAs::ALL {
            drop(families.events_settled.get_or_create(&self.result(result.as_str())));
        }
        for action in Action::ALL {
            drop(families.deliveries.get_or_create(&self.action(action.as_str())));
        }
    }

    fn create_upstream_series(&self) {
        let families = &self.0.families;
        for (operation, replies) in labels::operations() {
            for reply in replies {
                drop(families.upstream_requests.get_or_create(&self.request(operation, reply)));
            }
        }
        drop(families.upstream_request_duration.get_or_create(&self.account()));
        drop(families.upstream_request_affiliates.get_or_create(&self.account()));
        for cause in CAUSES {
            drop(families.circuit_breaker_opened.get_or_create(&self.cause(cause.as_str())));
        }
        for probe in PROBES {
            drop(families.api_key_probes.get_or_create(&self.result(labels::probe_names(&probe).0)));
        }
        drop(families.halts.get_or_create(&self.account()));
    }

    /// Counts received events of a type, by the status they were answered with.
    pub fn events_received(&self, kind: EventType, status: EventStatus, events: usize) {
        if let Some(Some(counter)) = self.0.received.get(kind as usize).and_then(|row| row.get(status as usize)) {
            counter.inc_by(events as u64);
        }
    }

    /// Counts a request that was refused because of its credentials or its signature.
    pub fn authentication_failed(&self, error: AuthError) {
        let families = &self.0.families;
        families.authentication_failures.get_or_create(&self.reason(labels::auth_reason(error))).inc();
    }

    /// Counts events that were appended to the log.
    pub fn events_appended(&self, events: usize) {
        self.0.appended.inc_by(events as u64);
    }

    /// Counts an event that was answered with an error and not stored.
    pub fn event_refused(&self, reason: RefusalReason) {
        self.0.families.events_refused.get_or_create(&self.reason(reason.as_str())).inc();
    }

    /// Counts events for which there was nothing to do.
    pub fn events_ignored(&self, reason: OutcomeCode, events: usize) {
        self.0.families.events_ignored.get_or_create(&self.reason(reason.as_str())).inc_by(events as u64);
    }

    /// Counts a value that the mapping left out; `about` is the subject of its note.
    pub fn noted(&self, about: &str) {
        self.0.families.event_notes.get_or_create(&self.field(labels::field(about))).inc();
    }

    /// Counts one delivery of `events` events, of which a delete cancelled the first `cancelled`.
    pub fn delivered(&self, outcome: &Success, events: usize, cancelled: usize) {
        let families = &self.0.families;
        match outcome {
            Success::Ignored(_) => {
                self.settled(SettledAs::Ignored, events);
                self.events_ignored(OutcomeCode::from(outcome), events - cancelled);
            }
            Success::Delivered { action, remarks, .. } => {
                self.settled(SettledAs::Delivered, events - cancelled);
                self.settled(SettledAs::Ignored, cancelled);
                families.deliveries.get_or_create(&self.action(action.as_str())).inc();
                for remark in remarks {
                    self.remarked(remark);
                }
            }
        }
        self.events_ignored(OutcomeCode::Cancelled, cancelled);
        families.events_coalesced.get_or_create(&self.account()).inc_by(events as u64 - 1);
    }

    fn remarked(&self, remark: &Remark) {
        let families = &self.0.families;
        match remark {
            Remark::EmailTaken => {
                families.email_conflicts.get_or_create(&self.account()).inc();
            }
            Remark::LeftOut(names) => {
                for name in names {
                    families.attributes_left_out.get_or_create(&self.field(labels::field(name))).inc();
                }
            }
            Remark::StatusKept(_) | Remark::OtherAffiliate(_) => {}
        }
    }

    /// Counts events that became dead letters.
    pub fn dead_letters(&self, events: usize) {
        self.settled(SettledAs::DeadLetter, events);
    }

    fn settled(&self, result: SettledAs, events: usize) {
        self.0.families.events_settled.get_or_create(&self.result(result.as_str())).inc_by(events as u64);
    }

    /// Counts an attempt that failed and will be retried.
    pub fn delivery_retried(&self) {
        self.0.families.delivery_retries.get_or_create(&self.account()).inc();
    }

    /// Counts a request to Refersion, with its reply, the number of affiliates it was about, and how long it took.
    pub fn request_ended(&self, call: &Call, reply: &Reply, affiliates: usize, took: Duration) {
        self.request_replied(call.operation(), reply.name(), took);
        self.0.latencies.observe(took);
        if call.affiliate().is_some() {
            let (family, affiliates) = (&self.0.families.upstream_request_affiliates, u32::try_from(affiliates));
            family.get_or_create(&self.account()).observe(affiliates.unwrap_or(u32::MAX).into());
        }
    }

    /// Counts a request for a page of Refersion's list of affiliates, and how long it took; `is_read`: it was answered with the page.
    pub fn page_requested(&self, is_read: bool, took: Duration) {
        self.request_replied(LIST, if is_read { PAGE } else { FAILED }, took);
    }

    fn request_replied(&self, operation: &'static str, reply: &'static str, took: Duration) {
        let (families, seconds) = (&self.0.families, took.as_secs_f64());
        families.upstream_requests.get_or_create(&self.request(operation, reply)).inc();
        families.upstream_request_duration.get_or_create(&self.account()).observe(seconds);
        families.upstream_operation_duration.get_or_create(&OperationLabels { operation }).observe(seconds);
    }

    /// Counts that the circuit breaker opened while it was closed.
    pub fn breaker_opened(&self, cause: Cause) {
        self.0.families.circuit_breaker_opened.get_or_create(&self.cause(cause.as_str())).inc();
    }

    /// Counts that the account halted: Refersion rejected its API key.
    pub fn halted(&self) {
        self.0.families.halts.get_or_create(&self.account()).inc();
    }

    /// Counts a probe of the rejected API key, which is a request for the list of affiliates, and how long it took.
    pub fn api_key_probed(&self, probed: &ApiKeyVerification, took: Duration) {
        let (result, reply) = labels::probe_names(probed);
        self.0.families.api_key_probes.get_or_create(&self.result(result)).inc();
        self.request_replied(LIST, reply, took);
    }

    /// The counts so far.
    pub(super) fn totals(&self) -> Totals {
        let families = &self.0.families;
        let settled = |result: SettledAs| families.events_settled.get_or_create(&self.result(result.as_str())).get();
        let ignored = |code: OutcomeCode| families.events_ignored.get_or_create(&self.reason(code.as_str())).get();
        Totals {
            accepted: self.0.appended.get(),
            delivered: settled(SettledAs::Delivered),
            failed: settled(SettledAs::DeadLetter),
            retried: families.delivery_retries.get_or_create(&self.account()).get(),
            refused: Totals::refusal_reasons()
                .map(|reason| families.events_refused.get_or_create(&self.reason(reason)).get())
                .collect(),
            ignored: labels::ignored_reasons().map(ignored).collect(),
            latencies: self.0.latencies.read(),
        }
    }

    /// The value of the label `account`.
    pub(super) fn name(&self) -> String {
        self.0.account.to_string()
    }

    fn label(&self) -> AccountLabel {
        self.0.account.clone()
    }

    fn account(&self) -> AccountLabels {
        AccountLabels { account: self.label() }
    }

    fn reason(&self, reason: &'static str) -> ReasonLabels {
        ReasonLabels { account: self.label(), reason }
    }

    fn field(&self, field: &'static str) -> FieldLabels {
        FieldLabels { account: self.label(), field }
    }

    fn result(&self, result: &'static str) -> ResultLabels {
        ResultLabels { account: self.label(), result }
    }

    fn action(&self, action: &'static str) -> ActionLabels {
        ActionLabels { account: self.label(), action }
    }

    fn cause(&self, cause: &'static str) -> CauseLabels {
        CauseLabels { account: self.label(), cause }
    }

    fn request(&self, operation: &'static str, reply: &'static str) -> RequestLabels {
        RequestLabels { account: self.label(), operation, reply }
    }
}
