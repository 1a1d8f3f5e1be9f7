//! Facts about an affiliate, as events state them: attributes with their values, and since when each was true.
//!
//! In: the values that an event states, with their time; the values that were sent before. Out: the facts that still have to be sent.
//! Invariants: at most one fact about an attribute; an empty value means that the field no longer has one. Deliberately absent: reading an
//! event ([`crate::mapping`]), and calls ([`crate::delivery`]).

use super::{Attribute, FactTime, Field, HashKey, Profile, SentAttributes, Timestamp};
use std::fmt;

/// Facts about one affiliate, at most one for each attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(Vec<Fact>);

/// One fact.
#[derive(Clone, PartialEq, Eq)]
pub struct Fact {
    /// The attribute that the fact is about.
    pub attribute: Attribute,
    /// The value; empty if the field no longer has one.
    pub value: String,
    /// Since when the value was true.
    pub time: FactTime,
}

impl Facts {
    /// The facts of one event: values, and fields that no longer have one.
    pub fn new(profile: Profile, cleared: &[Field], time: FactTime) -> Self {
        let fact = |attribute: Attribute, value| Fact { attribute, value, time };
        let cleared = cleared.iter().map(|field| fact((*field).into(), String::new()));
        let stated = profile.into_iter().map(|(attribute, value)| fact(attribute, value));
        Self(cleared.chain(stated).collect())
    }

    /// The same facts, delivered at `now`.
    #[must_use]
    pub fn carried_out_at(mut self, now: Timestamp) -> Self {
        for fact in &mut self.0 {
            fact.time = fact.time.carried_out_at(now);
        }
        self
    }

    /// Replaces the facts about the attributes of `others`, and adds the rest of them.
    pub fn replace(&mut self, others: Self) {
        for fact in others.0 {
            match self.0.iter_mut().find(|own| own.attribute == fact.attribute) {
                Some(own) => *own = fact,
                None => self.0.push(fact),
            }
        }
    }

    /// The fact about `attribute`.
    pub fn get(&self, attribute: &Attribute) -> Option<&Fact> {
        self.0.iter().find(|fact| fact.attribute == *attribute)
    }

    /// All facts.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.0.iter()
    }

    /// Whether nothing is stated.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The facts for which `keep` holds.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&Fact) -> bool) -> Self {
        Self(self.0.iter().filter(|fact| keep(fact)).cloned().collect())
    }

    /// The facts that are newer than the values that were sent.
    #[must_use]
    pub fn newer(&self, sent: &SentAttributes) -> Self {
        self.filtered(|fact| sent.accepts(&fact.attribute, fact.time))
    }

    /// The facts that differ from the values that were sent. A field is cleared only if a value was sent before. An e-mail that another
    /// affiliate has is not sent again.
    #[must_use]
    pub fn changes(&self, key: &HashKey, sent: &SentAttributes) -> Self {
        self.filtered(|fact @ Fact { attribute, value, .. }| {
            let changes =
                if value.is_empty() { sent.has_value(key, attribute) } else { !sent.has(key, attribute, value) };
            changes && !fact.is_taken_email(key, sent)
        })
    }

    /// Whether they state an e-mail that Refersion rejected because another affiliate has it.
    pub fn has_taken_email(&self, key: &HashKey, sent: &SentAttributes) -> bool {
        self.0.iter().any(|fact| fact.is_taken_email(key, sent) && !sent.has(key, &fact.attribute, &fact.value))
    }

    /// The values alone, as an edit sends them.
    pub fn profile(&self) -> Profile {
        let mut profile = Profile::default();
        for Fact { attribute, value, .. } in &self.0 {
            profile.set_or_clear(attribute.clone(), value.clone());
        }
        profile
    }

    /// Records in `sent` that these facts were sent.
    pub fn record(&self, key: &HashKey, sent: &mut SentAttributes) {
        for Fact { attribute, value, time } in &self.0 {
            sent.record(key, attribute, value, time.at());
        }
    }

    /// Records in `sent` that the facts which [change](Self::changes) nothing still hold: a value that was stated again gets the newer
    /// time, and a field of which nothing was sent has no value. An e-mail that another affiliate has does not hold.
    pub fn confirm(&self, key: &HashKey, sent: &mut SentAttributes) {
        debug_assert!(self.changes(key, sent).is_empty(), "facts that change something are sent first");
        for fact @ Fact { attribute, value, time } in &self.0 {
            if !fact.is_taken_email(key, sent) || sent.has(key, attribute, value) {
                sent.confirm(key, attribute, time.at());
            }
        }
    }
}

