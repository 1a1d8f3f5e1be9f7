//! Per attribute, Refersion holds the value of the newest event that was allowed to state it: a direct oracle.
//!
//! An identify of `u1 peter@x.io` creates the affiliate; identifies of its owner and of others follow. Deliberately absent: refused
//! values, deletes, and clocks that are set back, after which the newest is not defined.

use super::event::{ATTRIBUTES, Creates, Event, Kind, attribute, identify, intents, user};
use super::world::World;
use super::{cases, policy};
use proptest::collection::vec;
use proptest::prelude::*;
use refersion_destination::delivery::{OnExisting, OnOtherUser, OnStale, Policy};
use refersion_destination::domain::{AffiliateStatus, UserId};
use refersion_destination::mapping::Intent;
use std::collections::BTreeMap;

const WHOM: [&str; 4] = ["u1 peter@x.io", "u1", "u2 peter@x.io", "peter@x.io"];
const STATUS: &str = "status";

/// Whether an event may state `name` of the affiliate, whose owner is `u1`.
fn may_state(event: &Event, name: &str, policy: Policy) -> bool {
    let Kind::Identify { creates, .. } = &event.kind else { return false };
    match user(event.whom).user_id.as_ref().map(UserId::as_str) {
        _ if *creates == Creates::Only => false,
        Some("u1") => true,
        _ if policy.on_other_user == OnOtherUser::Update => true,
        None => *creates == Creates::Engage && (name == STATUS || name.starts_with('#')),
        Some(_) => false,
    }
}

/// The values that the events after the creation must leave, with the moments since when they are true.
fn newest(events: &[Event], intents: &[Intent], policy: Policy) -> BTreeMap<&'static str, String> {
    let mut newest: BTreeMap<&str, (i64, String)> = BTreeMap::new();
    for (event, intent) in events.iter().zip(intents) {
        let (Intent::Identify(wanted), Kind::Identify { values, status, .. }) = (intent, &event.kind) else { continue };
        let status = status.map(|status| (STATUS, status.to_string()));
        let values = values.iter().map(|(name, value)| (*name, (*value).to_owned()));
        for (name, value) in values.chain(status).filter(|(name, _)| may_state(event, name, policy)) {
            let at = wanted.time.at().0;
            let is_newer = newest.get(name).is_none_or(|(last, _)| *last <= at);
            if is_newer || policy.on_stale == OnStale::Apply {
                newest.insert(name, (at, value));
            }
        }
    }
    newest.into_iter().map(|(name, (_, value))| (name, value)).collect()
}

/// What Refersion holds of the affiliate.
fn held(world: &World) -> BTreeMap<&'static str, String> {
    let [one] = &world.affiliates[..] else { panic!("one affiliate: {:?}", world.affiliates) };
    let value = |name| one.values.get(attribute(name)).map(|value| (name, value.to_owned()));
    ATTRIBUTES.into_iter().filter_map(value).chain([(STATUS, one.status.to_string())]).collect()
}

fn creation() -> Event {
    let kind = Kind::Identify { values: Vec::new(), status: Some(AffiliateStatus::Active), creates: Creates::Yes };
    Event { whom: WHOM[0], kind, after: 0, age: Some(1_000_000) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn the_newest_event_that_may_state_an_attribute_counts(
        events in vec(identify(&WHOM, false), 0..10),
        policy in policy(),
        coalescing in any::<bool>(),
    ) {
        let policy = Policy { on_existing: OnExisting::Update, ..policy };
        let forwards = events.into_iter().map(|event| Event { after: event.after.abs(), ..event });
        let events: Vec<_> = std::iter::once(creation()).chain(forwards).collect();
        let intents = intents(&events);
        let world = World::default().after(&intents, coalescing, policy);
        let (mut held, mut newest) = (held(&world), newest(&events, &intents, policy));
        for values in [&mut held, &mut newest] {
            values.retain(|_, value| !value.is_empty());
        }
        prop_assert_eq!(held, newest);
    }
}
