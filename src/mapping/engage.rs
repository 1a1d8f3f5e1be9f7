//! Engage: traits named by the operator's rules → custom fields, offers and statuses; and whom to create at all.
//!
//! A computed trait is sent as a custom field; membership in an audience has the effect its rule gives it. Where rules
//! disagree the later one wins, audiences over custom fields. Invariants: a trait that no rule names has no effect; null
//! and empty values say nothing; a value that makes no sense for its rule is left out with a note.
//! Deliberately absent: who is an affiliate already, and `context.personas`: a rule counts whoever sent the trait.

use super::rules::{Audience, CreateIf, CustomField, Effect};
use super::{Note, Reason, Rules, note};
use crate::domain::{AffiliateStatus, Attribute, Field, Profile};
use crate::segment::{Raw, Traits};

/// What the rules make of an event's traits.
#[derive(Debug, Default)]
pub(super) struct Effects<'r> {
    /// Whether a rule found a value it could use.
    pub(super) matched: bool,
    /// Whether the event says that the user is in an audience, or no longer.
    pub(super) membership: bool,
    /// The status demanded, and the trait of the audience that demands it.
    pub(super) status: Option<(&'r str, AffiliateStatus)>,
    /// Offer and custom fields.
    pub(super) profile: Profile,
}

/// Applies custom fields, then audiences, each in the operator's order.
pub(super) fn effects<'r>(rules: &'r Rules, traits: &Traits<'_>, notes: &mut Vec<Note>) -> Effects<'r> {
    let mut effects = Effects::default();
    for CustomField { key, id } in &rules.custom_fields {
        let Some(value) = traits.stated(key) else { continue };
        if let Some(text) = value.scalar() {
            effects.matched = true;
            effects.profile.set(Attribute::Custom(id.clone()), text);
        } else {
            notes.push(note(key, "not a text, a number, true or false, so it was left out"));
        }
    }
    for Audience { key, on_true, on_false } in &rules.audiences {
        let Some(value) = traits.stated(key) else { continue };
        match membership(value) {
            Some(true) => effects.apply(key, on_true),
            Some(false) => effects.apply(key, on_false),
            None => notes.push(note(key, "neither true nor false, so this says nothing of the audience")),
        }
    }
    effects
}

impl<'r> Effects<'r> {
    fn apply(&mut self, key: &'r str, effect: &Effect) {
        (self.matched, self.membership) = (true, true);
        self.status = effect.status.map(|status| (key, status)).or(self.status);
        self.profile.set(Field::Offer, effect.offer.as_deref().unwrap_or_default());
        for (id, value) in &effect.custom_fields {
            self.profile.set(Attribute::Custom(id.clone()), value);
        }
    }
}

/// Why nobody may be created from `traits`, if `[mapping.create_if]` does not hold.
pub(super) fn withheld(rule: Option<&CreateIf>, traits: &Traits<'_>) -> Option<Reason> {
    let CreateIf { key, equals } = rule?;
    let value = traits.stated(key).and_then(Raw::scalar);
    let holds = value.is_some_and(|value| value.to_lowercase() == equals.trim().to_lowercase());
    (!holds).then(|| Reason::CreateIf { key: key.clone() })
}

