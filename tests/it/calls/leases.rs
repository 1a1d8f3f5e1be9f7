//! A worker delivers only under a lease on its account, and no request is sent that the lease does not outlast.
//!
//! The lease is the test's own; everything else is as in the service.

use super::idle::{Counting, SAVES, counting_store, event, settings, worker, worker_with_signals};
use crate::support::service::Refersion;
use crate::support::{poll_until, within};
use refersion_destination::clock::Clock;
use refersion_destination::domain::{EventId, Timestamp, User, UserId};
use refersion_destination::mapping::{CustomField, Rules};
use refersion_destination::sandbox::{Fault, Operation, Sandbox, SandboxSettings};
use refersion_destination::scheduling::{AccountHealth, BreakerState, HealthLimits, LearnedLimits};
use refersion_destination::store::{AffiliateIndex, EventLog, Lease, Maintenance, NewEvent, Term};
use refersion_destination::worker::{DeliverySettings, Worker};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3_600);

fn until_in_an_hour(number: u64) -> Term {
    Term { number, until: Instant::now() + HOUR, is_ending: false }
}

/// Gives the worker a lease of this term.
fn grant(store: &Counting, term: Term) -> watch::Sender<Term> {
    let (sender, term) = watch::channel(term);
    *store.lease.lock().expect("not poisoned") = Some(Lease::of(term));
    sender
}

fn withdraw(store: &Counting) {
    *store.lease.lock().expect("not poisoned") = None;
}

/// Ends the lease: no other follows, and no clone of it is left.
async fn end(store: &Counting, lease: &watch::Sender<Term>) {
    withdraw(store);
    lease.send_modify(|term| term.is_ending = true);
    within(lease.closed()).await;
}

/// An event of the user `n`.
fn event_of(store: &Counting, n: u8) -> NewEvent {
    let one = event(store.hash_key(), Timestamp(0));
    let user = User { user_id: UserId::parse(&format!("u{n}")), email: None };
    let body = crate::support::identify(&n.to_string(), &format!("u{n}"), &serde_json::Value::Null).to_string();
    let keys = user.keys(store.hash_key(), &one.account);
    NewEvent { id: EventId([n; 16]), user_keys: keys, body: body.into_bytes(), ..one }
}

async fn store_with(folder: &TempDir, events: u8) -> Arc<Counting> {
    let store = counting_store(folder);
    let events = (0..events).map(|n| event_of(&store, n)).collect();
    store.append(events).await.expect("appended");
    store
}

#[tokio::test]
async fn a_process_delivers_nothing_for_an_account_that_it_does_not_own() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let store = store_with(&folder, 1).await;
    withdraw(&store);
    let (worker, tracker) = worker(settings(&refersion), &store);
    worker.wake();
    assert!(tracker.is_empty(), "there is no run loop");
    let _term = grant(&store, until_in_an_hour(1));
    worker.wake();
    tracker.close();
    within(tracker.wait()).await;
    assert_eq!((refersion.operations(), store.status().pending), (vec!["new"], 0));
}

#[tokio::test]
async fn nothing_is_sent_under_an_expired_lease_until_it_is_renewed() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let store = store_with(&folder, 1).await;
    let term = grant(&store, Term { until: Instant::now() - Duration::from_millis(1), ..until_in_an_hour(1) });
    let (worker, tracker) = worker(settings(&refersion), &store);
    worker.wake();
    let begun = || std::future::ready(store.begins.load(Ordering::Relaxed));
    within(poll_until(begun, |begun| *begun > 0)).await;
    let sent = refersion.sandbox.until(|sandbox| sandbox.calls_total() > 0);
    assert!(tokio::time::timeout(Duration::from_millis(200), sent).await.is_err());
    term.send_modify(|term| term.until = Instant::now() + HOUR);
    tracker.close();
    within(tracker.wait()).await;
    assert_eq!((refersion.operations(), store.status().pending), (vec!["new"], 0));
}

