//! Remembered traits: the facts of earlier events of a user who is no affiliate yet (`[mapping] remember_traits`). Customers send the facts
//! of a user in several events, and a user often enters an audience before the affiliate exists.
//!
//! In: mapped identify events of one `userId`. Out: one mapped event with the facts of all. It creates the affiliate once nothing is
//! missing, or updates an affiliate that was created otherwise. Invariants: the newer of two facts about an attribute counts, by the rules
//! of [`FactTime`], so any order of arrival gives the same affiliate; a value that was cleared is cleared; the result of `create_if` counts
//! only for the condition it was found for. The bytes ([`RememberedTraits::to_bytes`]) hold personal data and are stored sealed.
//! Deliberately absent: whether the user is an affiliate, and how long traits are remembered.

use super::identify::{Candidate, creation, lacks_name};
use super::{CreateIf, Creation, Identify, Rules, StatusFact};
use crate::domain::{AffiliateStatus, Attribute, Email, Fact, FactTime, Facts, Field, Profile, Timestamp, User};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest value that is remembered, in bytes: far more than a field of an affiliate needs. Every user has a row in the store, so the
/// size of a row is bounded.
const MAX_VALUE: usize = 1_024;

/// The statements of an event beside its facts that matter while its user is no affiliate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Whether `create_if` holds, if the event has its trait.
    condition: Option<(CreateIf, bool)>,
    /// The address, unless it is the `userId`.
    email: Option<Email>,
    /// The audience whose rule sets the status.
    audience: Option<String>,
    leaves_audience: bool,
    made_by_engage: bool,
}

impl Pieces {
    /// The pieces of the event of this candidate.
    pub(super) fn of(rules: &Rules, candidate: &Candidate<'_>) -> Self {
        let user_id = candidate.user.user_id.as_ref();
        let is_user_id = |email: &&Email| user_id.is_some_and(|id| email.is_same_address(id.as_str()));
        Self {
            condition: rules.create_if.clone().zip(candidate.condition),
            email: candidate.user.email.as_ref().filter(|email| !is_user_id(email)).cloned(),
            audience: candidate.status.map(|(trait_name, _)| trait_name.to_owned()),
            leaves_audience: candidate.leaves_audience,
            made_by_engage: candidate.made_by_engage,
        }
    }

    /// Whether the event states anything to remember.
    pub fn are_worth_remembering(&self, event: &Identify) -> bool {
        let has_facts = event.facts.iter().any(|fact| fact.value.len() <= MAX_VALUE);
        has_facts || event.status.is_some() || self.condition.is_some() || self.email.is_some()
    }
}

/// Which of two values of an attribute counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// The newer one, by the time of its event.
    Newer,
    /// The one that arrived last.
    LastArrived,
}

/// The remembered traits of a user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RememberedTraits {
    facts: Facts,
    /// The latest address by which an event named the user.
    email: Option<(Email, FactTime)>,
    /// The status that an audience's rule sets, and the audience's trait.
    status: Option<(String, StatusFact)>,
    condition: Option<(CreateIf, bool, FactTime)>,
}

impl RememberedTraits {
    /// The remembered traits with those of `event`.
    #[must_use]
    pub fn with(mut self, event: &Identify, pieces: &Pieces, precedence: Precedence) -> Self {
        let time = event.time;
        let counts = |before: FactTime| precedence == Precedence::LastArrived || time.supersedes(before.at());
        let newer = |fact: &Fact| {
            fact.value.len() <= MAX_VALUE && self.facts.get(&fact.attribute).is_none_or(|before| counts(before.time))
        };
        let newer = event.facts.filtered(newer);
        self.facts.replace(newer);
        if let Some(email) = &pieces.email
            && self.email.as_ref().is_none_or(|(_, before)| counts(*before))
        {
            self.email = Some((email.clone(), time));
        }
        if let Some((status, audience)) = event.status.zip(pieces.audience.as_ref())
            && self.status.as_ref().is_none_or(|(_, before)| counts(before.time))
        {
            self.status = Some((audience.clone(), status));
        }
        if let Some((rule, holds)) = &pieces.condition
            && self.condition.as_ref().is_none_or(|(before, _, at)| before != rule || counts(*at))
        {
            self.condition = Some((rule.clone(), *holds, time));
        }
        self
    }

    /// `event` with all remembered traits, its own included, for a user who is no affiliate: the creation, or the reason why there is none.
    pub fn creating(&self, event: &Identify, pieces: &Pieces, rules: &Rules) -> Identify {
        let user =
            User { user_id: event.user.user_id.clone(), email: self.email().or_else(|| event.user.email.clone()) };
        let creation = self.creation(&user, pieces, rules);
        Identify { user, creation, ..self.updating(event) }
    }

    /// `event` with all remembered traits, its own included, for a user who is an affiliate already.
    pub fn updating(&self, event: &Identify) -> Identify {
        let now = event.time.now();
        let mut facts = self.facts.clone().carried_out_at(now);
        // A value that is too long to be remembered still counts in its own event.
        facts.replace(event.facts.filtered(|fact| fact.value.len() > MAX_VALUE));
        let status = self.status.as_ref().map(|(_, fact)| StatusFact { time: fact.time.carried_out_at(now), ..*fact });
        Identify { facts, status, ..event.clone() }
    }

