//! What can be done to a queue, chosen at random.

use super::engine::LEASE;
use super::model::End;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

const USERS: [&str; 4] = ["u1", "u2", "u3", "u4"];
const ADDRESSES: [&str; 4] = ["a@x.io", "b@x.io", "c@x.io", "d@x.io"];

/// The keys of a user: one or two.
pub type Keys = BTreeSet<&'static str>;

/// One thing done to a queue. Numbers stand for a choice among what there is at that time. `Die` claims, and lets die what it
/// claimed; `SendAgain` forgets what left, and records once more an event that died, of these users.
#[derive(Clone, Debug)]
pub enum Deed {
    Record(Vec<New>),
    Claim { limit: usize },
    Settle { which: usize, end: End, pages: u32 },
    SettleWith { which: usize, behind: usize },
    Checkpoint { which: usize, pages: u32 },
    Die { limit: usize },
    Wait(i64),
    Reopen,
    Tidy { window: i64 },
    SendAgain { which: usize, users: Keys },
    Replay(Vec<usize>),
    Discard(Vec<usize>),
    Forget(Keys),
}

/// An event to record.
#[derive(Clone, Debug)]
pub struct New {
    pub name: usize,
    pub keys: Keys,
    pub only_if_known: bool,
    pub delay: i64,
}

fn users() -> impl Strategy<Value = Keys> {
    let user = prop::option::of(prop::sample::select(&USERS[..]));
    let address = prop::option::of(prop::sample::select(&ADDRESSES[..]));
    (user, address).prop_map(|(user, address)| {
        let keys: Keys = user.into_iter().chain(address).collect();
        if keys.is_empty() { Keys::from([USERS[0]]) } else { keys }
    })
}

/// Some of what is, or was, a dead letter, or never was one; one of them perhaps twice.
fn letters() -> impl Strategy<Value = Vec<usize>> {
    vec(0..4_usize, 1..4)
}

fn new() -> impl Strategy<Value = New> {
    (0..40_usize, users(), prop::bool::weighted(0.1), 0..3_i64).prop_map(|(name, keys, only_if_known, delay)| New {
        name,
        keys,
        only_if_known,
        delay,
    })
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Done),
        2 => Just(End::Dead),
        2 => Just(End::HandBack),
        2 => (0..2 * LEASE).prop_map(|at| End::Retry { at }),
    ]
}

/// Anything that can be done.
pub fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => vec(new(), 1..4).prop_map(Deed::Record),
        6 => (1..4_usize).prop_map(|limit| Deed::Claim { limit }),
        4 => (1..3_usize).prop_map(|limit| Deed::Die { limit }),
        8 => (0..8_usize, end(), 0..9_u32).prop_map(|(which, end, pages)| Deed::Settle { which, end, pages }),
        3 => (0..8_usize, 0..4_usize).prop_map(|(which, behind)| Deed::SettleWith { which, behind }),
        1 => (0..8_usize, 0..9_u32).prop_map(|(which, pages)| Deed::Checkpoint { which, pages }),
        3 => (1..2 * LEASE).prop_map(Deed::Wait),
        2 => Just(Deed::Reopen),
        1 => (0..3 * LEASE).prop_map(|window| Deed::Tidy { window }),
        2 => (0..4_usize, users()).prop_map(|(which, users)| Deed::SendAgain { which, users }),
        3 => letters().prop_map(Deed::Replay),
        1 => letters().prop_map(Deed::Discard),
        1 => users().prop_map(Deed::Forget),
    ]
}
