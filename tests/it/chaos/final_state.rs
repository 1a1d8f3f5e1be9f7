//! The check at the end of a chaos run: every answered event ended as a correct affiliate, a recorded reason, or a dead letter.
//!
//! In: what was sent, the simulated Refersion's affiliates with every call that changed one, and the dead letters in the store.
//! What they must be is computed from what was sent by a second, much simpler implementation of the rules (a test oracle).

use super::sender::{Sent, Story, What, marks, taken};
use crate::support::affiliate_updates::affiliate_updates;
use refersion_destination::domain::{AccountName, AffiliateStatus, EventId, HashKey};
use refersion_destination::sandbox::{Sandbox, SandboxAffiliate};
use refersion_destination::store::{EventLog as _, SqliteStore, StoreLimits};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The calls that changed an affiliate: its id → the marks of the events, in order.
#[derive(Default)]
pub struct Effects {
    read: u64,
    /// Every call, for the message of a failure.
    calls: Vec<String>,
    by_affiliate: BTreeMap<u64, Vec<(String, String)>>,
}

impl Effects {
    /// Reads the calls since the last time. It must be called often, because the call log is bounded.
    pub fn read(&mut self, sandbox: &Sandbox) {
        for call in sandbox.calls().into_iter().filter(|call| call.number > self.read).collect::<Vec<_>>() {
            assert_eq!(call.number, self.read + 1, "the call log was read too late");
            self.read = call.number;
            self.calls.push(format!("{} {} {} => {}", call.number, call.operation.as_str(), call.body, call.response));
            for update in affiliate_updates(&call, sandbox).into_iter().filter(|update| update.effective) {
                let mark = |key: &str| update.fields[key].as_str().unwrap_or_default().to_owned();
                self.by_affiliate.entry(update.id).or_default().push((mark("city"), mark("company")));
            }
        }
    }

    /// The calls about a user.
    fn calls_of(&self, user: usize) -> Vec<&str> {
        let city = format!("City {user} ");
        let ids = self.by_affiliate.iter().filter(|(_, marks)| marks.iter().any(|(mark, _)| mark.starts_with(&city)));
        let named: Vec<String> =
            ids.map(|(id, _)| id.to_string()).chain([format!("user{user}."), city.clone()]).collect();
        let is_of = |call: &&String| named.iter().any(|name| call.contains(name));
        self.calls.iter().filter(is_of).map(String::as_str).collect()
    }

    fn cities(&self) -> BTreeSet<&str> {
        self.by_affiliate.values().flatten().map(|(city, _)| city.as_str()).collect()
    }
}

/// The dead letters of a store.
pub struct Dead {
    hash: HashKey,
    ids: BTreeSet<EventId>,
}

impl Dead {
    /// These, of a store with this key.
    pub fn new(hash: HashKey, ids: BTreeSet<EventId>) -> Self {
        Self { hash, ids }
    }

    /// Those of a store in a file that no process has open.
    pub fn read(store: &Path) -> Self {
        let connection = rusqlite::Connection::open(store).expect("opens");
        let mut statement = connection.prepare("SELECT id FROM dead_letters").expect("a table");
        let ids =
            statement.query_map([], |row| row.get(0)).expect("rows").map(|id| EventId(id.expect("an id"))).collect();
        drop(statement);
        drop(connection);
        let store = SqliteStore::open(store, StoreLimits::default()).expect("opens");
        Self::new(store.hash_key().clone(), ids)
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    fn has(&self, sent: &Sent) -> bool {
        let id = self.hash.event_by_message_id(&AccountName::main(), &sent.message_id);
        self.ids.contains(&id)
    }
}

/// An affiliate as it must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    email: String,
    marks: (String, String),
    disabled: bool,
}

fn seen(affiliate: &SandboxAffiliate) -> Expected {
    Expected {
        email: affiliate.email().to_owned(),
        marks: (affiliate.field("city").to_owned(), affiliate.field("company").to_owned()),
        disabled: affiliate.status == AffiliateStatus::Disabled,
    }
}

