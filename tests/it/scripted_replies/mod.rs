//! Fifty users with forty events each, and for each user a random list of replies from Refersion. Whatever the replies are,
//! each affiliate ends as its events say, each change is sent once and in order, and no text is altered.
//!
//! How many events or affiliates share a call is not checked. After each call that had an effect, the affiliate must equal the
//! result of its first n events, and n must grow with each call. `CHAOS_SEED` repeats the lists.

mod proxy;

use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{API_KEY, basic, http, identify};
use proxy::{ALL_REPLIES, ReplyProxy, ScriptedReply, Stated};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use refersion_destination::domain::{AccountName, AffiliateStatus};
use refersion_destination::sandbox::{CallRecord, Operation, Sandbox};
use refersion_destination::store::{
    DeadLetterFilter, DeadLetters as _, EventLog as _, PageStart, SqliteStore, StoreLimits,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;

const USERS: usize = 50;
const EVENTS: usize = 40;
/// Traits, and the fields they become: each event says one or two of them, so that what an earlier one said must stay.
const SAID: [(&str, &str); 4] = [("city", "city"), ("company", "company"), ("street", "address1"), ("zip", "zip")];

/// An affiliate's fields, of those in [`SAID`].
type Fields = BTreeMap<String, String>;

fn email(user: usize) -> String {
    format!("u{user}@example.com")
}

fn name(user: usize, number: usize) -> String {
    format!("m-{user}-{number}")
}

/// Whether a user's last event is a delete.
fn leaves(user: usize) -> bool {
    user % 10 == 9
}

/// What an event says, by trait.
fn says(user: usize, number: usize) -> Vec<(usize, String)> {
    let also = (number.is_multiple_of(3)).then_some((number / 4) % 4);
    let which: BTreeSet<usize> = [number % 4].into_iter().chain(also).collect();
    which.into_iter().map(|which| (which, format!(r#"Söhne & "Töchter" \ 東京 {user}/{number}"#))).collect()
}

fn event(user: usize, number: usize) -> Value {
    if leaves(user) && number == EVENTS - 1 {
        return json!({"type": "delete", "messageId": name(user, number), "userId": format!("u{user}")});
    }
    let traits = says(user, number).into_iter().map(|(which, text)| (SAID[which].0.to_owned(), text.into())).collect();
    identify(&name(user, number), &format!("u{user}"), &Value::Object(traits))
}

/// What has no effect: events that died, and values that were left out of an event because Refersion rejected them.
struct Refused {
    dead: BTreeSet<String>,
    left_out: BTreeSet<(String, String)>,
}

/// How a user's last event ends.
#[derive(PartialEq)]
enum Last {
    Delivered,
    WithoutOneValue,
    Dead,
}

fn last(user: usize) -> Last {
    match user % 5 {
        0 => Last::WithoutOneValue,
        1 => Last::Dead,
        _ => Last::Delivered,
    }
}

/// A field of a user's last event, and its value.
fn last_value(user: usize) -> Stated {
    let (which, text) = says(user, EVENTS - 1).swap_remove(0);
    (SAID[which].1.to_owned(), text)
}

/// The values that are refused in every call, and the words: some name the field, others blame no value.
fn never() -> BTreeMap<Stated, String> {
    let words = |user: usize, field: &str| match last(user) {
        Last::Delivered => None,
        Last::WithoutOneValue => Some(format!("This is not a allowed value for field {field}")),
        Last::Dead => Some("Your account plan does not support this feature (error 1).".to_owned()),
    };
    let values = (0..USERS).map(|user| (user, last_value(user)));
    values.filter_map(|(user, (field, text))| Some(((field.clone(), text), words(user, &field)?))).collect()
}

/// What a user's first events make of the affiliate, without what was refused.
fn made_by(user: usize, events: usize, refused: &Refused) -> Fields {
    let lived = (0..events).filter(|number| !refused.dead.contains(&name(user, *number)));
    let lived = lived.filter(|number| event(user, *number)["type"] == "identify");
    let said = lived.flat_map(|number| says(user, number).into_iter().map(move |said| (number, said)));
    let field = |which: usize| SAID[which].1.to_owned();
    said.filter(|(number, (which, _))| !refused.left_out.contains(&(name(user, *number), field(*which))))
        .map(|(_, (which, text))| (field(which), text))
        .collect()
}

/// Sends a user's events in order: some by themselves, some together.
async fn send(url: String, user: usize, seed: u64) {
    let (client, mut chance, mut sent) = (http(), StdRng::seed_from_u64(seed ^ user as u64), 0);
    while sent < EVENTS {
        let count = chance.random_range(1..6_usize).min(EVENTS - sent);
        let events: Vec<Value> = (sent..sent + count).map(|number| event(user, number)).collect();
        let body = if count == 1 { events[0].clone() } else { Value::Array(events) };
        let request = client.post(&url).header("Authorization", basic(API_KEY)).body(body.to_string());
        assert_eq!(request.send().await.expect("an answer").status().as_u16(), 202);
        sent += count;
    }
}

/// What was refused: the events that ended as dead letters (a delete erases the bodies of its user's, and leaves them known), and what
/// the log says of values that were left out.
async fn refused(store: &Path, log: &str) -> Refused {
    let store = SqliteStore::open(store, StoreLimits::default()).expect("opens");
    let letters = store
        .dead_letters(&DeadLetterFilter::default(), PageStart::After(0), USERS * EVENTS)
        .await
        .expect("a page")
        .letters;
    assert!(letters.iter().all(|letter| letter.code == "refused"), "{letters:?}");
    let letters: BTreeSet<String> = letters.into_iter().map(|letter| letter.event).collect();
    let id = |name: &String| store.hash_key().event_by_message_id(&AccountName::main(), name).to_string();
    let names = (0..USERS).flat_map(|user| (0..EVENTS).map(move |number| name(user, number)));
    let names: BTreeMap<String, String> = names.map(|name| (id(&name), name)).collect();
    let dead: BTreeSet<String> = letters.iter().filter_map(|id| names.get(id).cloned()).collect();
    assert_eq!(dead.len(), letters.len());
    let left_out = log.lines().filter_map(|line| {
        let (_, fields) = line.split_once("Refersion rejects the value of ")?;
        let (fields, rest) = fields.split_once(", which was left out")?;
        let event = rest.split_whitespace().find_map(|word| word.strip_prefix("event.id="))?;
        let name = names.get(event).unwrap_or_else(|| panic!("{line}"));
        Some(fields.split(", ").map(|field| (name.clone(), field.to_owned())).collect::<Vec<_>>())
    });
    Refused { left_out: left_out.flatten().collect(), dead }
}

/// What a call changed: affiliates, and what it said of each.
fn effects(call: &CallRecord) -> Vec<(u64, &Value)> {
    if call.operation == Operation::New {
        let id = call.response["message"].as_str().and_then(|text| text.split(' ').nth(2)?.parse().ok());
        return id.map(|id| (id, &call.body)).into_iter().collect();
    }
    let changed = call.response["ids_changed"].as_array().cloned().unwrap_or_default();
    let edits = call.body["affiliates"].as_array().into_iter().flatten();
    edits.filter(|edit| changed.contains(&edit["id"])).filter_map(|edit| Some((edit["id"].as_u64()?, edit))).collect()
}

/// The service says itself what it left out: that must be a value of this very event, and must have been in a refused call.
fn assert_left_out_was_rejected(refused: &Refused, at_fault: &BTreeSet<Stated>) {
    let events = (0..USERS).flat_map(|user| (0..EVENTS).map(move |number| (user, number)));
    let texts: BTreeMap<(String, String), String> = events
        .flat_map(|(user, number)| says(user, number).into_iter().map(move |(which, text)| (user, number, which, text)))
        .map(|(user, number, which, text)| ((name(user, number), SAID[which].1.to_owned()), text))
        .collect();
    for left_out in refused.left_out.iter().filter(|(_, field)| SAID.iter().any(|(_, one)| one == field)) {
        let text = texts.get(left_out).unwrap_or_else(|| panic!("{left_out:?} was never stated"));
        assert!(
            at_fault.contains(&(left_out.1.clone(), text.clone())),
            "{left_out:?} was in no refused call of its user alone"
        );
    }
}

fn check(sandbox: &Sandbox, refused: &Refused) {
    let affiliates = sandbox.affiliates();
    let users: BTreeMap<u64, usize> = (0..USERS)
        .filter_map(|user| Some((affiliates.iter().find(|one| one.email() == email(user))?.id.0, user)))
        .collect();
    assert_eq!(users.len(), affiliates.len(), "an affiliate of nobody's, or one too many");
    let mut seen: BTreeMap<usize, (usize, Fields)> = BTreeMap::new();
    let calls = sandbox.calls();
    assert_eq!(calls.len() as u64, sandbox.calls_total(), "the journal holds all of them");
    for (id, said) in calls.iter().flat_map(effects) {
        let user = users[&id];
        let (events, fields) = seen.entry(user).or_default();
        let text = |field: &str| Some((field.to_owned(), said.get(field)?.as_str()?.to_owned()));
        fields.extend(SAID.iter().filter_map(|(_, field)| text(field)));
        if fields.is_empty() {
            continue; // created with what is required alone
        }
        let more = (*events + 1..=EVENTS).find(|events| made_by(user, *events, refused) == *fields);
        *events = more.unwrap_or_else(|| panic!("user {user} after {events} events: {said} makes {fields:?}"));
    }
    for (user, affiliate) in (0..USERS).map(|user| (user, affiliates.iter().find(|one| one.email() == email(user)))) {
        if leaves(user) {
            assert!(affiliate.is_none_or(|one| one.status == AffiliateStatus::Disabled), "{affiliate:?}");
            continue;
        }
        let affiliate = affiliate.unwrap_or_else(|| panic!("user {user} is lost"));
        let is = SAID.iter().map(|(_, field)| ((*field).to_owned(), affiliate.field(field).to_owned()));
        let is: Fields = is.filter(|(_, value)| !value.is_empty()).collect();
        assert_eq!(is, made_by(user, EVENTS, refused), "user {user}");
        assert_eq!(affiliate.field("first_name"), "User");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_affiliate_ends_as_its_events_state_under_any_replies() {
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("reply answers: CHAOS_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let lists = (0..USERS).map(|user| {
        let first = ALL_REPLIES[user % ALL_REPLIES.len()];
        // An account that has to wait for a second more often than this would mostly wait.
        let drawn = std::iter::repeat_with(|| *ALL_REPLIES.choose(&mut chance).expect("some"));
        let drawn = drawn.filter(|next| *next != ScriptedReply::TooManyForASecond).take(10);
        // Where it is certain how the last event ends, nothing else is refused.
        let fits = |reply: &ScriptedReply| last(user) == Last::Delivered || !reply.refuses();
        (email(user), [first].into_iter().chain(drawn).filter(fits).collect::<VecDeque<_>>())
    });
    let lists = lists.collect();
    let refersion = Refersion::start().await;
    let upstream =
        refersion.base_url.trim_start_matches("http://").trim_end_matches("/v2").parse().expect("an address");
    let (proxy, base_url) = ReplyProxy::start(refersion.sandbox.clone(), upstream, lists, never()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("SERVER_WAIT", "0s"), ("LOG_FILTER", "refersion_destination=trace,info")];
    let process = Process::start(&base_url, folder.path(), &settings);
    let url = format!("{}/segment", process.server);
    let mut senders: JoinSet<()> = (0..USERS).map(|user| send(url.clone(), user, seed)).collect();
    while let Some(sent) = senders.join_next().await {
        sent.expect("all of them are answered");
    }
    tokio::time::timeout(Duration::from_mins(10), process.drained()).await.expect("in time"); // many of the answers are 429
    process.terminate(); // in order: the line of the last settlement is written after its commit
    let (_, log) = process.ended().await;
    let refused = refused(&folder.path().join("store.db"), &log).await;
    check(&refersion.sandbox, &refused);
    assert_left_out_was_rejected(&refused, &proxy.refused());
    for user in 0..USERS {
        let event = name(user, EVENTS - 1);
        let is_dead = refused.dead.contains(&event);
        let left_out: Vec<_> =
            refused.left_out.iter().filter(|(name, _)| *name == event).map(|(_, field)| field).collect();
        match last(user) {
            Last::WithoutOneValue => assert_eq!((left_out, is_dead), (vec![&last_value(user).0], false), "user {user}"),
            Last::Dead => assert!(is_dead, "user {user}"),
            Last::Delivered => {}
        }
    }
    let sent = proxy.sent();
    assert_eq!(sent.len(), ALL_REPLIES.len(), "{sent:?}");
    let effective = refersion.sandbox.calls().iter().flat_map(effects).count();
    eprintln!(
        "{} events, {} dead letters, {} values left out, {effective} effects; answers: {sent:?}",
        USERS * EVENTS,
        refused.dead.len(),
        refused.left_out.len()
    );
}
