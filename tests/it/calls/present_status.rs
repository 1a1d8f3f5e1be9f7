//! A status is set only a moment after the present one was read, also if something delays the delivery between the two.
//!
//! The merchant decides in between, and that decision stands.

use super::idle::{SAVES, counting_store, event, settings, worker};
use crate::support::service::Refersion;
use crate::support::{identify, poll_until, within};
use refersion_destination::domain::{AffiliateStatus, EventId, Timestamp};
use refersion_destination::mapping::{Audience, Effect, Rules};
use refersion_destination::store::{EventLog as _, Maintenance as _, NewEvent};
use refersion_destination::worker::DeliverySettings;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the store is silent.
const SILENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_status_that_was_read_before_the_store_was_silent_is_read_again() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let (store, settings) = (counting_store(&folder), settings(&refersion));
    let active = Effect { status: Some(AffiliateStatus::Active), ..Effect::default() };
    let vip = Audience { trait_name: "vip".to_owned(), on_true: active, on_false: Effect::default() };
    settings.delivery.rcu(|delivery| DeliverySettings {
        rules: Rules { audiences: vec![vip.clone()], ..Rules::default() },
        ..DeliverySettings::clone(delivery)
    });
    let (worker, tracker) = worker(settings, &store);
    tracker.close();
    let append = async |number: u8, traits: Value| {
        let body = identify(&number.to_string(), "u1", &traits).to_string().into_bytes();
        let event = NewEvent { id: EventId([number; 16]), body, ..event(store.hash_key(), Timestamp(0)) };
        store.append(vec![event]).await.expect("appended");
        worker.wake();
    };
    append(1, json!({})).await;
    within(tracker.wait()).await;

    let silent = store.saves.acquire_many(u32::try_from(SAVES).expect("few")).await.expect("open");
    let before = store.saving.load(Ordering::Relaxed);
    append(2, json!({"vip": true})).await;
    let saving = || std::future::ready(store.saving.load(Ordering::Relaxed));
    within(poll_until(saving, |saving| *saving > before)).await;
    assert_eq!(refersion.operations(), ["new", "get"], "the next one sets the status");
    refersion.merchant_sets(&json!("DENIED")).await;
    tokio::time::pause();
    tokio::time::advance(SILENCE).await;
    tokio::time::resume();
    drop(silent);
    within(tracker.wait()).await;
    assert_eq!(refersion.operations(), ["new", "get", "status_change", "get"], "only the merchant has set it");
    assert_eq!(refersion.sandbox.affiliates()[0].status, AffiliateStatus::Denied);
    assert_eq!((store.status().pending, store.status().dead), (0, 0));
}
