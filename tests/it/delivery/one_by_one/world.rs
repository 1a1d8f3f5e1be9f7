//! The world of the model: Refersion as a list of maps, and the store as maps from keys to what is remembered.
//!
//! Events are carried out at it as a worker carries them out: coalesced, or one by one; what is learned is written after each step.
//! Deliberately absent: failures that pass, and restarts ([`super::super::transient_failures`]).

use super::super::scenario::hash;
use refersion_destination::delivery::{
    Affiliate, AffiliateRecord, Call, Identifier, Memory, PlanInput, PlanState, Policy, Progress, RecalledAffiliate,
    Rejection, Reply, SearchResult, Step, coalesce, on_recalled, step,
};
use refersion_destination::domain::{
    AffiliateCode, AffiliateId, AffiliateStatus, Attribute, Email, Field, Profile, Timestamp, User, UserId,
};
use refersion_destination::mapping::Intent;
use std::collections::{BTreeMap, BTreeSet};

/// The value that Refersion rejects for any attribute.
pub const REFUSED: &str = "X";

/// An affiliate of the model.
#[derive(Clone, Debug)]
pub struct One {
    pub status: AffiliateStatus,
    pub values: Profile,
    /// A delete has disabled it.
    pub deleted: bool,
}

/// Refersion, and what is remembered of it.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// An affiliate's number is its place. A number that is no place belongs to an affiliate that is gone.
    pub affiliates: Vec<One>,
    pub known: BTreeMap<String, AffiliateRecord>,
    /// From a userId or an e-mail to the code of an affiliate.
    pub links: BTreeMap<String, String>,
    /// When the user with a key was deleted last.
    pub deleted: BTreeMap<String, Timestamp>,
    /// Whether the answer to `new` shows the numeric id.
    pub shows_ids: bool,
}

impl World {
    /// Carries out all `intents`.
    pub fn after(mut self, intents: &[Intent], coalescing: bool, policy: Policy) -> Self {
        let mut left = intents;
        while !left.is_empty() {
            left = &left[self.carry_out(left, coalescing, policy)..];
        }
        self
    }

    /// Carries out the head of `intents`, and what is coalesced with it; returns how many those are.
    fn carry_out(&mut self, intents: &[Intent], coalescing: bool, policy: Policy) -> usize {
        let (head, followers) = intents.split_first().expect("a head");
        let user = user(head);
        let (memory, hash) = (self.memory(&user), hash());
        let mut followers = if coalescing { followers } else { &[] };
        let mut coalesced = coalesce(&memory, policy, head, followers);
        let mut state = PlanState::new(&coalesced.intent, policy, memory.clone(), Progress::default());
        state.supersede(&hash, policy, &coalesced.superseded);
        loop {
            let (intent, events) = (&*coalesced.intent, coalesced.events);
            let input = PlanInput { intent, policy, hash: &hash, custom_fields: &[], events };
            let end = self.run_plan(&input, &mut state, &user);
            assert!(matches!(end, Step::Done(_) | Step::Dead(_)), "{end:?}");
            let Some(fewer) = coalesced.bisect(&end) else {
                if let (Intent::Delete { time, .. }, Step::Done(_)) = (intent, &end) {
                    self.write_deletion(&user, &memory, &state, time.at());
                }
                return events;
            };
            followers = &followers[..fewer];
            state.progress = coalesced.progress(state.progress);
            let smaller = coalesce(&memory, policy, head, followers);
            if coalesced.cancelled > 0 {
                state = PlanState::new(&smaller.intent, policy, memory.clone(), state.progress);
            }
            coalesced = smaller;
        }
    }

    fn run_plan(&mut self, input: &PlanInput<'_>, state: &mut PlanState, user: &User) -> Step {
        let mut replied: Option<(Call, Reply)> = None;
        loop {
            let next = step(input, state, replied.take().as_ref().map(|(call, reply)| (call, reply.clone())));
            self.write(user, state, input.intent, &next);
            match next {
                Step::Next(call) => {
                    let reply = self.reply(&call, matches!(input.intent, Intent::Delete { .. }));
                    replied = Some((call, reply));
                }
                Step::Recall(code) => on_recalled(input, state, self.recall(&code.0, user)),
                end => return end,
            }
        }
    }

