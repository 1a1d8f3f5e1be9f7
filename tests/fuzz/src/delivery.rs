//! Properties of the delivery of one event, through several attempts, with any memory and any answers of Refersion: every attempt ends
//! within few calls, no affiliate is created twice, nobody takes over another user's affiliate, Refersion accepts every call, and no
//! message repeats a value.
//!
//! Between two calls and between two attempts the test saves what the worker would save; a process may die with a call in
//! flight.

use super::answers::{self, is_safe};
use super::body::rules;
use super::contract;
use super::json::event;
use super::source::Source;
use refersion_destination::delivery::{
    AffiliateRecord, Call, Memory, OnDelete, OnExisting, OnOtherUser, OnStale, Origin, PlanInput, PlanState, Policy,
    Progress, RecalledAffiliate, Reply, Step, on_recalled, step,
};
use refersion_destination::domain::{AffiliateCode, AffiliateId, Attribute, Field, HashKey, SentAttributes, Timestamp};
use refersion_destination::mapping::{Identify, Intent, map};
use refersion_destination::refersion::read_response;
use refersion_destination::segment::Event;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::SystemTime;

const RECEIVED_AT: Timestamp = Timestamp(1_700_000_000_000);
/// Moments before the receipt of the event, at it, and after it.
const MOMENTS: [Timestamp; 4] =
    [Timestamp(i64::MIN), Timestamp(1_600_000_000_000), RECEIVED_AT, Timestamp(1_800_000_000_000)];

/// The most calls of an attempt, without pages of search results.
const CALLS: usize = 16;
/// The most pages of an attempt: two searches of a thousand.
const PAGES: usize = 2_000;
const ATTEMPTS: usize = 6;

/// Checks the properties on an input decoded from `data`.
pub fn check(data: &[u8]) {
    let mut source = Source::new(data);
    let mut rules = rules(&mut source);
    if source.below(8) == 7 {
        rules.trusted_projects = vec!["p1".to_owned()];
    }
    let policy = Policy {
        on_existing: source.pick(&[OnExisting::Update, OnExisting::Ignore]),
        on_delete: source.pick(&[OnDelete::Disable, OnDelete::Anonymize]),
        on_stale: source.pick(&[OnStale::Ignore, OnStale::Apply]),
        on_other_user: source.pick(&[OnOtherUser::Ignore, OnOtherUser::Update]),
    };
    let hash = HashKey::new(&[7; 32]);
    let store = Store::new(&mut source, &hash);
    let text = if source.flag() { event(&mut source).plain() } else { likely_event(&mut source) };
    let Ok(event) = Event::parse(&text) else { return };
    let Ok(intent) = map(&event, &rules, RECEIVED_AT).intent else { return };
    let custom_fields = rules.custom_field_ids();
    let input = PlanInput { intent: &intent, policy, custom_fields: &custom_fields, hash: &hash, events: 1 };

    let progress = Progress::default();
    let mut delivery = Delivery { input, store, progress, interrupted: false, news: 0, created: 0 };
    for _ in 0..ATTEMPTS {
        if !delivery.attempt(&mut source) {
            break;
        }
    }
}

/// An identify by e-mail that is mapped, and could take over an affiliate or bring a deleted user back.
fn likely_event(source: &mut Source<'_>) -> String {
    let mut event =
        json!({"type": "identify", "traits": {"email": "Zq9@x.io", "name": "Zq9 a b", "city": "Zq9", "vip": true}});
    if source.flag() {
        event["userId"] = json!("u1");
    }
    if source.flag() {
        event["context"] = json!({"personas": {"computation_class": "audience"}});
    }
    if source.flag() {
        event["timestamp"] =
            json!(source.pick(&["2010-01-01T00:00:00Z", "2022-01-01T00:00:00Z", "2030-01-01T00:00:00Z"]));
    }
    event.to_string()
}

/// What is remembered when the delivery begins, and what the delivery adds.
struct Store {
    /// The affiliates to which the event's `userId` and its e-mail lead.
    by_user_id: Option<AffiliateCode>,
    by_email: Option<AffiliateCode>,
    /// What is remembered of affiliates: those that the keys lead to, and one that a search may find.
    known: BTreeMap<String, AffiliateRecord>,
    /// The affiliates to which another `userId` leads.
    owned_by_others: Vec<AffiliateCode>,
    user_id_deleted_at: Option<Timestamp>,
    email_deleted_at: Option<Timestamp>,
}

