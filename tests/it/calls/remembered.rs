//! Remembered traits whose time has ended, and which are removed while an event of their user is delivered.

use super::idle::{Counting, counting_store, event, settings, worker};
use crate::support::service::Refersion;
use crate::support::within;
use refersion_destination::clock::Clock;
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{EventId, SealKey, Timestamp};
use refersion_destination::mapping::{CreateIf, Rules};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{
    AffiliateChanges, Appended, EventLog, KeptTraits, Maintenance, NewEvent, Retention, Settlement, TraitsChange,
    TraitsLimits,
};
use refersion_destination::worker::DeliverySettings;
use std::time::Duration;

/// Appends the event `n` of the user.
async fn append(store: &Counting, n: u8) -> Unit {
    let one = NewEvent { id: EventId([n; 16]), ..event(store.hash_key(), Timestamp(0)) };
    match store.append(vec![one]).await.expect("appended")[..] {
        [Appended::Accepted { seq, .. }] => Unit::of(seq),
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_is_remembered_although_expired_traits_of_its_user_are_removed_meanwhile() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let (store, settings) = (counting_store(&folder), settings(&refersion));
    settings.delivery.rcu(|delivery| {
        let create_if = Some(CreateIf { trait_name: "wants".to_owned(), equals: "true".to_owned() });
        let rules = Rules { create_if, remember_traits: Some(Duration::from_secs(3_600)), ..Rules::default() };
        DeliverySettings { rules, seal_keys: vec![SealKey::new([1; 32])], ..DeliverySettings::clone(delivery) }
    });
    let account = settings.account.clone();
    let user = event(store.hash_key(), Timestamp(0)).user_keys[0];
    let expired =
        KeptTraits { user, email: None, names: Vec::new(), sealed: vec![0], expires_at: Timestamp(1), replaces: false };
    let changes = AffiliateChanges { traits: Some(TraitsChange::Keep(expired)), ..AffiliateChanges::default() };
    let outcome = Settlement::Done { outcome: OutcomeCode::Created, followers: Vec::new() };
    store.settle(&account, &append(&store, 1).await, outcome, changes).await.expect("settled");

    append(&store, 2).await;
    let before = Retention { now: Clock::start().now(), max_traits: TraitsLimits::USUAL, ..Retention::default() };
    *store.compacts.lock().expect("not poisoned") = Some(before);
    let (worker, tracker) = worker(settings, &store);
    worker.wake();
    tracker.close();
    within(tracker.wait()).await;
    assert_eq!((refersion.operations(), store.status().pending), (vec![""; 0], 0));
    let third = append(&store, 3).await;
    let begun = store.begin(&account, &[third]).await.expect("read").remove(0).expect("pending");
    assert!(begun.memory.traits.is_some());
}