    fn reply(&mut self, call: &Call, deleting: bool) -> Reply {
        match call {
            Call::New(new) => self.create(&new.profile, new.status),
            Call::Search { email, .. } => {
                let found = self.with_email(email.as_str()).map(|place| SearchResult {
                    code: code(place),
                    email: email.as_str().to_owned(),
                    status: Some(self.affiliates[place].status),
                });
                found.map_or(Reply::NotFound, |found| Reply::Page { total: 1, results: vec![found] })
            }
            Call::Get(identifier) => self.place(identifier).map_or(Reply::NotFound, |place| {
                let One { status, values, .. } = &self.affiliates[place];
                let shown = |attribute: &Attribute, value: &str| attribute.is_returned_by_get() && !value.is_empty();
                let (id, status) = (AffiliateId(place as u64), Some(*status));
                Reply::Affiliate(Affiliate { id, status, profile: values.filtered(shown) })
            }),
            Call::Edit { id, changes } => self.edit(*id, changes),
            Call::SetStatus { id, status } => {
                let Some(place) = self.place(&Identifier::Id(*id)) else { return Reply::NotChanged };
                let one = &mut self.affiliates[place];
                one.deleted |= deleting;
                let before = std::mem::replace(&mut one.status, *status);
                if before == *status { Reply::NotChanged } else { Reply::Changed }
            }
        }
    }

    fn create(&mut self, profile: &Profile, status: AffiliateStatus) -> Reply {
        if let Some(rejection) = refusal(profile) {
            return Reply::Rejected(rejection);
        }
        if self.with_email(profile.get(Field::Email).expect("an e-mail")).is_some() {
            return Reply::Rejected(Rejection::EmailTaken);
        }
        let place = self.affiliates.len();
        self.affiliates.push(One { status, values: profile.clone(), deleted: false });
        Reply::Created { code: code(place), id: self.shows_ids.then_some(AffiliateId(place as u64)) }
    }

    fn edit(&mut self, id: AffiliateId, changes: &Profile) -> Reply {
        let Some(place) = self.place(&Identifier::Id(id)) else { return Reply::NotChanged };
        if let Some(rejection) = refusal(changes) {
            return Reply::Rejected(rejection);
        }
        let other = changes.get(Field::Email).and_then(|email| self.with_email(email));
        if other.is_some_and(|other| other != place) {
            return Reply::Rejected(Rejection::EmailTaken);
        }
        let before = self.affiliates[place].values.clone();
        for (attribute, value) in changes.iter() {
            self.affiliates[place].values.set_or_clear(attribute.clone(), value);
        }
        if self.affiliates[place].values == before { Reply::NotChanged } else { Reply::Changed }
    }

    fn place(&self, identifier: &Identifier) -> Option<usize> {
        let number = match identifier {
            Identifier::Id(id) => id.to_string(),
            Identifier::Code(code) => code.0.trim_start_matches('c').to_owned(),
        };
        number.parse().ok().filter(|place| *place < self.affiliates.len())
    }

    /// The affiliate with this e-mail.
    pub fn with_email(&self, email: &str) -> Option<usize> {
        self.affiliates.iter().position(|one| one.values.get(Field::Email) == Some(email))
    }

    /// What is remembered of a user.
    fn memory(&self, user: &User) -> Memory {
        let linked = |key: Option<&str>| self.recall(self.links.get(key?)?, user);
        let (by_user_id, by_email) = (linked(user_id(user)), linked(email(user)));
        let deleted_at = |key: Option<&str>| self.deleted.get(key?).copied();
        Memory {
            by_user_id: by_user_id.map(|recalled| recalled.known),
            email_has_other_owner: by_email.as_ref().is_some_and(|recalled| recalled.has_other_owner),
            by_email: by_email.map(|recalled| recalled.known),
            user_id_deleted_at: deleted_at(user_id(user)),
            email_deleted_at: deleted_at(email(user)),
            traits: None,
        }
    }

