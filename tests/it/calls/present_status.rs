//! A status is set only a moment after the present one was read, also if something delays the call between the two.
//!
//! The merchant decides in between, and that decision stands.

use super::idle::{Counting, SAVES, counting_store, event, settings, worker};
use crate::support::service::Refersion;
use crate::support::{identify, poll_until, within};
use refersion_destination::domain::{AffiliateStatus, EventId, Timestamp, User, UserId};
use refersion_destination::mapping::{Audience, Effect, Rules};
use refersion_destination::scheduling::HealthLimits;
use refersion_destination::store::{EventLog as _, Maintenance as _, NewEvent};
use refersion_destination::worker::{DeliverySettings, Worker};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

/// A worker with a rule that activates whom `vip` names.
struct Account {
    refersion: Refersion,
    store: Arc<Counting>,
    worker: Worker,
    tracker: TaskTracker,
    _folder: TempDir,
}

impl Account {
    /// With so many requests per second.
    async fn start(requests_per_second: Option<f64>) -> Self {
        let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
        let (store, settings) = (counting_store(&folder), settings(&refersion));
        let active = Effect { status: Some(AffiliateStatus::Active), ..Effect::default() };
        let vip = Audience { trait_name: "vip".to_owned(), on_true: active, on_false: Effect::default() };
        settings.delivery.rcu(|delivery| DeliverySettings {
            rules: Rules { audiences: vec![vip.clone()], ..Rules::default() },
            limits: HealthLimits { requests_per_second, ..delivery.limits },
            ..DeliverySettings::clone(delivery)
        });
        let (worker, tracker) = worker(settings, &store);
        tracker.close();
        let account = Self { refersion, store, worker, tracker, _folder: folder };
        account.append(1, "u1", json!({})).await;
        within(account.tracker.wait()).await;
        account
    }

    async fn append(&self, number: u8, user: &str, traits: Value) {
        let body = identify(&number.to_string(), user, &traits).to_string().into_bytes();
        let one = event(self.store.hash_key(), Timestamp(0));
        let named = User { user_id: UserId::parse(user), email: None };
        let user_keys = named.keys(self.store.hash_key(), &one.account);
        let event = NewEvent { id: EventId([number; 16]), user_keys, body, ..one };
        self.store.append(vec![event]).await.expect("appended");
        self.worker.wake();
    }

    fn statuses_set(&self) -> usize {
        self.refersion.operations().iter().filter(|operation| **operation == "status_change").count()
    }

    /// The merchant's decision was not overwritten.
    fn assert_denied(&self, case: &str) {
        assert_eq!(self.statuses_set(), 1, "{case}: only the merchant has set it");
        assert_eq!(self.refersion.sandbox.affiliates()[0].status, AffiliateStatus::Denied, "{case}");
        assert_eq!((self.store.status().pending, self.store.status().dead), (0, 0), "{case}");
    }
}

/// Waits until the count is this one.
async fn until(count: &AtomicUsize, wanted: usize) {
    within(poll_until(|| std::future::ready(count.load(Ordering::Relaxed)), |count| *count >= wanted)).await;
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_status_that_was_read_long_before_the_call_could_be_sent_is_read_again() {
    for case in ["the store is silent", "the call waits for that of another delivery, whose progress cannot be saved"] {
        let account = Account::start(None).await;
        let Counting { saves, saving, saved, .. } = &*account.store;
        let before = saving.load(Ordering::Relaxed);
        saves.forget_permits(SAVES);
        account.append(2, "u1", json!({"vip": true})).await;
        until(saving, before + 1).await;
        assert_eq!(account.refersion.operations(), ["new", "get"], "the next one sets the status");
        if case != "the store is silent" {
            account.append(3, "u2", json!({})).await;
            until(saving, before + 2).await;
            saves.add_permits(1);
            until(saved, before + 1).await;
        }
        account.refersion.merchant_sets(&json!("DENIED")).await;
        pass(Duration::from_secs(30)).await;
        saves.add_permits(SAVES);
        within(account.tracker.wait()).await;
        account.assert_denied(case);
    }
}

#[tokio::test]
async fn a_status_is_set_also_at_a_rate_of_one_request_in_twenty_seconds() {
    let account = Account::start(Some(0.05)).await;
    let saved = account.store.saved.load(Ordering::Relaxed);
    account.append(2, "u1", json!({"vip": true})).await;
    pass(Duration::from_secs(20)).await;
    until(&account.store.saved, saved + 1).await;
    assert_eq!(account.refersion.operations(), ["new", "get"]);
    pass(Duration::from_secs(20)).await;
    within(account.tracker.wait()).await;
    assert_eq!(account.refersion.operations(), ["new", "get", "status_change"]);
}