#[tokio::test]
async fn requests_in_flight_are_settled_and_the_rest_is_left_before_a_lease_ends() {
    let slow = SandboxSettings { latency: Duration::from_millis(300), ..SandboxSettings::default() };
    let (refersion, folder) = (Refersion::with(slow).await, tempfile::tempdir().expect("a folder"));
    let store = store_with(&folder, 3).await;
    let term = grant(&store, until_in_an_hour(1));
    let settings = settings(&refersion);
    settings.delivery.rcu(|delivery| {
        let limits = HealthLimits { concurrency: 1, ..delivery.limits };
        DeliverySettings { limits, ..DeliverySettings::clone(delivery) }
    });
    let (worker, tracker) = worker(settings, &store);
    worker.wake();
    refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    end(&store, &term).await;
    assert_eq!((refersion.operations(), store.status().pending), (vec!["new"], 2));

    let _term = grant(&store, until_in_an_hour(2));
    worker.wake();
    tracker.close();
    within(tracker.wait()).await;
    assert_eq!((refersion.operations(), store.status().pending), (vec!["new"; 3], 0), "each once");
}

/// The next owner must not begin before: the affiliates of the page connect events of one user.
#[tokio::test]
async fn a_page_of_refersions_list_in_flight_is_stored_before_a_lease_ends() {
    let slow = SandboxSettings { latency: Duration::from_millis(300), ..SandboxSettings::default() };
    let (refersion, folder) = (Refersion::with(slow).await, tempfile::tempdir().expect("a folder"));
    let store = counting_store(&folder);
    let term = grant(&store, until_in_an_hour(1));
    let settings = settings(&refersion);
    let account = settings.account.clone();
    let (_worker, _tracker, signals) = worker_with_signals(settings, &store);
    signals.learning().expect("offered").start_learning().await.expect("begun");
    refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    end(&store, &term).await;
    assert!(store.list_progress(&account).await.expect("read").is_some());
}

/// It would be prevented each time, and asked for again at once.
#[tokio::test]
async fn no_page_is_asked_for_under_an_expired_lease() {
    let (listener, folder) =
        (TcpListener::bind("127.0.0.1:0").await.expect("bound"), tempfile::tempdir().expect("a folder"));
    let refersion = Refersion {
        base_url: format!("http://{}/v2", listener.local_addr().expect("bound")),
        sandbox: Sandbox::new(SandboxSettings::default()),
    };
    let store = counting_store(&folder);
    let _term = grant(&store, Term { until: Instant::now() - Duration::from_millis(1), ..until_in_an_hour(1) });
    let (_worker, _tracker, signals) = worker_with_signals(settings(&refersion), &store);
    signals.learning().expect("offered").start_learning().await.expect("begun");
    assert!(tokio::time::timeout(Duration::from_millis(200), listener.accept()).await.is_err());
}

/// Another process owned the account in between, and Refersion asked it to wait.
#[tokio::test]
async fn the_health_of_the_account_is_read_anew_under_each_lease() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let store = store_with(&folder, 1).await;
    let settings = settings(&refersion);
    let (limits, account) = (settings.delivery.load().limits, settings.account.clone());
    let (worker, tracker, signals) = worker_with_signals(settings, &store);
    let first = grant(&store, until_in_an_hour(1));
    worker.wake();
    refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    withdraw(&store);
    within(first.closed()).await; // the account is idle: its run loop has ended
    store.save_health(&account, paused(limits)).await.expect("saved");
    store.append(vec![event_of(&store, 7)]).await.expect("appended");
    let second = grant(&store, until_in_an_hour(2));
    worker.wake();
    let state = || std::future::ready(signals.health().state);
    within(poll_until(state, |state| matches!(state, BreakerState::Open { .. }))).await;
    end(&store, &second).await;
    assert_eq!((refersion.operations(), store.status().pending), (vec!["new"], 1));
    tracker.close();
    within(tracker.wait()).await;
}

