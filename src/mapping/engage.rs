//! Computed traits and audiences of Segment Engage: the operator's rules applied to an event's traits.
//!
//! In: rules and traits. Out: custom fields, an offer and a status, and whether `create_if` holds. A computed trait is sent as a custom
//! field; entering or leaving an audience has the effect that its rule states. If two rules set the same attribute, the later one wins, and
//! audiences win over custom fields. Invariants: a trait that no rule names has no effect; null and empty values have none; a value that
//! does not fit its rule is left out with a note; if several traits have loosely equal names, a rule applies to the trait with exactly its
//! name. Deliberately absent: whether Engage sent the event. A rule applies to a trait from any source.

use super::rules::{Audience, CreateIf, CustomField, Effect};
use super::{Note, Rules, note};
use crate::domain::{AffiliateStatus, Attribute, Field, Profile};
use crate::segment::{RawJson, Traits};

/// The effects of all rules for one event.
#[derive(Debug, Default)]
pub(super) struct Effects<'r> {
    /// Whether a rule applied.
    pub(super) matched: bool,
    /// Whether the event states that the user is in an audience.
    pub(super) entered: bool,
    /// Whether the event states that the user is no longer in an audience.
    pub(super) rule_says_left: bool,
    /// The trait of an audience, and the status that its rule sets.
    pub(super) status: Option<(&'r str, AffiliateStatus)>,
    /// Offer and custom fields.
    pub(super) profile: Profile,
}

/// Applies custom fields, then audiences, each in the operator's order.
pub(super) fn effects<'r>(rules: &'r Rules, traits: &Traits<'_>, notes: &mut Vec<Note>) -> Effects<'r> {
    let mut effects = Effects::default();
    for CustomField { trait_name, id } in &rules.custom_fields {
        let Some(value) = value(rules, traits, trait_name) else { continue };
        match plain(value) {
            Some(text) if text.is_empty() => {}
            Some(text) => {
                effects.matched = true;
                effects.profile.set(Attribute::Custom(id.clone()), text);
            }
            None => {
                notes
                    .push(note(trait_name, "not a text, a number, true, false or a list of these, so it was left out"));
            }
        }
    }
    for Audience { trait_name, on_true, on_false } in &rules.audiences {
        let Some(value) = value(rules, traits, trait_name) else { continue };
        match membership(value) {
            Some(true) => {
                effects.entered = true;
                effects.apply(trait_name, on_true);
            }
            Some(false) => {
                effects.rule_says_left = true;
                effects.apply(trait_name, on_false);
            }
            None => notes.push(note(trait_name, "neither true nor false, so it was left out")),
        }
    }
    effects
}

impl<'r> Effects<'r> {
    fn apply(&mut self, trait_name: &'r str, effect: &Effect) {
        self.matched = true;
        self.status = effect.status.map(|status| (trait_name, status)).or(self.status);
        self.profile.set(Field::Offer, effect.offer.as_deref().unwrap_or_default());
        for (id, value) in &effect.custom_fields {
            self.profile.set(Attribute::Custom(id.clone()), value);
        }
    }
}

/// The value of the trait that a rule names, if it is not empty: the trait with exactly this name, else a trait with a loosely equal name,
/// unless another rule has such a name, too.
fn value<'a>(rules: &Rules, traits: &Traits<'a>, trait_name: &str) -> Option<RawJson<'a>> {
    match traits.exactly(trait_name) {
        Some(value) => Some(value).filter(|value| !value.is_empty()),
        None => traits.non_empty(trait_name).filter(|_| !rules.has_loosely_equal(trait_name)),
    }
}

/// A plain value as text; the plain values of a list, joined.
fn plain(value: RawJson<'_>) -> Option<String> {
    let Some(elements) = value.as_array() else { return value.as_clean_scalar() };
    let elements = elements.into_iter().filter(|element| !element.is_empty());
    elements.map(RawJson::as_clean_scalar).collect::<Option<Vec<_>>>().map(|texts| texts.join(", "))
}

/// Whether the user is in the audience that Engage made the event for, whose trait this is; none if its trait does not say it.
pub(super) fn own_membership(trait_name: &str, traits: &Traits<'_>) -> Option<bool> {
    traits.exactly(trait_name).or_else(|| traits.non_empty(trait_name)).and_then(membership)
}

/// Whether `[mapping.create_if]` holds for `traits`; none without a condition, or if `traits` do not have its trait.
pub(super) fn create_if(rules: &Rules, traits: &Traits<'_>) -> Option<bool> {
    let CreateIf { trait_name, equals } = rules.create_if.as_ref()?;
    let value = value(rules, traits, trait_name)?.as_clean_scalar();
    Some(value.is_some_and(|value| value.to_lowercase() == equals.trim().to_lowercase()))
}