impl Store {
    fn new(source: &mut Source<'_>, hash: &HashKey) -> Self {
        // The codes that Refersion's answers name.
        let codes = ["a3y7", "c1", "694"].map(|code| AffiliateCode(code.into()));
        let mut known = BTreeMap::new();
        let mut owned_by_others = Vec::new();
        for code in &codes {
            if source.flag() {
                known.insert(code.0.clone(), remembered(code.clone(), source, hash));
                owned_by_others.extend(source.flag().then(|| code.clone()));
            }
        }
        let mut key = || (source.pick(&codes), source.flag());
        let (by_user_id, by_email) = (key(), key());
        let linked = |(code, is_linked): (AffiliateCode, bool)| {
            Some(code).filter(|code| is_linked && known.contains_key(&code.0))
        };
        let (by_user_id, by_email) = (linked(by_user_id), linked(by_email));
        let mut moment = || (source.below(4) == 3).then(|| source.pick(&MOMENTS));
        let (user_id_deleted_at, email_deleted_at) = (moment(), moment());
        Self { by_user_id, by_email, known, owned_by_others, user_id_deleted_at, email_deleted_at }
    }

    /// What is remembered of an event's user, who may lack one of the keys.
    fn memory(&self, intent: &Intent) -> Memory {
        let (Intent::Identify(Identify { user, .. }) | Intent::Delete { user, .. }) = intent else {
            return Memory::default();
        };
        let (has_user_id, has_email) = (user.user_id.is_some(), user.email.is_some());
        let known = |code: &Option<AffiliateCode>, has_key: bool| {
            code.as_ref().filter(|_| has_key).and_then(|code| self.known.get(&code.0)).cloned()
        };
        let by_email = known(&self.by_email, has_email);
        Memory {
            by_user_id: known(&self.by_user_id, has_user_id),
            email_has_other_owner: by_email.as_ref().is_some_and(|known| self.is_anothers(&known.code, intent)),
            by_email,
            user_id_deleted_at: self.user_id_deleted_at.filter(|_| has_user_id),
            email_deleted_at: self.email_deleted_at.filter(|_| has_email),
            traits: None,
        }
    }

    fn recall(&self, code: &AffiliateCode, intent: &Intent) -> Option<RecalledAffiliate> {
        let known = self.known.get(&code.0)?.clone();
        Some(RecalledAffiliate { has_other_owner: self.is_anothers(code, intent), known })
    }

    /// Whether user ids lead to the affiliate, but not that of the event.
    fn is_anothers(&self, code: &AffiliateCode, intent: &Intent) -> bool {
        let has_user_id = matches!(intent, Intent::Identify(wanted) if wanted.user.user_id.is_some());
        let is_own = has_user_id && self.by_user_id.as_ref() == Some(code);
        self.owned_by_others.contains(code) && !is_own
    }

    fn forget(&mut self, code: &AffiliateCode) {
        self.known.remove(&code.0);
        self.owned_by_others.retain(|owned| owned != code);
        self.by_user_id.take_if(|own| own == code);
        self.by_email.take_if(|own| own == code);
    }
}

fn remembered(code: AffiliateCode, source: &mut Source<'_>, hash: &HashKey) -> AffiliateRecord {
    let mut sent = SentAttributes::default();
    if source.flag() {
        let at = source.pick(&MOMENTS);
        for (field, value) in [(Field::Email, "zq9@x.io"), (Field::FirstName, "Zq9")] {
            sent.record(hash, &field.into(), value, at);
        }
    }
    let id = source.flag().then_some(AffiliateId(7));
    AffiliateRecord { code, id, origin: source.pick(&[Origin::Created, Origin::Found]), sent }
}

struct Delivery<'a> {
    input: PlanInput<'a>,
    store: Store,
    progress: Progress,
    interrupted: bool,
    /// How many times `new` was called.
    news: usize,
    /// How many times `new` was answered with success.
    created: usize,
}

/// What the rules set of another user's affiliate is set by an Engage event without userId alone.
fn assert_may_apply_rules(wanted: &Identify) {
    assert!(wanted.engage && wanted.user.user_id.is_none(), "takes over an affiliate");
}