/// Otherwise this process would answer 401 while another one delivers.
#[tokio::test]
async fn a_halt_is_not_published_again_after_the_lease_under_which_it_began() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    refersion.sandbox.script_for(Operation::New, [Fault::status(401)]);
    let store = store_with(&folder, 1).await;
    let settings = settings(&refersion);
    let delivery = settings.delivery.load_full();
    let (worker, tracker, signals) = worker_with_signals(settings, &store);
    let term = grant(&store, until_in_an_hour(1));
    worker.wake();
    let state = || std::future::ready(signals.health().state);
    within(poll_until(state, |state| matches!(state, BreakerState::Halted { .. }))).await;
    end(&store, &term).await;
    assert_eq!(signals.health().state, BreakerState::Closed);
    worker.apply_settings(DeliverySettings::clone(&delivery)); // a reload
    assert_eq!(signals.health().state, BreakerState::Closed);
    tracker.close();
    within(tracker.wait()).await;
}

/// Removes the account, and adds it again once its run loop has seen that and waits for a delivery.
async fn remove_and_add_again(worker: &Worker, store: &Counting, delivery: &DeliverySettings) {
    worker.retire();
    for _ in 0..100 {
        tokio::task::yield_now().await; // the run loop sees it, unless it is saving health
    }
    let health_saves = || std::future::ready(store.health_saves.load(Ordering::Relaxed));
    within(poll_until(health_saves, |saves| *saves == 0)).await; // then it sees it now
    worker.apply_settings(delivery.clone());
}

/// Its last delivery has one more call to make, which would have to wait for the rate.
#[tokio::test]
async fn an_account_that_is_removed_and_added_again_during_a_call_goes_on() {
    let slow = SandboxSettings { latency: Duration::from_millis(300), ..SandboxSettings::default() };
    let (refersion, folder) = (Refersion::with(slow).await, tempfile::tempdir().expect("a folder"));
    let (store, settings) = (counting_store(&folder), settings(&refersion));
    let plan = CustomField { trait_name: "plan".to_owned(), id: "77".to_owned() };
    settings.delivery.rcu(|delivery| DeliverySettings {
        rules: Rules { custom_fields: vec![plan.clone()], ..Rules::default() },
        limits: HealthLimits { requests_per_second: Some(1.0), ..delivery.limits },
        ..DeliverySettings::clone(delivery)
    });
    let delivery = settings.delivery.load_full();
    let body = crate::support::identify("1", "u1", &serde_json::json!({"plan": "gold"})).to_string().into_bytes();
    store.append(vec![NewEvent { body, ..event(store.hash_key(), Timestamp(0)) }]).await.expect("appended");
    let (worker, tracker) = worker(settings, &store);
    worker.wake();
    refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    remove_and_add_again(&worker, &store, &delivery).await;
    tracker.close();
    within(tracker.wait()).await;
    assert_eq!((refersion.operations(), store.status().pending), (vec!["new", "edit"], 0));
}

/// The run loop before publishes nothing of it at its end, which comes after the account was added.
#[tokio::test]
async fn a_halt_is_published_after_the_account_is_removed_and_added_again_during_a_call() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    refersion.sandbox.script_for(Operation::New, [Fault::status(401)]);
    let (store, settings) = (store_with(&folder, 2).await, settings(&refersion));
    let delivery = settings.delivery.load_full();
    let (worker, _tracker, signals) = worker_with_signals(settings, &store);
    store.saves.forget_permits(SAVES);
    store.saves.add_permits(1);
    worker.wake();
    let state = || std::future::ready(signals.health().state);
    let is_halted = |state: &BreakerState| matches!(state, BreakerState::Halted { .. });
    within(poll_until(state, is_halted)).await;
    remove_and_add_again(&worker, &store, &delivery).await;
    store.saves.add_permits(SAVES);
    let begun = || std::future::ready(store.unlinks.load(Ordering::Relaxed));
    within(poll_until(begun, |begun| *begun == 2)).await;
    assert!(is_halted(&signals.health().state));
}

/// The saved health of an account that pauses for an hour.
fn paused(limits: HealthLimits) -> String {
    let now = Clock::start().now();
    let mut health = AccountHealth::new(limits, LearnedLimits::default());
    let (permit, _) = health.try_acquire(now).expect("a permit");
    health.on_rate_limited(permit, now, Some(HOUR), 0.0);
    serde_json::to_string(&health.saved(now)).expect("JSON")
}
