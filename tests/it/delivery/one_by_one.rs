//! Coalesced or one by one, it ends the same: random lines of events, carried out both ways at a Refersion that is a
//! list of maps.
//!
//! What may differ is what a delete has cancelled: of a deleted affiliate only its address and its status are compared.

use super::scenario::{Scenario, delete, hash, identify, membership, nothing};
use super::text;
use proptest::collection::vec;
use proptest::prelude::*;
use refersion_destination::delivery::{
    Affiliate, Call, Found, Identifier, Known, Memory, OnDelete, OnExisting, PlanInput, PlanState, Policy, Progress,
    Rejection, Reply, Step, coalesce, step,
};
use refersion_destination::domain::{AffiliateCode, AffiliateId, AffiliateStatus, Attribute, Field, Profile, User};
use refersion_destination::mapping::{Creation, Identify, Intent};
use std::collections::BTreeMap;
use std::fmt;

/// An affiliate of the model.
#[derive(Clone, Debug)]
struct One {
    status: AffiliateStatus,
    said: Profile,
    deleted: bool,
}

/// Refersion, and what is remembered of it.
#[derive(Clone, Debug, Default)]
struct World {
    /// Each one's number is its place; a number that is no place is of one that is gone.
    affiliates: Vec<One>,
    known: BTreeMap<String, Known>,
    links: BTreeMap<String, String>,
    tells_ids: bool,
    calls: usize,
}

impl World {
    fn place(&self, identifier: &Identifier) -> Option<usize> {
        let number = match identifier {
            Identifier::Id(id) => id.to_string(),
            Identifier::Code(code) => code.0.trim_start_matches('c').to_owned(),
        };
        number.parse().ok().filter(|place| *place < self.affiliates.len())
    }

    fn owner(&self, email: &str) -> Option<usize> {
        self.affiliates.iter().position(|one| one.said.get(Field::Email) == Some(email))
    }

    fn answer(&mut self, call: &Call, deleting: bool) -> Reply {
        self.calls += 1;
        match call {
            Call::New(new) => {
                if self.owner(new.profile.get(Field::Email).expect("an address")).is_some() {
                    return Reply::Rejected(Rejection::EmailTaken);
                }
                let place = self.affiliates.len();
                self.affiliates.push(One { status: new.status, said: new.profile.clone(), deleted: false });
                Reply::Created { code: code(place), id: self.tells_ids.then_some(AffiliateId(place as u64)) }
            }
            Call::Search { email, .. } => {
                let found = self.owner(email.as_str()).map(|place| Found {
                    code: code(place),
                    email: email.as_str().to_owned(),
                    status: Some(self.affiliates[place].status),
                });
                found.map_or(Reply::NotFound, |found| Reply::Page { total: 1, results: vec![found] })
            }
            Call::Get(identifier) => self.place(identifier).map_or(Reply::NotFound, |place| {
                let One { status, said, .. } = &self.affiliates[place];
                let visible = |attribute: &Attribute, _: &str| attribute.is_shown_by_get();
                let (id, status) = (AffiliateId(place as u64), Some(*status));
                Reply::Affiliate(Affiliate { id, status, profile: said.filtered(visible) })
            }),
            Call::Edit { id, changes } => self.edit(*id, changes),
            Call::SetStatus { id, status } => {
                let Some(place) = self.place(&Identifier::Id(*id)) else { return Reply::NotChanged };
                let one = &mut self.affiliates[place];
                one.deleted |= deleting;
                let changed = one.status != *status;
                one.status = *status;
                if changed { Reply::Changed } else { Reply::NotChanged }
            }
        }
    }

    fn edit(&mut self, id: AffiliateId, changes: &Profile) -> Reply {
        let Some(place) = self.place(&Identifier::Id(id)) else { return Reply::NotChanged };
        if changes.get(Field::Email).and_then(|email| self.owner(email)).is_some_and(|owner| owner != place) {
            return Reply::Rejected(Rejection::EmailTaken);
        }
        let before = self.affiliates[place].said.clone();
        for (attribute, value) in changes.iter() {
            self.affiliates[place].said.set(attribute.clone(), value);
        }
        if self.affiliates[place].said == before { Reply::NotChanged } else { Reply::Changed }
    }

    fn recall(&self, user: &User) -> Memory {
        let known = |key: Option<&str>| self.known.get(self.links.get(key?)?).cloned();
        Memory {
            by_user_id: known(user.user_id.as_ref().map(refersion_destination::domain::UserId::as_str)),
            by_email: known(user.email.as_ref().map(refersion_destination::domain::Email::as_str)),
            ..Memory::default()
        }
    }