impl FromIterator<Fact> for Facts {
    /// The facts must be about different attributes.
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Self {
        Self(facts.into_iter().collect())
    }
}

impl Fact {
    /// Whether the fact is an e-mail that Refersion rejected because another affiliate has it.
    fn is_taken_email(&self, key: &HashKey, sent: &SentAttributes) -> bool {
        self.attribute == Attribute::Field(Field::Email) && sent.is_taken_email(key, &self.value)
    }
}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.attribute, self.time.at().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(at: i64) -> FactTime {
        FactTime::new(Some(Timestamp(at)), Timestamp(100))
    }

    fn facts(pairs: &[(Field, &str)], at: i64) -> Facts {
        let cleared: Vec<Field> = pairs.iter().filter(|(_, value)| value.is_empty()).map(|(field, _)| *field).collect();
        Facts::new(pairs.iter().copied().collect(), &cleared, time(at))
    }

    fn text(facts: &Facts) -> Vec<String> {
        let mut text: Vec<_> =
            facts.iter().map(|fact| format!("{}={}@{}", fact.attribute, fact.value, fact.time.at().0)).collect();
        text.sort();
        text
    }

    #[test]
    fn facts_about_the_same_attribute_are_replaced() {
        let mut all = facts(&[(Field::City, "Paris"), (Field::Phone, "2")], 1);
        all.replace(facts(&[(Field::City, "Rome"), (Field::Zip, "1")], 2));
        assert_eq!(text(&all), ["city=Rome@2", "phone=2@1", "zip=1@2"]);
    }

    #[test]
    fn a_value_is_not_sent_again_and_a_field_is_cleared_only_if_it_had_a_value() {
        let key = HashKey::new(&[7; 32]);
        let mut sent = SentAttributes::default();
        facts(&[(Field::City, "Paris"), (Field::Address2, "Suite 5")], 5).record(&key, &mut sent);
        let now = facts(&[(Field::City, "Paris"), (Field::Address2, ""), (Field::State, "")], 6);
        assert_eq!(text(&now.changes(&key, &sent)), ["address2=@6"]);
        assert_eq!(now.changes(&key, &sent).profile().get(Field::Address2), Some(""));
    }

    #[test]
    fn a_changed_value_and_a_new_one_are_sent_and_an_email_is_the_same_in_any_case() {
        let key = HashKey::new(&[7; 32]);
        let mut sent = SentAttributes::default();
        let before = facts(&[(Field::City, "Paris"), (Field::Email, "A@x.io")], 5);
        before.record(&key, &mut sent);
        assert!(before.changes(&key, &sent).is_empty());
        let now = facts(&[(Field::City, "Rome"), (Field::Email, "a@X.io"), (Field::Zip, "1")], 6);
        assert_eq!(text(&now.changes(&key, &sent)), ["city=Rome@6", "zip=1@6"]);
    }

    #[test]
    fn an_older_fact_does_not_replace_a_sent_value() {
        let key = HashKey::new(&[7; 32]);
        let mut sent = SentAttributes::default();
        facts(&[(Field::City, "Paris")], 5).record(&key, &mut sent);
        assert_eq!(text(&facts(&[(Field::City, "Rome"), (Field::Zip, "1")], 4).newer(&sent)), ["zip=1@4"]);
    }

    #[test]
    fn an_email_that_is_taken_is_not_sent_again() {
        let key = HashKey::new(&[7; 32]);
        let mut sent = SentAttributes::default();
        sent.record_taken_email(&key, "bob@x.io");
        assert!(facts(&[(Field::Email, "Bob@x.io")], 5).changes(&key, &sent).is_empty());
        assert!(!facts(&[(Field::Email, "ann@x.io")], 5).changes(&key, &sent).is_empty());
    }
}
