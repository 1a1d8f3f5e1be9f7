//! Random events, as plain data: user, values and time.

use super::super::scenario::peter;
use super::world::REFUSED;
use proptest::prelude::*;
use refersion_destination::domain::{
    AffiliateStatus, Attribute, Email, FactTime, Facts, Field, NewAffiliate, Profile, Timestamp, User, UserId,
};
use refersion_destination::mapping::{Creation, Identify, Intent, MappingError, Reason, StatusFact};

/// When the first event is received, at the earliest.
const START: i64 = 1_000;

/// A random event.
#[derive(Clone, Debug)]
pub struct Event {
    pub whom: &'static str,
    pub kind: Kind,
    /// Milliseconds since the receipt of the event before; less than none if the clock was set back.
    pub after: i64,
    /// How long before its receipt it was true, by its timestamp; less than none if it says that it comes from the future.
    pub age: Option<i64>,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Identify { values: Vec<(&'static str, &'static str)>, status: Option<AffiliateStatus>, creates: Creates },
    Delete,
    Nothing,
}

/// What an identify does if its user is no affiliate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creates {
    Yes,
    /// It would, and lacks the name.
    Nameless,
    /// It is an Engage event: its e-mail is no fact.
    Engage,
    /// It creates an affiliate, and does nothing else: its project is not trusted.
    Only,
}

/// The events as they are received, with their receipts.
pub fn intents(events: &[Event]) -> Vec<Intent> {
    received(events, START).0
}

/// The events as they are received from `now` on; and the last receipt.
pub fn received(events: &[Event], mut now: i64) -> (Vec<Intent>, i64) {
    let mut receive = |event: &Event| {
        now += event.after;
        event.intent(FactTime::new(event.age.map(|age| Timestamp(now - age)), Timestamp(now)))
    };
    (events.iter().map(&mut receive).collect(), now)
}

impl Event {
    /// Whether it creates an affiliate, and does nothing else.
    pub fn only_creates(&self) -> bool {
        matches!(self.kind, Kind::Identify { creates: Creates::Only, .. })
    }

    fn intent(&self, time: FactTime) -> Intent {
        let user = user(self.whom);
        match &self.kind {
            Kind::Nothing => Intent::Nothing(Reason::NoRule),
            Kind::Delete => Intent::Delete { user, time },
            Kind::Identify { values, status, creates } => {
                let (facts, creation) = Self::facts(&user, values, *creates, time);
                let status = status.map(|status| StatusFact { status, time });
                let (engage, may_only_create) = (*creates == Creates::Engage, *creates == Creates::Only);
                Intent::Identify(Identify {
                    user,
                    facts,
                    status,
                    creation,
                    time,
                    engage,
                    may_only_create,
                    pieces: None,
                })
            }
        }
    }

    fn facts(
        user: &User,
        values: &[(&'static str, &'static str)],
        creates: Creates,
        time: FactTime,
    ) -> (Facts, Creation) {
        let mut stated = Profile::default();
        if let (Some(email), true) = (&user.email, creates != Creates::Engage) {
            stated = peter(&format!("email={}", email.as_str()));
        }
        let mut cleared = Vec::new();
        for (name, value) in values {
            match (attribute(name), *value) {
                (Attribute::Field(field), "") => cleared.push(field),
                (attribute, value) => stated.set(attribute, value),
            }
        }
        let creation = match creates {
            _ if user.email.is_none() => Creation::Invalid(MappingError::MissingEmail),
            Creates::Nameless => Creation::Invalid(MappingError::MissingName),
            Creates::Engage => Creation::Skipped(Reason::UnknownUser),
            Creates::Yes | Creates::Only => Creation::Allowed(NewAffiliate {
                profile: stated.filtered(|attribute, _| matches!(attribute, Attribute::Field(_))),
                status: AffiliateStatus::Active,
                send_welcome: false,
            }),
        };
        (Facts::new(stated, &cleared, time), creation)
    }
}

/// The user `u1 peter@x.io`, `u1` or `peter@x.io`.
pub fn user(whom: &str) -> User {
    let email = whom.split(' ').find_map(|word| Email::parse(word).ok());
    let user_id = whom.split(' ').find(|word| !word.contains('@')).and_then(UserId::parse);
    User { user_id, email }
}

/// The attribute `city` or `#11`.
pub fn attribute(name: &str) -> Attribute {
    match name.strip_prefix('#') {
        Some(id) => Attribute::Custom(id.to_owned()),
        None => (*Field::ALL.iter().find(|field| field.as_str() == name).expect(name)).into(),
    }
}

/// The attributes that events state, beside name and e-mail: `company` is shown by `get`, `address2` may be cleared.
pub const ATTRIBUTES: [&str; 4] = ["city", "company", "address2", "#11"];

/// Values; `refused`: one of them may be the one that Refersion rejects. Of several, others may be given up to save calls.
fn values(refused: bool) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let attribute = |name: &'static str| {
        let clearable = u32::from(name == "address2");
        let value = prop_oneof![6 => Just("A"), 6 => Just("B"), 6 * clearable => Just("")];
        prop::option::of(value).prop_map(move |value| value.map(|value| (name, value)))
    };
    let [city, company, line, custom] = ATTRIBUTES.map(attribute);
    let which = prop::option::weighted(0.2, prop::sample::select(&ATTRIBUTES[..]));
    (city, company, line, custom, which).prop_map(move |(city, company, line, custom, which)| {
        let refused = which.filter(|_| refused);
        let accepted = [city, company, line, custom].into_iter().flatten().filter(|(name, _)| Some(*name) != refused);
        accepted.chain(refused.map(|name| (name, REFUSED))).collect()
    })
}

/// An identify of one of `whom`, the first of them most often. `refused`: some of its values may be refused.
pub fn identify(whom: &'static [&'static str], refused: bool) -> impl Strategy<Value = Event> {
    let status = prop::option::weighted(
        0.2,
        prop::sample::select(&[AffiliateStatus::Active, AffiliateStatus::Denied, AffiliateStatus::Disabled][..]),
    );
    let creates = prop_oneof![
        10 => Just(Creates::Yes),
        6 => Just(Creates::Engage),
        2 => Just(Creates::Nameless),
        1 => Just(Creates::Only)
    ];
    let kind = (values(refused), status, creates).prop_map(|(values, status, creates)| Kind::Identify {
        values,
        status,
        creates,
    });
    event(whom, kind)
}

/// Any event.
pub fn any_event(whom: &'static [&'static str]) -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => identify(whom, true),
        2 => event(whom, Just(Kind::Delete)),
        1 => event(whom, Just(Kind::Nothing)),
    ]
}

fn event(whom: &'static [&'static str], kind: impl Strategy<Value = Kind>) -> impl Strategy<Value = Event> {
    let whom = prop_oneof![1 => Just(whom[0]), 1 => prop::sample::select(whom)];
    let after = prop_oneof![8 => 0..20_i64, 1 => -40..0_i64];
    let age = prop_oneof![3 => Just(None), 3 => (0..60_i64).prop_map(Some), 1 => (-20..0_i64).prop_map(Some)];
    (whom, kind, after, age).prop_map(|(whom, kind, after, age)| Event { whom, kind, after, age })
}