/// What one user's events must have resulted in. A dead letter had no effect, unless the call log shows one: then an answer
/// was lost, and the next attempt was refused. An e-mail that another affiliate has stays as it is, and the rest is applied. An edit
/// that a delete follows may be cancelled by it; then the last effect before it stands. An event that is older than what the affiliate was
/// sent, or than the user's last delete, has no effect.
fn replay(user: usize, story: &Story, dead: &Dead, effects: &BTreeSet<&str>) -> Vec<Expected> {
    let mut account: Vec<Expected> = Vec::new();
    let mut known: Option<usize> = None;
    let mut shown: Option<Expected> = None;
    let (mut told_at, mut deleted_at) = (0, 0);
    for sent in &story.sent {
        let (marks, died) = (marks(user, sent.number), dead.has(sent));
        let effective = effects.contains(marks.0.as_str());
        assert!(died || sent.status != 400, "answered as refused, and no dead letter: {sent:?}");
        let What::Identify { email, taken } = &sent.what else {
            assert!(!died, "a delete died: {sent:?}");
            let place = known.take().expect("deleted while known");
            account[place] = Expected { disabled: true, ..shown.take().expect("made before it was deleted") };
            deleted_at = sent.at;
            continue;
        };
        if died && !effective {
            assert!(known.is_some(), "only edits are refused for good: {sent:?}");
            continue;
        }
        if sent.at < told_at.max(deleted_at) {
            assert!(!effective, "older than what was sent before, and yet: {sent:?}");
            continue;
        }
        let place = known.or_else(|| account.iter().position(|one| one.email == *email));
        match place.map(|place| &mut account[place]) {
            Some(one) if one.disabled => assert!(!effective, "left alone, and yet: {sent:?}"),
            Some(one) => {
                if !taken {
                    one.email.clone_from(email);
                }
                one.marks = marks;
            }
            None => {
                account.push(Expected { email: email.clone(), marks, disabled: false });
                known = Some(account.len() - 1);
            }
        }
        if !died {
            told_at = sent.at; // of an effect whose answer was lost, nothing is remembered
        }
        if effective {
            shown = known.map(|place| account[place].clone());
        }
    }
    account
}

/// Checks everything.
pub fn check(stories: &BTreeMap<usize, Story>, sandbox: &Sandbox, effects: &Effects, dead: &Dead) {
    let affiliates = sandbox.affiliates();
    let others: Vec<_> = stories.keys().map(|user| taken(*user)).collect();
    let (theirs, ours): (Vec<_>, Vec<_>) =
        affiliates.iter().partition(|one| others.iter().any(|email| email == one.email()));
    assert!(theirs.len() == stories.len() && theirs.iter().all(|one| one.field("city").is_empty()), "{theirs:?}");

    let cities = effects.cities();
    let mut expected: Vec<_> = stories.iter().flat_map(|(user, story)| replay(*user, story, dead, &cities)).collect();
    let mut found: Vec<_> = ours.into_iter().map(seen).collect();
    expected.sort();
    found.sort();
    for (expected, found) in expected.iter().zip(&found) {
        let is_of = |user: &&usize| expected.email.starts_with(&format!("user{user}."));
        let of_user = || stories.keys().find(is_of).map(|user| (&stories[user].sent, effects.calls_of(*user)));
        assert_eq!(found, expected, "an obligation that was not met, or an affiliate too many: {:#?}", of_user());
    }
    assert_eq!(found.len(), expected.len());

    let known: BTreeSet<(String, String)> =
        stories.iter().flat_map(|(user, story)| story.sent.iter().map(|sent| marks(*user, sent.number))).collect();
    for marks in effects.by_affiliate.values() {
        assert!(marks.is_sorted_by(|before, after| before.0 < after.0), "out of order, or twice: {marks:?}");
        assert!(marks.iter().all(|marks| known.contains(marks)), "nobody said so: {marks:?}");
    }
}