    fn creation(&self, user: &User, pieces: &Pieces, rules: &Rules) -> Creation {
        let profile = self.profile();
        let candidate = Candidate {
            user,
            profile: &profile,
            email_error: None,
            condition: self.condition(rules),
            status: self.status.as_ref().map(|(audience, fact)| (audience.as_str(), fact.status)),
            leaves_audience: pieces.leaves_audience,
            made_by_engage: pieces.made_by_engage,
        };
        creation(rules, &candidate)
    }

    /// The traits that a new affiliate still lacks, in words; names, no values.
    pub fn lacks(&self, rules: &Rules) -> Vec<String> {
        let mut lacks = Vec::new();
        if let Some(rule) = rules.create_if.as_ref().filter(|_| self.condition(rules) != Some(true)) {
            lacks.push(format!("`{}`", rule.trait_name));
        }
        if self.email().is_none() {
            lacks.push("an e-mail address".to_owned());
        }
        if lacks_name(&self.profile()) {
            lacks.push("a name".to_owned());
        }
        if let Some((audience, StatusFact { status, .. })) = &self.status
            && matches!(status, AffiliateStatus::Denied | AffiliateStatus::Disabled)
        {
            lacks.push(format!("another status than the {status} of the audience `{audience}`"));
        }
        lacks
    }

    /// The names of the remembered traits: attributes, `status`, and the trait of `create_if`; no values.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.profile().iter().map(|(attribute, _)| attribute.name().into_owned()).collect();
        let email = Field::Email.as_str();
        if self.email.is_some() && !names.iter().any(|name| name == email) {
            names.push(email.to_owned());
        }
        names.extend(self.status.as_ref().map(|_| "status".to_owned()));
        names.extend(self.condition.as_ref().map(|(rule, ..)| rule.trait_name.clone()));
        names
    }

    /// The address that a new affiliate would have: one in the traits, else the latest that named the user.
    pub fn email(&self) -> Option<Email> {
        let stated = self.facts.get(&Field::Email.into()).and_then(|fact| Email::parse(&fact.value).ok());
        stated.or_else(|| self.email.as_ref().map(|(email, _)| email.clone()))
    }

    fn condition(&self, rules: &Rules) -> Option<bool> {
        let (rule, holds, _) = self.condition.as_ref()?;
        (Some(rule) == rules.create_if.as_ref()).then_some(*holds)
    }

    fn profile(&self) -> Profile {
        self.facts.iter().map(|fact| (fact.attribute.clone(), fact.value.clone())).collect()
    }
}

/// Names, no values.
impl fmt::Debug for RememberedTraits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// The stored form. A moment says since when a value was true, in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct StoredTraits {
    /// Name, value, moment.
    facts: Vec<(String, String, i64)>,
    email: Option<(String, i64)>,
    /// The audience's trait, the status, the moment.
    status: Option<(String, AffiliateStatus, i64)>,
    /// The trait, the value it must have, whether it has it, the moment.
    condition: Option<(String, String, bool, i64)>,
}

impl RememberedTraits {
    /// The bytes, for [`RememberedTraits::from_bytes`]. They hold personal data.
    pub fn to_bytes(&self) -> Vec<u8> {
        let fact = |fact: &Fact| (fact.attribute.name().into_owned(), fact.value.clone(), fact.time.at().0);
        let stored = StoredTraits {
            facts: self.facts.iter().map(fact).collect(),
            email: self.email.as_ref().map(|(email, time)| (email.as_str().to_owned(), time.at().0)),
            status: self.status.as_ref().map(|(trait_name, fact)| (trait_name.clone(), fact.status, fact.time.at().0)),
            condition: self.condition.as_ref().map(|(rule, holds, time)| {
                let CreateIf { trait_name, equals } = rule.clone();
                (trait_name, equals, *holds, time.at().0)
            }),
        };
        serde_json::to_vec(&stored).unwrap_or_default() // texts and numbers are always JSON
    }

    /// Reads the bytes of [`RememberedTraits::to_bytes`]; none if they have another form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let StoredTraits { facts, email, status, condition } = serde_json::from_slice(bytes).ok()?;
        let time = |at| FactTime::new(None, Timestamp(at));
        let fact = |(name, value, at): (String, String, i64)| {
            Some(Fact { attribute: Attribute::from_name(&name)?, value, time: time(at) })
        };
        Some(Self {
            facts: facts.into_iter().map(fact).collect::<Option<Facts>>()?,
            email: email.map(|(email, at)| Email::parse(&email).map(|email| (email, time(at)))).transpose().ok()?,
            status: status.map(|(trait_name, status, at)| (trait_name, StatusFact { status, time: time(at) })),
            condition: condition
                .map(|(trait_name, equals, holds, at)| (CreateIf { trait_name, equals }, holds, time(at))),
        })
    }
}

#[cfg(test)]
mod tests;
