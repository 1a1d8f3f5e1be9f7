//! The scenario at the beginning of a script: an event of Peter Gibbons (`u1`, `peter@x.io`), the memory of him, and a policy.

use super::text::{BEFORE, known, said};
use refersion_destination::delivery::{
    Memory, OnDelete, OnExisting, OnOtherUser, OnStale, Policy, Progress, RecalledAffiliate,
};
use refersion_destination::domain::{
    AffiliateStatus, Attribute, Email, FactTime, Facts, Field, HashKey, NewAffiliate, Profile, Timestamp, User, UserId,
};
use refersion_destination::mapping::{Creation, Identify, Intent, MappingError, Reason, StatusFact};

/// Everything a delivery begins with.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub intent: Intent,
    pub policy: Policy,
    pub memory: Memory,
    pub progress: Progress,
    pub interrupted: bool,
    /// What the store remembers of an affiliate that a search finds.
    pub recalled: Option<RecalledAffiliate>,
}

/// The key of all fingerprints here.
pub fn hash() -> HashKey {
    HashKey::new(&[7; 32])
}

/// When every event here was received, and true.
fn now() -> FactTime {
    FactTime::new(None, Timestamp(1_700_000_000_000))
}

/// What every identify here says; `and` says more, or otherwise: `city=Paris #11=450 email=new@x.io`.
pub fn peter(and: &str) -> Profile {
    let mut profile: Profile =
        [(Field::FirstName, "Peter"), (Field::LastName, "Gibbons"), (Field::Email, "peter@x.io")].into_iter().collect();
    for (attribute, value) in said(and) {
        profile.set(attribute, value);
    }
    profile
}

/// An identify that may create, which says [`peter`] `and` more.
pub fn identify(and: &str) -> Scenario {
    let profile = peter(and);
    let email = Email::parse(profile.get(Field::Email).expect("Peter has one")).expect("an address");
    let new = profile.filtered(|attribute, _| matches!(attribute, Attribute::Field(_)));
    scenario(Intent::Identify(Identify {
        user: User { user_id: UserId::parse("u1"), email: Some(email) },
        facts: Facts::new(profile, &[], now()),
        status: None,
        creation: Creation::Allowed(NewAffiliate {
            profile: new,
            status: AffiliateStatus::Active,
            send_welcome: false,
        }),
        time: now(),
        engage: false,
        may_only_create: false,
        pieces: None,
    }))
}

/// An identify of an Engage audience: nothing but what `says` it.
pub fn membership(says: &str) -> Scenario {
    scenario(Intent::Identify(Identify {
        user: User { user_id: UserId::parse("u1"), email: None },
        facts: Facts::new(said(says).into_iter().collect(), &[], now()),
        status: None,
        creation: Creation::Skipped(Reason::UnknownUser),
        time: now(),
        engage: true,
        may_only_create: false,
        pieces: None,
    }))
}

/// A delete of `u1`, of `peter@x.io`, or of both.
pub fn delete(whom: &str) -> Scenario {
    scenario(Intent::Delete { user: user(whom), time: now() })
}

fn user(whom: &str) -> User {
    let email = whom.split(' ').find_map(|word| Email::parse(word).ok());
    let user_id = whom.split(' ').find(|word| !word.contains('@')).and_then(UserId::parse);
    User { user_id, email }
}

/// An event that wants nothing.
pub fn nothing() -> Scenario {
    scenario(Intent::Nothing(Reason::NoRule))
}

fn scenario(intent: Intent) -> Scenario {
    let (policy, memory, progress) = (Policy::default(), Memory::default(), Progress::default());
    Scenario { intent, policy, memory, progress, interrupted: false, recalled: None }
}

impl Scenario {
    /// Both keys lead to this affiliate: `created a3y7/7` or `found a3y7`, `and` what it was sent beside [`peter`].
    pub fn knowing(self, affiliate: &str, and: &str) -> Self {
        self.by_user_id(affiliate, and).by_email(affiliate, and)
    }

    /// The `userId` leads to this affiliate.
    pub fn by_user_id(mut self, affiliate: &str, and: &str) -> Self {
        self.memory.by_user_id = Some(known(affiliate, and));
        self
    }

    /// The e-mail leads to this affiliate.
    pub fn by_email(mut self, affiliate: &str, and: &str) -> Self {
        self.memory.by_email = Some(known(affiliate, and));
        self
    }

