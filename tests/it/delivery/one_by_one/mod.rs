//! Coalesced or one by one, it ends the same: random events, carried out both ways at a Refersion that is a list of maps.
//!
//! What may differ is what a delete has cancelled: of a deleted affiliate only its e-mail and its status are compared.
//! `PROPTEST_CASES=100000 cargo test --test it one_by_one` tries more than the short form does.

mod event;
mod newest;
mod world;

use super::text;
use event::{Event, any_event, identify, intents, received};
use proptest::collection::vec;
use proptest::prelude::*;
use refersion_destination::delivery::{AffiliateRecord, OnDelete, OnExisting, OnOtherUser, OnStale, Policy};
use refersion_destination::domain::{AffiliateId, AffiliateStatus, Attribute, Field};
use refersion_destination::mapping::Intent;
use std::collections::BTreeSet;
use world::{One, REFUSED, World, code};

const WHOM: [&str; 5] = ["u1 peter@x.io", "u1 paul@x.io", "u2 peter@x.io", "u1", "peter@x.io"];

fn policy() -> impl Strategy<Value = Policy> {
    let on_existing = prop::sample::select(&[OnExisting::Update, OnExisting::Ignore][..]);
    let on_delete = prop::sample::select(&[OnDelete::Disable, OnDelete::Anonymize][..]);
    let on_stale = prop::sample::select(&[OnStale::Ignore, OnStale::Apply][..]);
    let on_other_user = prop::sample::select(&[OnOtherUser::Ignore, OnOtherUser::Update][..]);
    (on_existing, on_delete, on_stale, on_other_user).prop_map(|(on_existing, on_delete, on_stale, on_other_user)| {
        Policy { on_existing, on_delete, on_stale, on_other_user }
    })
}

/// The affiliates of before: none, or one of which nothing is remembered.
fn world() -> impl Strategy<Value = World> {
    let status = prop::sample::select(&[AffiliateStatus::Active, AffiliateStatus::Disabled][..]);
    let one = (prop::sample::select(&["peter@x.io", "paul@x.io"][..]), status);
    (prop::option::of(one), any::<bool>()).prop_map(|(one, shows_ids)| {
        let mut world = World { shows_ids, ..World::default() };
        world.affiliates.extend(one.map(|(email, status)| One {
            status,
            values: [(Field::FirstName, "P"), (Field::Email, email)].into_iter().collect(),
            deleted: false,
        }));
        world
    })
}

/// The attributes for which two events state the value that Refersion rejects. It is remembered, and not tried again; whether a value
/// that was stated in between is sent depends on what is coalesced.
fn refused_again(intents: &[Intent]) -> BTreeSet<Attribute> {
    let identifies = intents.iter().filter_map(|intent| match intent {
        Intent::Identify(wanted) => Some(wanted.facts.iter()),
        Intent::Delete { .. } | Intent::Nothing(_) => None,
    });
    let mut once = BTreeSet::new();
    let refused = identifies.flatten().filter(|fact| fact.value == REFUSED).map(|fact| fact.attribute.clone());
    refused.filter(|attribute| !once.insert(attribute.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn events_have_the_same_result_coalesced_or_one_by_one(
        world in world(),
        before in vec(any_event(&WHOM), 0..3),
        events in vec(any_event(&WHOM), 1..8),
        policy in policy(),
    ) {
        let (before, now) = received(&before, 1_000);
        let (intents, _) = received(&events, now);
        let world = world.after(&before, false, policy);
        let (coalesced, singly) = (world.clone().after(&intents, true, policy), world.after(&intents, false, policy));
        let refused = refused_again(&[before, intents].concat());
        prop_assert_eq!(coalesced.shown(&refused), singly.shown(&refused));
        prop_assert_eq!(&coalesced.links, &singly.links);
        prop_assert_eq!(&coalesced.deleted, &singly.deleted);
    }

    /// One by one, what an Engage event states of an affiliate that is gone is lost until another event finds out; together it need
    /// not be. Events with other keys go to Peter's affiliate or to another, depending on what is remembered by then.
    #[test]
    fn coalescing_loses_nothing_where_refersion_has_lost_a_remembered_affiliate(
        events in vec(identify(&["u1 peter@x.io", "u1"], true), 1..8),
        policy in policy(),
    ) {
        let events = events.into_iter().filter(|event| !event.only_creates());
        let events: Vec<_> = events.map(|event| Event { age: None, ..event }).collect();
        let intents = intents(&events);
        let mut world = World { shows_ids: true, ..World::default() };
        let gone = AffiliateRecord { id: Some(AffiliateId(900)), code: code(900), ..text::known("created gone", "") };
        world.known.insert("c900".to_owned(), gone);
        world.links = ["u1", "peter@x.io"].map(|key| (key.to_owned(), "c900".to_owned())).into();
        let (coalesced, singly) = (world.clone().after(&intents, true, policy), world.after(&intents, false, policy));
        for one in &singly.affiliates {
            let email = one.values.get(Field::Email).expect("an e-mail");
            let place = coalesced.with_email(email).expect("created as well");
            let values = &coalesced.affiliates[place].values;
            for (attribute, value) in one.values.iter().filter(|(attribute, _)| !refused_again(&intents).contains(attribute)) {
                prop_assert_eq!(values.get(attribute.clone()).unwrap_or_default(), value, "{}", attribute);
            }
        }
    }
}

/// How many cases are tried.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(500)
}
