//! Properties of the delivery of one event, through several attempts, with any answers of Refersion: every attempt ends within few
//! calls, no affiliate is created twice, Refersion accepts every call, and no message repeats a value.
//!
//! Between two calls and between two attempts the test saves what the worker would save; a process may die with a call in
//! flight.

use super::answers::{self, is_safe};
use super::body::rules;
use super::contract;
use super::json::event;
use super::source::Source;
use refersion_destination::delivery::{
    Call, Known, Memory, OnDelete, OnExisting, Origin, PlanInput, PlanState, Policy, Progress, Reply, Step,
    on_recalled, step,
};
use refersion_destination::domain::{AffiliateCode, AffiliateId, Field, HashKey, Profile, SentAttributes, Timestamp};
use refersion_destination::mapping::{Identify, Intent, map};
use refersion_destination::refersion::read_response;
use refersion_destination::segment::Event;
use std::time::SystemTime;

const RECEIVED_AT: Timestamp = Timestamp(1_700_000_000_000);

/// The most calls of an attempt, without pages of search results.
const CALLS: usize = 16;
/// The most pages of an attempt: two searches of a thousand.
const PAGES: usize = 2_000;
const ATTEMPTS: usize = 6;

/// Checks the properties on an input decoded from `data`.
pub fn check(data: &[u8]) {
    let mut source = Source::new(data);
    let rules = rules(&mut source);
    let policy = Policy {
        on_existing: source.pick(&[OnExisting::Update, OnExisting::Ignore]),
        on_delete: source.pick(&[OnDelete::Disable, OnDelete::Anonymize]),
        ..Policy::default()
    };
    let hash = HashKey::new(&[7; 32]);
    let (by_user_id, by_email) = (known(&mut source, &hash), known(&mut source, &hash));
    let memory = Memory { by_user_id, by_email, ..Memory::default() };
    let text = event(&mut source).plain();
    let Ok(event) = Event::parse(&text) else { return };
    let Ok(intent) = map(&event, &rules, RECEIVED_AT).intent else { return };
    let custom_fields = rules.custom_field_ids();
    let input = PlanInput { intent: &intent, policy, custom_fields: &custom_fields, hash: &hash, events: 1 };

    let mut delivery = Delivery { input, memory, progress: Progress::default(), interrupted: false, created: 0 };
    for _ in 0..ATTEMPTS {
        if !delivery.attempt(&mut source) {
            break;
        }
    }
}

fn known(source: &mut Source<'_>, hash: &HashKey) -> Option<Known> {
    if source.flag() {
        return None;
    }
    let mut sent = SentAttributes::default();
    if source.flag() {
        sent.record_all(
            hash,
            &[(Field::Email, "zq9@x.io"), (Field::FirstName, "Zq9")].into_iter().collect(),
            RECEIVED_AT,
        );
    }
    Some(Known {
        code: AffiliateCode(source.pick(&["a3y7", "b2b2"]).into()),
        id: source.flag().then_some(AffiliateId(7)),
        origin: source.pick(&[Origin::Created, Origin::Found]),
        sent,
    })
}

struct Delivery<'a> {
    input: PlanInput<'a>,
    memory: Memory,
    progress: Progress,
    interrupted: bool,
    /// How many times `new` was answered with success.
    created: usize,
}

impl Delivery<'_> {
    /// Runs one attempt; returns whether another follows.
    fn attempt(&mut self, source: &mut Source<'_>) -> bool {
        let mut state = PlanState::new(
            self.input.intent,
            self.input.policy,
            self.memory.clone(),
            self.progress.clone(),
            self.interrupted,
        );
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
                Step::Recall(_) => {
                    on_recalled(&self.input, &mut state, None);
                    last_reply = None;
                    continue;
                }
                end => return self.ended(&end),
            };
            *(if matches!(call, Call::Search { .. }) { &mut pages } else { &mut calls }) += 1;
            assert!(calls <= CALLS && pages <= PAGES, "does not end: {calls} calls and {pages} pages");
            let sent = contract::check(&call, source);
            if source.below(16) == 15 {
                self.interrupted = true;
                return true;
            }
            let wire = answers::answer(source, &call, &sent);
            let reply = read_response(&call, &sent, &wire.borrow(), SystemTime::UNIX_EPOCH);
            answers::fits(&call, &wire, &reply);
            self.created += usize::from(matches!(reply, Reply::Created { .. }));
            assert!(self.created <= 1, "created twice");
            last_reply = Some((call, reply));
        }
    }

    /// Saves what the worker saves.
    fn save(&mut self, state: &PlanState) {
        let json = serde_json::to_string(&state.progress).expect("serialises");
        self.progress = serde_json::from_str(&json).expect("reads back");
        let Memory { by_user_id, by_email, .. } = &mut self.memory;
        for code in &state.forgotten {
            by_user_id.take_if(|known| known.code == *code);
            by_email.take_if(|known| known.code == *code);
        }
        if let (Intent::Identify(wanted), Some(known)) = (self.input.intent, &state.known) {
            if wanted.user.user_id.is_some() {
                *by_user_id = Some(known.clone());
            }
            if has_email(&self.input, wanted, known) {
                *by_email = Some(known.clone());
            }
        }
    }

    fn ended(&mut self, end: &Step) -> bool {
        self.interrupted = false;
        match end {
            Step::Done(outcome) => is_safe(&outcome.to_string()),
            Step::Dead(failure) => is_safe(&failure.to_string()),
            Step::Retry(failure) => is_safe(&failure.what),
            Step::Halt | Step::Next(_) | Step::Recall(_) => {}
        }
        matches!(end, Step::Retry(_) | Step::Halt)
    }
}

fn has_email(input: &PlanInput<'_>, wanted: &Identify, known: &Known) -> bool {
    wanted.user.email.as_ref().is_some_and(|email| {
        let sent: Profile = [(Field::Email, email.as_str())].into_iter().collect();
        known.sent.changes(input.hash, &sent).is_empty()
    })
}