/// Engage says `true` and `false`, its journeys `"true"`.
fn membership(value: Raw<'_>) -> Option<bool> {
    value.scalar()?.to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let custom = |key: &str, id: &str| CustomField { key: key.into(), id: id.into() };
        let audience = |key: &str, on_true: Effect, on_false: Effect| Audience { key: key.into(), on_true, on_false };
        let effect = |offer: Option<&str>, status, custom: &[(&str, &str)]| Effect {
            offer: offer.map(Into::into),
            status,
            custom_fields: custom.iter().map(|(id, value)| ((*id).into(), (*value).into())).collect(),
        };
        Rules {
            custom_fields: vec![custom("total_revenue", "11"), custom("company.plan", "12")],
            audiences: vec![
                audience("vip", effect(Some("7"), Some(AffiliateStatus::Active), &[("20", "yes")]), Effect::default()),
                audience(
                    "banned",
                    effect(None, Some(AffiliateStatus::Denied), &[]),
                    effect(Some("8"), None, &[("11", "0")]),
                ),
            ],
            ..Rules::default()
        }
    }

    fn said(traits: &str) -> String {
        let (rules, mut notes) = (rules(), Vec::new());
        let traits = Raw::check(traits).expect("JSON").object().expect("an object").into();
        let effects = effects(&rules, &traits, &mut notes);
        let mut said: Vec<_> = effects.profile.iter().map(|(what, value)| format!("{what}={value}")).collect();
        said.extend(effects.status.map(|(key, status)| format!("{status} by {key}")));
        said.extend(effects.matched.then(|| "matched".to_owned()));
        said.extend(effects.membership.then(|| "membership".to_owned()));
        said.extend(notes.into_iter().map(|note| format!("note on {}", note.about)));
        said.join(", ")
    }

    #[test]
    fn computed_traits_become_custom_fields() {
        for (traits, expected) in [
            (r#"{"Total Revenue":450.0}"#, "custom field 11=450, matched"),
            (r#"{"total_revenue":true}"#, "custom field 11=true, matched"),
            (r#"{"total_revenue":"a\u0000\n b"}"#, "custom field 11=a b, matched"),
            (r#"{"total_revenue":null}"#, ""),
            (r#"{"total_revenue":""}"#, ""),
            (r#"{"total_revenue":[1]}"#, "note on total_revenue"),
            (r#"{"company":{"plan":"pro"}}"#, "custom field 12=pro, matched"),
            (r#"{"another":1}"#, ""),
        ] {
            assert_eq!(said(traits), expected, "{traits}");
        }
    }

    #[test]
    fn membership_has_the_effect_of_its_audience_and_the_later_audience_wins() {
        for (traits, expected) in [
            (r#"{"vip":true}"#, "offer=7, custom field 20=yes, ACTIVE by vip, matched, membership"),
            (r#"{"VIP":" True "}"#, "offer=7, custom field 20=yes, ACTIVE by vip, matched, membership"),
            (r#"{"vip":false}"#, "matched, membership"),
            (r#"{"vip":null}"#, ""),
            (r#"{"vip":1}"#, "note on vip"),
            (r#"{"vip":"yes"}"#, "note on vip"),
            (r#"{"vip":{}}"#, ""),
            (r#"{"banned":true,"vip":true}"#, "offer=7, custom field 20=yes, DENIED by banned, matched, membership"),
            (
                r#"{"banned":"false","vip":true,"total_revenue":5}"#,
                "offer=8, custom field 11=0, custom field 20=yes, ACTIVE by vip, matched, membership",
            ),
        ] {
            assert_eq!(said(traits), expected, "{traits}");
        }
    }

    #[test]
    fn creation_is_withheld_unless_the_trait_has_the_value() {
        let rule = |equals: &str| CreateIf { key: "is_affiliate".into(), equals: equals.into() };
        for (traits, equals, holds) in [
            (r#"{"isAffiliate":true}"#, "true", true),
            (r#"{"is_affiliate":"TRUE "}"#, "true", true),
            (r#"{"is_affiliate":1.0}"#, "1", true),
            (r#"{"is_affiliate":"Gold Ünder"}"#, " gold ünder", true),
            (r#"{"is_affiliate":false}"#, "true", false),
            (r#"{"is_affiliate":null}"#, "null", false),
            ("{}", "true", false),
        ] {
            let traits = Raw::check(traits).expect("JSON").object().expect("an object").into();
            let reason = Reason::CreateIf { key: "is_affiliate".into() };
            assert_eq!(withheld(Some(&rule(equals)), &traits), (!holds).then_some(reason), "{equals}");
        }
        assert_eq!(withheld(None, &Traits::default()), None);
    }
}