/// Whether the user is in the audience. Engage sends `true` and `false`; its journeys send `"true"`.
fn membership(value: RawJson<'_>) -> Option<bool> {
    value.as_clean_scalar()?.to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let custom = |trait_name: &str, id: &str| CustomField { trait_name: trait_name.into(), id: id.into() };
        let audience = |trait_name: &str, on_true: Effect, on_false: Effect| Audience {
            trait_name: trait_name.into(),
            on_true,
            on_false,
        };
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
        let traits = RawJson::parse(traits).expect("JSON").as_object().expect("an object").into();
        let effects = effects(&rules, &traits, &mut notes);
        let mut said: Vec<_> = effects.profile.iter().map(|(what, value)| format!("{what}={value}")).collect();
        said.extend(effects.status.map(|(trait_name, status)| format!("{status} by {trait_name}")));
        said.extend(effects.matched.then(|| "matched".to_owned()));
        said.extend(effects.entered.then(|| "entered".to_owned()));
        said.extend(effects.rule_says_left.then(|| "left".to_owned()));
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
            (
                r#"{"total_revenue":["shoes",7,true,null,""," hats\n"]}"#,
                "custom field 11=shoes, 7, true, hats, matched",
            ),
            (r#"{"total_revenue":["<nil>"]}"#, ""),
            (r#"{"total_revenue":[1,{}]}"#, "custom field 11=1, matched"),
            (r#"{"total_revenue":[1,[2]]}"#, "note on total_revenue"),
            (r#"{"total_revenue":[1,{"a":2}]}"#, "note on total_revenue"),
            (r#"{"total_revenue":{"a":2}}"#, "note on total_revenue"),
            (r#"{"company":{"plan":"pro"}}"#, "custom field 12=pro, matched"),
            (r#"{"another":1}"#, ""),
        ] {
            assert_eq!(said(traits), expected, "{traits}");
        }
    }

    #[test]
    fn membership_has_the_effect_of_its_audience_and_the_later_audience_wins() {
        for (traits, expected) in [
            (r#"{"vip":true}"#, "offer=7, custom field 20=yes, ACTIVE by vip, matched, entered"),
            (r#"{"VIP":" True "}"#, "offer=7, custom field 20=yes, ACTIVE by vip, matched, entered"),
            (r#"{"vip":false}"#, "matched, left"),
            (r#"{"vip":null}"#, ""),
            (r#"{"vip":1}"#, "note on vip"),
            (r#"{"vip":"yes"}"#, "note on vip"),
            (r#"{"vip":{}}"#, ""),
            (r#"{"banned":true,"vip":true}"#, "offer=7, custom field 20=yes, DENIED by banned, matched, entered"),
            (
                r#"{"banned":"false","vip":true,"total_revenue":5}"#,
                "offer=8, custom field 11=0, custom field 20=yes, ACTIVE by vip, matched, entered, left",
            ),
        ] {
            assert_eq!(said(traits), expected, "{traits}");
        }
    }

    #[test]
    fn a_rule_applies_to_the_trait_with_exactly_its_name() {
        let custom = |trait_name: &str, id: &str| CustomField { trait_name: trait_name.into(), id: id.into() };
        let tiers = Rules { custom_fields: vec![custom("tier_1_1", "1"), custom("tier_11", "2")], ..Rules::default() };
        let one = Rules { custom_fields: vec![custom("tier_1_1", "1")], ..Rules::default() };
        for (rules, traits, expected) in [
            (&tiers, r#"{"tier_11":"b","tier_1_1":"a"}"#, "custom field 1=a, custom field 2=b"),
            (&tiers, r#"{"tier_11":"b"}"#, "custom field 2=b"),
            (&tiers, r#"{"tier_1_1":"a","tier_11":null}"#, "custom field 1=a"),
            (&tiers, r#"{"Tier 11":"x"}"#, ""),
            (&one, r#"{"tier_11":"b","tier_1_1":"a"}"#, "custom field 1=a"),
            (&one, r#"{"tier_11":"b","tier_1_1":null}"#, ""),
            (&one, r#"{"Tier 1 1":"a"}"#, "custom field 1=a"),
        ] {
            let traits_of = RawJson::parse(traits).expect("JSON").as_object().expect("an object").into();
            let effects = effects(rules, &traits_of, &mut Vec::new());
            let said: Vec<_> = effects.profile.iter().map(|(what, value)| format!("{what}={value}")).collect();
            assert_eq!(said.join(", "), expected, "{traits}");
        }
    }

    #[test]
    fn the_condition_holds_if_the_trait_has_the_value_and_is_not_stated_without_one() {
        let rule = |equals: &str| Rules {
            create_if: Some(CreateIf { trait_name: "is_affiliate".into(), equals: equals.into() }),
            ..Rules::default()
        };
        for (traits, equals, holds) in [
            (r#"{"isAffiliate":true}"#, "true", Some(true)),
            (r#"{"is_affiliate":"TRUE "}"#, "true", Some(true)),
            (r#"{"is_affiliate":1.0}"#, "1", Some(true)),
            (r#"{"is_affiliate":"Gold Ünder"}"#, " gold ünder", Some(true)),
            (r#"{"is_affiliate":false}"#, "true", Some(false)),
            (r#"{"is_affiliate":{}}"#, "true", None),
            (r#"{"is_affiliate":[true]}"#, "true", Some(false)),
            (r#"{"is_affiliate":null}"#, "null", None),
            ("{}", "true", None),
        ] {
            let traits = RawJson::parse(traits).expect("JSON").as_object().expect("an object").into();
            assert_eq!(create_if(&rule(equals), &traits), holds, "{equals}");
        }
        assert_eq!(create_if(&Rules::default(), &Traits::default()), None);
    }
}