impl Delivery<'_> {
    /// Runs one attempt; returns whether another follows.
    fn attempt(&mut self, source: &mut Source<'_>) -> bool {
        let (intent, policy) = (self.input.intent, self.input.policy);
        let memory = self.store.memory(intent);
        let progress = self.progress.clone();
        let mut state = if self.interrupted {
            PlanState::after_interruption(intent, policy, self.input.hash, memory, progress)
        } else {
            PlanState::new(intent, policy, memory, progress)
        };
        let (mut calls, mut pages, mut last_reply) = (0, 0, None::<(Call, Reply)>);
        loop {
            let next = step(&self.input, &mut state, last_reply.as_ref().map(|(call, reply)| (call, reply.clone())));
            match (&last_reply, &next) {
                // Nothing is saved before the first call, unless that is a `new`.
                (None, Step::Next(call)) if !matches!(call, Call::New(_)) => {}
                _ => self.save(&state),
            }
            let call = match next {
                Step::Next(call) => call,
                Step::Recall(code) => {
                    on_recalled(&self.input, &mut state, self.store.recall(&code, intent));
                    last_reply = None;
                    continue;
                }
                end => return self.ended(&end),
            };
            *(if matches!(call, Call::Search { .. }) { &mut pages } else { &mut calls }) += 1;
            assert!(calls <= CALLS && pages <= PAGES, "does not end: {calls} calls and {pages} pages");
            self.news += usize::from(matches!(call, Call::New(_)));
            if let Intent::Identify(wanted) = intent {
                self.is_allowed(wanted, &state, &call);
            }
            let sent = contract::check(&call, source);
            if source.below(16) == 15 {
                self.interrupted = true;
                return true;
            }
            let wire = answers::answer(source, &call, &sent);
            let reply = read_response(&call, &sent, &wire.borrow(), SystemTime::UNIX_EPOCH);
            answers::fits(&call, &wire, &reply);
            if let Reply::Created { code, .. } = &reply {
                self.created += 1;
                self.store.forget(code); // a code is never given twice: nothing was remembered of it
            }
            assert!(self.created <= 1, "created twice");
            last_reply = Some((call, reply));
        }
    }

    /// Fails if an identify makes a call that is not its to make: of another user's affiliate, after its user was deleted, or beyond a
    /// creation where its project is not trusted.
    fn is_allowed(&self, wanted: &Identify, state: &PlanState, call: &Call) {
        let deleted_at = self.store.memory(self.input.intent).deleted_at();
        let is_from_before = deleted_at.is_some_and(|deleted_at| !wanted.time.supersedes(deleted_at));
        assert!(
            !is_from_before || self.input.policy.on_stale == OnStale::Apply,
            "brings a deleted user back: {call:?}"
        );
        let Some(id) = call.affiliate() else { return };
        assert!(!wanted.may_only_create || self.news > 0, "an untrusted project changes an affiliate");
        let known = state.known.as_ref().expect("an affiliate is changed only if it is known");
        assert_eq!(known.id, Some(id), "another affiliate than the known one is changed");
        if self.is_protected(&known.code) {
            let Call::Edit { changes, .. } = call else { return assert_may_apply_rules(wanted) };
            let by_rule =
                |attribute: &Attribute| matches!(attribute, Attribute::Custom(_) | Attribute::Field(Field::Offer));
            assert!(changes.iter().all(|(attribute, _)| by_rule(attribute)), "takes over an affiliate: {changes:?}");
            assert_may_apply_rules(wanted);
        }
    }

    /// Whether an identify may not change the affiliate: it is another user's.
    fn is_protected(&self, code: &AffiliateCode) -> bool {
        self.input.policy.on_other_user == OnOtherUser::Ignore && self.store.is_anothers(code, self.input.intent)
    }

    /// Saves what the worker saves.
    fn save(&mut self, state: &PlanState) {
        let json = serde_json::to_string(&state.progress).expect("serialises");
        self.progress = serde_json::from_str(&json).expect("reads back");
        for code in &state.forgotten {
            self.store.forget(code);
        }
        let (Intent::Identify(wanted), Some(known)) = (self.input.intent, &state.known) else { return };
        let (links_user_id, links_email) = (wanted.user.user_id.is_some(), has_email(&self.input, wanted, known));
        if self.is_protected(&known.code) {
            assert!(!links_user_id, "a userId takes over an affiliate");
            // An e-mail that led to it before may be learned from what Refersion shows of it.
            let led_to_it = self.store.by_email.as_ref() == Some(&known.code);
            let had_email = led_to_it || has_email(&self.input, wanted, &self.store.known[&known.code.0]);
            assert!(!links_email || had_email, "an e-mail takes over an affiliate");
        }
        self.store.known.insert(known.code.0.clone(), known.clone());
        if links_user_id {
            self.store.by_user_id = Some(known.code.clone());
        }
        if links_email {
            self.store.by_email = Some(known.code.clone());
        }
    }

    fn ended(&mut self, end: &Step) -> bool {
        self.interrupted = false;
        match end {
            Step::Done(outcome) => is_safe(&outcome.to_string()),
            Step::Dead(failure) => is_safe(&failure.to_string()),
            Step::Retry(failure) => is_safe(&failure.what),
            Step::Halt | Step::HandBack | Step::Next(_) | Step::Recall(_) => {}
        }
        matches!(end, Step::Retry(_) | Step::Halt | Step::HandBack)
    }
}

fn has_email(input: &PlanInput<'_>, wanted: &Identify, known: &AffiliateRecord) -> bool {
    wanted.user.email.as_ref().is_some_and(|email| known.has_email(input.hash, email))
}