    /// Remembers what a worker would.
    fn write(&mut self, user: &User, state: &PlanState, intent: &Intent) {
        for AffiliateCode(code) in &state.forgotten {
            self.known.remove(code);
            self.links.retain(|_, leads_to| leads_to != code);
        }
        let (Intent::Identify(_), Some(known)) = (intent, &state.known) else { return };
        let AffiliateCode(code) = known.code.clone();
        self.known.insert(code.clone(), known.clone());
        if let Some(user_id) = &user.user_id {
            self.links.insert(user_id.as_str().to_owned(), code.clone());
        }
        if let Some(email) = &user.email {
            let said: Profile = [(Field::Email, email.as_str())].into_iter().collect();
            if known.sent.changes(&hash(), &said).is_empty() {
                self.links.retain(|key, leads_to| *leads_to != code || !key.contains('@'));
                self.links.insert(email.as_str().to_owned(), code);
            }
        }
    }

    /// Carries out the head of `line`, and what is coalesced with it; says how many those were.
    fn carry_out(&mut self, line: &[Intent], coalescing: bool, policy: Policy) -> usize {
        let (head, behind) = line.split_first().expect("a head");
        let user = match head {
            Intent::Identify(wanted) => wanted.user.clone(),
            Intent::Delete { user, .. } => user.clone(),
            Intent::Nothing(_) => User::default(),
        };
        let (memory, hash) = (self.recall(&user), hash());
        let mut behind = if coalescing { behind } else { &[] };
        let mut coalesced = coalesce(&memory, policy, head, behind);
        let mut state = PlanState::new(&coalesced.intent, policy, memory.clone(), Progress::default(), false);
        loop {
            let input = PlanInput {
                intent: &coalesced.intent,
                policy,
                hash: &hash,
                custom_fields: &[],
                events: coalesced.events,
            };
            let mut heard = None;
            let verdict = loop {
                let next = step(
                    &input,
                    &mut state,
                    heard.take().as_ref().map(|(call, reply): &(Call, Reply)| (call, reply.clone())),
                );
                self.write(&user, &state, &coalesced.intent);
                let Step::Next(call) = next else { break next };
                let reply = self.answer(&call, matches!(*coalesced.intent, Intent::Delete { .. }));
                heard = Some((call, reply));
            };
            assert!(matches!(verdict, Step::Done(_) | Step::Dead(_)), "{verdict:?}");
            let Some(fewer) = coalesced.bisect(&verdict) else { return coalesced.events };
            behind = &behind[..fewer];
            state.progress = coalesced.progress(state.progress);
            let less = coalesce(&memory, policy, head, behind);
            if coalesced.cancelled > 0 {
                state = PlanState::new(&less.intent, policy, memory.clone(), state.progress, false);
            }
            coalesced = less;
        }
    }

    fn seen(&self) -> Vec<String> {
        let of = |one: &One| match one {
            One { deleted: true, status, said } => format!("{status} {:?}", said.get(Field::Email)),
            One { status, said, .. } => format!("{status} {:?}", said.iter().collect::<Vec<_>>()),
        };
        self.affiliates.iter().map(of).collect()
    }
}

/// An event; prints as what it wants.
#[derive(Clone)]
struct Event(Scenario);

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = |user: &User| {
            let id = user.user_id.as_ref().map_or("", |id| id.as_str()).to_owned();
            format!("{id} {}", user.email.as_ref().map_or("", |email| email.as_str()))
        };
        match &self.0.intent {
            Intent::Identify(Identify { user, facts, status, creation, .. }) => {
                let may = matches!(creation, Creation::Allowed(_));
                let said: Vec<_> = facts
                    .iter()
                    .map(|fact| format!("{} at {}", text::pair(&fact.attribute, &fact.value), fact.time.at().0))
                    .collect();
                write!(f, "identify {}: {} {status:?}, may create: {may}", whom(user), said.join(" "))
            }
            Intent::Delete { user, .. } => write!(f, "delete {}", whom(user)),
            Intent::Nothing(_) => f.write_str("nothing"),
        }
    }
}

fn code(place: usize) -> AffiliateCode {
    AffiliateCode(format!("c{place}"))
}

const WHOM: [&str; 5] = ["u1 peter@x.io", "u1 paul@x.io", "u2 peter@x.io", "u1", "peter@x.io"];

fn said() -> impl Strategy<Value = String> {
    let field = |name: &'static str| {
        prop::option::of(prop::sample::select(&["A", "B"][..]))
            .prop_map(move |value| value.map(|value| format!("{name}={value} ")).unwrap_or_default())
    };
    (field("city"), field("company"), field("#11")).prop_map(|(city, company, custom)| city + &company + &custom)
}

