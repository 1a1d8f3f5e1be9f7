//! Affiliates that are learned from Refersion's list: learning spares calls, and harms nothing.

use super::idle::{Counting, counting_store, settings, worker_with_signals};
use super::{AT_ONCE, send_all};
use crate::support::service::{Refersion, Service};
use crate::support::{identify, poll_until, within};
use refersion_destination::account_signals::{AccountSignals, AffiliateListStatus};
use refersion_destination::domain::{AccountName, AffiliateStatus, Email, Field, Profile, Timestamp, User, UserId};
use refersion_destination::sandbox::{Fault, Operation};
use refersion_destination::scheduling::BreakerState;
use refersion_destination::store::{AffiliateIndex as _, EventLog as _, Maintenance as _, NewEvent};
use refersion_destination::worker::Worker;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

/// A worker that is learning, with a store and a simulated Refersion of its own.
struct World {
    refersion: Refersion,
    folder: TempDir,
    store: Arc<Counting>,
    worker: Worker,
    tracker: TaskTracker,
    signals: AccountSignals,
    events: u32,
}

impl World {
    /// One whose Refersion has `affiliates` affiliates, of the users `u0` and on.
    async fn with(affiliates: usize) -> Self {
        let refersion = Refersion::start().await;
        for n in 0..affiliates {
            refersion.sandbox.add(AffiliateStatus::Active, &profile(n)).expect("added");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let store = counting_store(&folder);
        let (worker, tracker, signals) = worker_on(&refersion, &store);
        Self { refersion, folder, store, worker, tracker, signals, events: 0 }
    }

    /// Reads the list until there is nothing left to do.
    async fn learn(&self) -> AffiliateListStatus {
        let learning = self.signals.learning().expect("offered");
        learning.start_learning().await.expect("begun");
        self.settled().await;
        learning.learning().await.expect("reported")
    }

    /// Waits until the worker is idle.
    async fn settled(&self) {
        self.tracker.close();
        within(self.tracker.wait()).await;
    }

    async fn append(&mut self, bodies: Vec<Value>) {
        let events = bodies.iter().map(|body| self.event(body)).collect();
        self.store.append(events).await.expect("appended");
    }

    fn event(&mut self, body: &Value) -> NewEvent {
        self.events += 1;
        let (account, hash) = (AccountName::main(), self.store.hash_key());
        let email = body["traits"]["email"].as_str().and_then(|email| Email::parse(email).ok());
        let user = User { user_id: body["userId"].as_str().and_then(UserId::parse), email };
        NewEvent {
            id: hash.event_by_message_id(&account, &self.events.to_string()),
            former_id: None,
            user_keys: user.keys(hash, &account),
            account,
            known_users_only: None,
            source: None,
            body: body.to_string().into_bytes(),
            received_at: Timestamp(self.events.into()),
        }
    }

    /// Delivers one event; returns the calls that took.
    async fn deliver(&mut self, body: &Value) -> Vec<&'static str> {
        let before = self.refersion.operations().len();
        self.append(vec![body.clone()]).await;
        self.worker.wake();
        self.settled().await;
        self.refersion.operations().split_off(before)
    }

    /// The pages that were asked for.
    fn pages(&self) -> Vec<String> {
        let calls = self.refersion.sandbox.calls();
        let lists = calls.iter().filter(|call| call.operation == Operation::List);
        lists.map(|call| call.body["page"].as_str().expect("a text").to_owned()).collect()
    }
}

fn worker_on(refersion: &Refersion, store: &Arc<Counting>) -> (Worker, TaskTracker, AccountSignals) {
    worker_with_signals(settings(refersion), store)
}

/// The affiliate of the user `u0`, `u1` and so on, as the events of [`identify`] state it.
fn profile(n: usize) -> Profile {
    let (name, email) = (format!("u{n}"), format!("u{n}@example.com"));
    [(Field::FirstName, "User"), (Field::LastName, &name), (Field::Email, &email)].into_iter().collect()
}