    /// The affiliate of the e-mail is owned by another `userId`.
    pub fn with_other_owner(mut self) -> Self {
        self.memory.email_has_other_owner = true;
        self
    }

    /// The user with this `userId` was deleted before the event.
    pub fn deleted_by_user_id(mut self) -> Self {
        self.memory.user_id_deleted_at = Some(BEFORE);
        self
    }

    /// The user with this e-mail was deleted `seconds` after the event happened.
    pub fn deleted_after(mut self, seconds: i64) -> Self {
        let at = Timestamp(self.wanted().time.at().0 + seconds * 1000);
        self.memory.email_deleted_at = Some(at);
        self
    }

    /// What the event states was true when the affiliates that are known here were sent something, and `seconds` later.
    pub fn at(mut self, seconds: i64) -> Self {
        let wanted = self.wanted();
        wanted.time = FactTime::new(Some(Timestamp(BEFORE.0 + seconds * 1000)), wanted.time.received_at());
        wanted.facts = Facts::new(wanted.facts.profile(), &[], wanted.time);
        let time = wanted.time;
        wanted.status = wanted.status.map(|fact| StatusFact { time, ..fact });
        self
    }

    /// The event states that these fields no longer have a value.
    pub fn clearing(mut self, fields: &[Field]) -> Self {
        let wanted = self.wanted();
        wanted.facts.replace(Facts::new(Profile::default(), fields, wanted.time));
        self
    }

    /// Engage made the event: its e-mail is not stated.
    pub fn by_engage(mut self) -> Self {
        let wanted = self.wanted();
        wanted.facts = wanted.facts.filtered(|fact| fact.attribute != Field::Email.into());
        wanted.engage = true;
        self
    }

    /// Nothing of the event was carried out yet.
    pub fn with_no_progress(mut self) -> Self {
        self.progress = Progress::default();
        self
    }

    /// `DELIVERY_ON_OTHER_USER` is `update`.
    pub fn updating_other_users(mut self) -> Self {
        self.policy.on_other_user = OnOtherUser::Update;
        self
    }

    /// `DELIVERY_STALE` is `apply`.
    pub fn applying_stale(mut self) -> Self {
        self.policy.on_stale = OnStale::Apply;
        self
    }

    /// A new affiliate gets the `userId` as the merchant's own id, which only `new` takes.
    pub fn with_merchant_id(mut self) -> Self {
        if let Creation::Allowed(new) = &mut self.wanted().creation {
            new.profile.set(Field::UniqueMerchantId, "u1");
        }
        self
    }

    /// The event's project is not trusted.
    pub fn untrusted(mut self) -> Self {
        self.wanted().may_only_create = true;
        self
    }

    /// The store remembers this affiliate under keys that the event does not have.
    pub fn recalling(mut self, affiliate: &str, and: &str, has_other_owner: bool) -> Self {
        self.recalled = Some(RecalledAffiliate { known: known(affiliate, and), has_other_owner });
        self
    }

    /// The event is of `u1`, of `peter@x.io`, or of both; what it says stays as it is.
    pub fn of(mut self, whom: &str) -> Self {
        self.wanted().user = user(whom);
        self
    }

    /// An audience demands this status.
    pub fn demanding(mut self, status: AffiliateStatus) -> Self {
        let time = self.wanted().time;
        self.wanted().status = Some(StatusFact { status, time });
        self
    }

    /// The event lacks what a creation needs.
    pub fn nameless(mut self) -> Self {
        self.wanted().creation = Creation::Invalid(MappingError::MissingName);
        self
    }

    /// `DELIVERY_ON_EXISTING` is `ignore`.
    pub fn ignoring(mut self) -> Self {
        self.policy.on_existing = OnExisting::Ignore;
        self
    }

    /// `DELIVERY_ON_DELETE` is `anonymize`.
    pub fn anonymizing(mut self) -> Self {
        self.policy.on_delete = OnDelete::Anonymize;
        self
    }

    /// The process died during an earlier attempt.
    pub fn interrupted(mut self) -> Self {
        self.interrupted = true;
        self
    }

    fn wanted(&mut self) -> &mut Identify {
        match &mut self.intent {
            Intent::Identify(wanted) => wanted,
            other => panic!("no identify: {other:?}"),
        }
    }
}