fn event() -> impl Strategy<Value = Event> {
    let status = prop::option::weighted(
        0.2,
        prop::sample::select(&[AffiliateStatus::Active, AffiliateStatus::Denied, AffiliateStatus::Disabled][..]),
    );
    let whom = prop_oneof![3 => Just(WHOM[0]), 2 => prop::sample::select(&WHOM[..])];
    let edit = (whom.clone(), said(), status, 0..9_u8).prop_map(|(whom, said, status, kind)| {
        let email = whom.split(' ').find(|word| word.contains('@'));
        let scenario = match (email, kind) {
            // An audience may know the address, and never creates anybody.
            (None, _) | (_, 0..3) => membership(&said),
            (Some(email), 3) => identify(&format!("{said} email={email}")).nameless(),
            (Some(email), _) => identify(&format!("{said} email={email}")),
        };
        let scenario = scenario.of(whom);
        status.map_or(scenario.clone(), |status| scenario.demanding(status))
    });
    prop_oneof![8 => edit, 2 => whom.prop_map(delete), 1 => Just(nothing())].prop_map(Event)
}

fn policy() -> impl Strategy<Value = Policy> {
    let on_existing = prop::sample::select(&[OnExisting::Update, OnExisting::Ignore][..]);
    let on_delete = prop::sample::select(&[OnDelete::Disable, OnDelete::Anonymize][..]);
    (on_existing, on_delete).prop_map(|(on_existing, on_delete)| Policy { on_existing, on_delete, ..Policy::default() })
}

/// The affiliates of before: none, or one whom nobody here has met.
fn world() -> impl Strategy<Value = World> {
    let status = prop::sample::select(&[AffiliateStatus::Active, AffiliateStatus::Disabled][..]);
    let one = (prop::sample::select(&["peter@x.io", "paul@x.io"][..]), status);
    (prop::option::of(one), any::<bool>()).prop_map(|(one, tells_ids)| {
        let mut world = World { tells_ids, ..World::default() };
        world.affiliates.extend(one.map(|(email, status)| One {
            status,
            said: [(Field::FirstName, "P"), (Field::Email, email)].into_iter().collect(),
            deleted: false,
        }));
        world
    })
}

/// Carries out the whole line.
fn end(mut world: World, line: &[Intent], coalescing: bool, policy: Policy) -> World {
    let mut left = line;
    while !left.is_empty() {
        left = &left[world.carry_out(left, coalescing, policy)..];
    }
    world
}

/// An identify of `u1` with Peter's address or none. What comes under another key is Peter's or another person's,
/// depending on what of Peter is remembered by then, and that is more where events are coalesced.
fn stays(Event(scenario): &Event) -> bool {
    match &scenario.intent {
        Intent::Identify(wanted) => {
            let User { user_id, email } = &wanted.user;
            user_id.as_ref().is_some_and(|id| id.as_str() == "u1")
                && email.as_ref().is_none_or(|email| email.is_same_address("peter@x.io"))
        }
        Intent::Delete { .. } => false,
        Intent::Nothing(_) => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn coalesced_or_one_by_one_it_ends_the_same(
        world in world(),
        met in vec(event(), 0..3),
        line in vec(event(), 1..8),
        policy in policy(),
    ) {
        let intents = |line: &[Event]| line.iter().map(|Event(scenario)| scenario.intent.clone()).collect::<Vec<_>>();
        let world = end(world, &intents(&met), false, policy);
        let (coalesced, singly) = (end(world.clone(), &intents(&line), true, policy), end(world, &intents(&line), false, policy));
        prop_assert_eq!(coalesced.seen(), singly.seen());
        prop_assert_eq!(&coalesced.links, &singly.links);
    }

    /// Carried out one by one, what an audience says of who is gone is lost until somebody notices; together it need
    /// not be.
    #[test]
    fn where_refersion_has_lost_whom_we_remember_nothing_is_lost_by_coalescing(
        line in vec(event().prop_filter("an identify of Peter's", stays), 1..8),
        policy in policy(),
    ) {
        let intents: Vec<_> = line.iter().map(|Event(scenario)| scenario.intent.clone()).collect();
        let mut world = World { tells_ids: true, ..World::default() };
        let gone = Known { id: Some(AffiliateId(900)), code: code(900), ..text::known("created gone", "") };
        world.known.insert("c900".to_owned(), gone);
        world.links = ["u1", "peter@x.io"].map(|key| (key.to_owned(), "c900".to_owned())).into();
        let (coalesced, singly) = (end(world.clone(), &intents, true, policy), end(world, &intents, false, policy));
        for one in &singly.affiliates {
            let email = one.said.get(Field::Email).expect("an address");
            let place = coalesced.owner(email).expect("created as well");
            let said = &coalesced.affiliates[place].said;
            let kept = one.said.filtered(|attribute, value| said.get(attribute.clone()) == Some(value));
            prop_assert_eq!(&kept, &one.said);
        }
    }
}