#[tokio::test]
async fn an_affiliate_on_the_list_needs_no_search() {
    let mut world = World::with(250).await;
    let learned = world.learn().await;
    assert_eq!((learned.reading, learned.read, learned.total), (false, 250, Some(250)));
    assert_eq!(world.pages(), ["1", "2", "3"]);
    assert_eq!(world.deliver(&identify("1", "u7", &json!({}))).await, [""; 0]);
    assert_eq!(world.deliver(&identify("2", "u249", &json!({"city": "Paris"}))).await, ["get", "edit"]);
    let nameless = |user: &str| json!({"type": "identify", "userId": user, "traits": {"email": format!("{user}@example.com"), "city": "Rome"}});
    assert_eq!(world.deliver(&nameless("u8")).await, ["get", "edit"]);
    assert_eq!(world.deliver(&nameless("u999")).await, [""; 0], "an unknown user without a name causes no call");
    assert_eq!(world.store.status().dead, 1);
    assert_eq!(world.deliver(&identify("3", "u999", &json!({}))).await, ["new"]);
    assert_eq!(world.refersion.sandbox.affiliate("u8@example.com").expect("there").field("city"), "Rome");
}

#[tokio::test]
async fn an_affiliate_that_appeared_since_is_found_and_one_that_the_merchant_denied_is_left_alone() {
    let mut world = World::with(1).await;
    world.refersion.sandbox.add(AffiliateStatus::Denied, &profile(1)).expect("added");
    world.learn().await;
    world.refersion.sandbox.add(AffiliateStatus::Active, &profile(2)).expect("added");
    assert_eq!(world.deliver(&identify("1", "u2", &json!({"city": "Rome"}))).await, ["new", "search", "get", "edit"]);
    assert_eq!(world.deliver(&identify("2", "u1", &json!({"city": "Rome"}))).await, ["new", "search"]);
    assert_eq!(world.refersion.sandbox.affiliate("u1@example.com").expect("there").field("city"), "");
}

#[tokio::test]
async fn a_deleted_user_is_not_learned_again() {
    let mut world = World::with(2).await;
    world.learn().await;
    let delete = json!({"type": "delete", "messageId": "d", "userId": "u0", "traits": {"email": "u0@example.com"}});
    assert_eq!(world.deliver(&delete).await, ["get", "status_change"]);
    world.learn().await;
    let nameless = json!({"type": "identify", "traits": {"email": "u0@example.com", "city": "Rome"}});
    assert_eq!(world.deliver(&nameless).await, [""; 0]);
    assert_eq!(world.store.status().dead, 1, "nobody is known by this e-mail");
}

#[tokio::test]
async fn reading_goes_on_where_it_was_interrupted_also_after_a_restart() {
    let mut world = World::with(250).await;
    world.refersion.sandbox.script_for(Operation::List, [Fault::Pass, Fault::status(500)]);
    let learned = world.learn().await;
    assert_eq!((learned.reading, learned.read, learned.completed_at), (false, 100, None));
    assert_eq!(learned.failure.as_deref(), Some("Refersion answered 500 to list"));
    assert_eq!(world.deliver(&identify("1", "u99", &json!({}))).await, [""; 0], "the first page counts");
    (world.worker, world.tracker, world.signals) = worker_on(&world.refersion, &world.store);
    assert_eq!(world.learn().await.read, 250);
    assert_eq!(world.pages(), ["1", "2", "2", "3"]);
    assert!(world.learn().await.completed_at.is_some());
    assert_eq!(world.pages()[4..], ["1", "2", "3"], "asked for again, it is read again");
    drop(world.folder);
}

/// No answer to `list` harms the account: the event is delivered.
#[tokio::test]
async fn no_answer_to_list_harms_an_event_or_the_account() {
    let html = Fault::Html { status: 200 };
    let odd = Fault::Status { status: 200, body: json!({"results": "none"}), retry_after: None };
    let asks_to_wait = Fault::Status { status: 429, body: Value::Null, retry_after: Some(9_999) };
    let others = [401, 404, 422, 429, 500, 503].map(Fault::status);
    for fault in others.into_iter().chain([html, odd, asks_to_wait, Fault::CloseConnection, Fault::TruncateResponse]) {
        let mut world = World::with(1).await;
        world.refersion.sandbox.script_for(Operation::List, [fault.clone()]);
        world.append(vec![identify("1", "u5", &json!({}))]).await;
        let learned = world.learn().await;
        assert!(learned.failure.is_some() && !learned.reading, "{fault:?}");
        assert_eq!((world.store.status().pending, world.store.status().dead), (0, 0), "{fault:?}");
        let health = world.signals.health();
        assert_eq!((health.state, health.in_flight, health.requests_per_second), (BreakerState::Closed, 0, None));
        assert_eq!(world.deliver(&identify("2", "u6", &json!({}))).await, ["new"], "{fault:?}");
        assert_eq!(world.pages().len(), 1, "{fault:?}: it is not asked for again at once");
    }
}

