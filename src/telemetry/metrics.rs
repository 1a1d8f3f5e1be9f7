//! Counters and gauges, as Prometheus and OpenMetrics read them.
//!
//! In go moments worth counting, out comes the text of `/metrics`. Nearly all are of an account, told by its name. Invariant: labels
//! are names of accounts and words of our own, so that there are few of them and nothing personal among them.

use crate::domain::AccountName;
use crate::scheduling::Cause;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// The counters of all accounts. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Board>);

#[derive(Debug)]
struct Board {
    registry: Registry,
    families: Families,
}

/// The counters of one account. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Meter {
    account: String,
    families: Families,
}

#[derive(Clone, Debug, Default)]
struct Families {
    received: Family<Word, Counter>,
    carried_out: Family<Word, Counter>,
    folded: Family<Account, Counter>,
    failed: Family<Account, Counter>,
    requests: Family<Request, Counter>,
    affiliates: Family<Word, Counter>,
    under_way: Family<Account, Gauge>,
    permitted: Family<Account, Gauge>,
    pauses: Family<Word, Counter>,
    paused: Family<Account, Gauge>,
    halts: Family<Account, Counter>,
    halted: Family<Account, Gauge>,
    probes: Family<Word, Counter>,
    waiting: Gauge,
    dead_letters: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Account {
    account: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    account: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    account: String,
    operation: &'static str,
    reply: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let f = Families::default();
        let mut registry = Registry::with_prefix("refersion_destination");
        let r = &mut registry;
        r.register("events_received", "Events answered, by the word of the answer", f.received.clone());
        r.register("events_carried_out", "Events that ended, by how they ended", f.carried_out.clone());
        r.register("events_folded", "Events that were carried out together with an earlier one", f.folded.clone());
        r.register("events_failed", "Attempts that failed and will be repeated", f.failed.clone());
        r.register("requests", "Requests to Refersion, by operation and what the reply meant", f.requests.clone());
        r.register("request_affiliates", "Affiliates those requests were about, by operation", f.affiliates.clone());
        r.register("requests_under_way", "Requests to Refersion without a reply yet", f.under_way.clone());
        r.register("requests_permitted", "How many requests Refersion seems to bear at once", f.permitted.clone());
        r.register("pauses", "Times that deliveries began to pause, by cause", f.pauses.clone());
        r.register("paused", "1 while deliveries pause", f.paused.clone());
        r.register("halts", "Times that Refersion began to refuse the API key", f.halts.clone());
        r.register("halted", "1 while Refersion refuses the API key", f.halted.clone());
        r.register("key_probes", "Probes of a refused API key, by result", f.probes.clone());
        r.register("events_waiting", "Events that wait or are being carried out", f.waiting.clone());
        r.register("dead_letters", "Dead letters", f.dead_letters.clone());
        Self(Arc::new(Board { registry, families: f }))
    }
}

impl Metrics {
    /// The counters of `account`.
    pub fn of(&self, account: &AccountName) -> Meter {
        Meter { account: account.to_string(), families: self.0.families.clone() }
    }

    /// All of them as text, in the OpenMetrics format; with how many events wait and how many dead letters there are, in all
    /// accounts.
    pub fn text(&self, waiting: u64, dead_letters: u64) -> String {
        self.0.families.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.0.families.dead_letters.set(i64::try_from(dead_letters).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Err: a text never fails to grow.
        let _ = text::encode(&mut text, &self.0.registry);
        text
    }
}

impl Meter {
    fn account(&self) -> Account {
        Account { account: self.account.clone() }
    }

    fn word(&self, kind: &'static str) -> Word {
        Word { account: self.account.clone(), kind }
    }

    /// Events were answered with this word.
    pub fn received(&self, answer: &'static str, events: usize) {
        self.families.received.get_or_create(&self.word(answer)).inc_by(events as u64);
    }

    /// An event ended this way.
    pub fn carried_out(&self, how: &'static str) {
        self.families.carried_out.get_or_create(&self.word(how)).inc();
    }

    /// So many events were carried out together with an earlier one.
    pub fn folded(&self, events: usize) {
        self.families.folded.get_or_create(&self.account()).inc_by(events as u64);
    }

    /// An attempt failed and will be repeated.
    pub fn failed(&self) {
        self.families.failed.get_or_create(&self.account()).inc();
    }

    /// A request begins, one of so many that may be under way.
    pub fn request_begins(&self, permitted: usize) {
        self.families.under_way.get_or_create(&self.account()).inc();
        self.permitted(permitted);
    }

    fn permitted(&self, permitted: usize) {
        self.families.permitted.get_or_create(&self.account()).set(i64::try_from(permitted).unwrap_or(i64::MAX));
    }

    /// A request about so many affiliates was answered, or not.
    pub fn request_ends(&self, operation: &'static str, reply: &'static str, affiliates: usize) {
        let request = Request { account: self.account.clone(), operation, reply };
        self.families.requests.get_or_create(&request).inc();
        self.families.affiliates.get_or_create(&self.word(operation)).inc_by(affiliates as u64);
        self.families.under_way.get_or_create(&self.account()).dec();
    }

    /// Deliveries pause; `first` says that they did not before.
    pub fn paused(&self, cause: Cause, first: bool) {
        self.permitted(0);
        self.families.pauses.get_or_create(&self.word(cause.as_str())).inc_by(u64::from(first));
        self.families.paused.get_or_create(&self.account()).set(1);
    }

    /// Deliveries go on, after a pause or a halt.
    pub fn goes_on(&self) {
        self.families.paused.get_or_create(&self.account()).set(0);
        self.families.halted.get_or_create(&self.account()).set(0);
    }

    /// Refersion begins to refuse the key.
    pub fn halts(&self) {
        self.permitted(0);
        self.families.halts.get_or_create(&self.account()).inc();
        self.families.halted.get_or_create(&self.account()).set(1);
    }

    /// A refused key was probed.
    pub fn probed(&self, result: &'static str) {
        self.families.probes.get_or_create(&self.word(result)).inc();
    }
}