    /// What is remembered of the affiliate with this code, for an event of `user`.
    fn recall(&self, code: &str, user: &User) -> Option<RecalledAffiliate> {
        let known = self.known.get(code)?.clone();
        let mut owners = self.links.iter().filter(|(key, leads_to)| *leads_to == code && is_user_id(key)).peekable();
        let has_other_owner = owners.peek().is_some() && !owners.any(|(key, _)| Some(&**key) == user_id(user));
        Some(RecalledAffiliate { known, has_other_owner })
    }

    /// Writes what a worker writes after the step `next`. The end of a delete is written with its moment.
    fn write(&mut self, user: &User, state: &PlanState, intent: &Intent, next: &Step) {
        if matches!((intent, next), (Intent::Identify(_), _) | (_, Step::Next(_))) {
            for AffiliateCode(code) in &state.forgotten {
                self.forget(code);
            }
        }
        let (Intent::Identify(_), Some(known)) = (intent, &state.known) else { return };
        let AffiliateCode(code) = known.code.clone();
        self.known.insert(code.clone(), known.clone());
        if let Some(user_id) = user_id(user) {
            self.links.insert(user_id.to_owned(), code.clone());
        }
        if let Some(email) = email(user)
            && known.sent.has(&hash(), &Field::Email.into(), email)
        {
            self.links.retain(|key, leads_to| *leads_to != code || is_user_id(key));
            self.links.insert(email.to_owned(), code);
        }
    }

    /// Forgets an affiliate; returns the keys that led to it.
    fn forget(&mut self, code: &str) -> Vec<String> {
        self.known.remove(code);
        let keys: Vec<String> =
            self.links.iter().filter(|(_, leads_to)| *leads_to == code).map(|(key, _)| key.clone()).collect();
        self.links.retain(|_, leads_to| leads_to != code);
        keys
    }

    /// Writes that a delete of `user`, true at `at`, was carried out.
    fn write_deletion(&mut self, user: &User, memory: &Memory, state: &PlanState, at: Timestamp) {
        let mut keys: Vec<String> = state.forgotten.iter().flat_map(|code| self.forget(&code.0)).collect();
        for (key, leads_to) in [(user_id(user), &memory.by_user_id), (email(user), &memory.by_email)] {
            let is_erased = leads_to.as_ref().is_none_or(|known| state.forgotten.contains(&known.code));
            keys.extend(key.filter(|_| is_erased).map(str::to_owned));
        }
        for key in keys {
            self.links.remove(&key);
            let last = self.deleted.entry(key).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// What Refersion holds, to be compared. Of an affiliate that a delete has disabled, only e-mail and status: the delete may have
    /// cancelled edits. Never the attributes `without`.
    pub fn shown(&self, without: &BTreeSet<Attribute>) -> Vec<String> {
        let of = |One { status, values, deleted }: &One| {
            let values = values.filtered(|attribute, value| !value.is_empty() && !without.contains(attribute));
            let values: Vec<_> = values.iter().filter(|(attribute, _)| !deleted || is_email(attribute)).collect();
            format!("{status} {values:?}")
        };
        self.affiliates.iter().map(of).collect()
    }
}

/// The user of an intent.
fn user(intent: &Intent) -> User {
    match intent {
        Intent::Identify(wanted) => wanted.user.clone(),
        Intent::Delete { user, .. } => user.clone(),
        Intent::Nothing(_) => User::default(),
    }
}

fn user_id(user: &User) -> Option<&str> {
    user.user_id.as_ref().map(UserId::as_str)
}

fn email(user: &User) -> Option<&str> {
    user.email.as_ref().map(Email::as_str)
}

fn is_user_id(key: &str) -> bool {
    !key.contains('@')
}

fn is_email(attribute: &Attribute) -> bool {
    *attribute == Attribute::Field(Field::Email)
}

/// Why Refersion rejects these values. It names the field.
fn refusal(profile: &Profile) -> Option<Rejection> {
    let (attribute, _) = profile.iter().find(|(_, value)| *value == REFUSED)?;
    let name = match attribute {
        Attribute::Field(field) => field.as_str(),
        Attribute::Custom(id) => id,
    };
    Some(Rejection::Other(format!("X is not a allowed value for field {name}")))
}

pub fn code(place: usize) -> AffiliateCode {
    AffiliateCode(format!("c{place}"))
}