#[tokio::test]
async fn a_page_is_stored_before_the_next_one_is_requested() {
    let world = World::with(150).await;
    world.refersion.sandbox.script_for(Operation::List, [Fault::Pass, Fault::CloseConnection]);
    world.learn().await;
    let progress = world.store.list_progress(&AccountName::main()).await.expect("read").expect("saved");
    let progress: Value = serde_json::from_str(&progress).expect("JSON");
    assert_eq!((&progress["page"], &progress["seen"]), (&json!(2), &json!(100)));
    assert!(!progress.to_string().contains("example.com"), "no address is kept");
}

/// One call never ends, so deliveries are running all the time. Of three permits the list takes none while two are taken, so every other
/// call has ended when it begins: the order of the calls is that in which they began.
#[tokio::test]
async fn the_list_is_read_behind_the_first_hundred_calls_of_events() {
    let refersion = Refersion::start().await;
    refersion.sandbox.add(AffiliateStatus::Active, &profile(0)).expect("added");
    let settings = [("DELIVERY_LEARN", "once"), ("REFERSION_CONCURRENCY", "3"), ("REFERSION_TIMEOUT", "1h")];
    let service = Service::on(refersion, &[&[AT_ONCE], &settings[..]].concat()).await;
    let sandbox = &service.refersion.sandbox;
    let send = async |users: RangeInclusive<usize>| {
        let events = users.map(|n| identify(&n.to_string(), &format!("u{n}"), &json!({})));
        send_all(&service, events.collect()).await;
    };
    let pending = || async { service.ready().await.json()["pending"].clone() };
    sandbox.script([Fault::Hang { effect: false }]);
    send(1..=1).await;
    service.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    send(2..=99).await;
    within(poll_until(pending, |pending| *pending == json!(1))).await;
    assert_eq!(service.refersion.operations(), ["new"; 99]);
    send(100..=100).await;
    service.refersion.until(|sandbox| sandbox.calls_total() > 100).await;
    let operations = service.refersion.operations();
    assert_eq!((&operations[..100], operations[100]), (&["new"; 100][..], "list"));
}

/// How many calls a first sync takes of users of whom 60 % are affiliates: `FIRST_SYNC_USERS=10000` tells it of so many.
#[tokio::test]
async fn a_first_sync_of_affiliates_that_were_learned_takes_a_fraction_of_the_calls() {
    let users: usize = std::env::var("FIRST_SYNC_USERS").ok().and_then(|users| users.parse().ok()).unwrap_or(100);
    let affiliates = users * 6 / 10;
    let mut calls = Vec::new();
    for is_learned in [false, true] {
        let mut world = World::with(affiliates).await;
        if is_learned {
            world.learn().await;
        }
        // Every second one states more than the list shows.
        let more = |n: usize| if n.is_multiple_of(2) { json!({}) } else { json!({"city": "Paris"}) };
        for some in (0..users).collect::<Vec<_>>().chunks(100) {
            let events = some.iter().map(|n| identify(&n.to_string(), &format!("u{n}"), &more(*n)));
            world.append(events.collect()).await;
            world.worker.wake();
            world.settled().await;
        }
        assert_eq!((world.refersion.sandbox.affiliates().len(), world.store.status().dead), (users, 0));
        calls.push(usize::try_from(world.refersion.sandbox.calls_total()).expect("a number"));
    }
    eprintln!(
        "of {users} users {affiliates} are affiliates: {} calls; {} if those are learned first",
        calls[0], calls[1]
    );
    // Of each who is one: `new`, `search` and `get`. Afterwards: the `get` of every second one, and pages and edits of many.
    assert!(calls[0] >= users + 2 * affiliates && calls[1] < users, "{calls:?}");
}
