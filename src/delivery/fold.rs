//! What waits for one user, folded: several events that are carried out as one, with fewer calls and the same end.
//!
//! In go the intents of a user's line in their order and what is remembered of the user; out comes one intent, and for how
//! many events from the head it stands. Of identifies the last word on each attribute counts; a delete cancels the edits
//! before it. Invariant: afterwards Refersion says what it would say had they been carried out one by one. So only events
//! that surely mean one affiliate are folded; an unknown user's begin with one that may create them; and who was to be
//! created is created even if a delete follows at once.
//! Deliberately absent: when a whole is given up for a part of it, which is the worker's.

use super::{Known, Memory, Progress, Stage, State};
use crate::domain::{Attribute, Profile, User};
use crate::mapping::{Creation, Identify, Intent};

/// Events carried out as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// What they want together.
    pub intent: Intent,
    /// How many they are, the head included; at least one.
    pub events: usize,
    /// How many of them, from the head, a delete has cancelled.
    pub cancelled: usize,
}

/// Folds the line that begins with `head`; `memory` is what is remembered of the head's user.
pub fn fold(memory: &Memory, head: &Intent, behind: &[Intent]) -> Folded {
    match head {
        Intent::Identify(wanted) => identifies(memory, wanted, behind),
        Intent::Delete { user } => {
            let again = |next: &&Intent| matches!(next, Intent::Delete { user: next } if next == user);
            Folded { intent: head.clone(), events: 1 + behind.iter().take_while(again).count(), cancelled: 0 }
        }
        Intent::Nothing(_) => Folded { intent: head.clone(), events: 1, cancelled: 0 },
    }
}

impl Folded {
    /// The part of `before` that holds whoever goes on with it, with more folded or less: what was about to be checked may
    /// have been another edit, and a target belongs to a delete.
    pub fn progress(&self, mut before: Progress) -> Progress {
        before.folded = (self.events > 1).then_some(self.events);
        if self.events > 1 {
            if self.cancelled > 0 || matches!(before.stage, Stage::CheckEdit | Stage::CheckStatus) {
                before.stage = Stage::Start;
            }
            before.target = None;
        }
        before
    }
}

fn identifies(memory: &Memory, head: &Identify, behind: &[Intent]) -> Folded {
    let known = leads_to(memory, Intent::Identify(head.clone()), &head.user);
    let may_begin = known.is_some() || matches!(head.creation, Creation::Allowed(_));
    let same = behind.iter().map_while(|next| match next {
        Intent::Identify(next) if may_begin && is_of(&next.user, &head.user) => Some(next),
        _ => None,
    });
    let mut whole = head.clone();
    let mut events = 1;
    for next in same {
        add(&mut whole, next);
        events += 1;
    }
    if let Some(deletion @ Intent::Delete { user }) = behind.get(events - 1)
        && may_begin
        && is_part_of(user, &head.user)
    {
        match &known {
            None => whole = only_created(head),
            Some(known) if leads_to(memory, deletion.clone(), user).is_some_and(|it| it.code == known.code) => {
                return Folded { intent: deletion.clone(), events: events + 1, cancelled: events };
            }
            Some(_) => {}
        }
    }
    Folded { intent: Intent::Identify(whole), events, cancelled: 0 }
}

/// The affiliate that an intent about `user` begins with.
fn leads_to(memory: &Memory, intent: Intent, user: &User) -> Option<Known> {
    let Memory { by_user_id, by_email } = memory.clone();
    let memory = Memory {
        by_user_id: by_user_id.filter(|_| user.user_id.is_some()),
        by_email: by_email.filter(|_| user.email.is_some()),
    };
    State::new(&intent, memory, Progress::default(), false).known
}

/// Whether an identify of `next` goes to the affiliate that one of `head` just went to.
fn is_of(next: &User, head: &User) -> bool {
    next.user_id == head.user_id && (next.email == head.email || next.email.is_none() && next.user_id.is_some())
}

/// Whether every key of `part` is one of `whole`.
fn is_part_of(part: &User, whole: &User) -> bool {
    let within = part.user_id.is_none() || part.user_id == whole.user_id;
    within && (part.email.is_none() || part.email == whole.email)
}

/// The last word counts: for an edit, and for a creation as far as it takes the attribute.
fn add(whole: &mut Identify, next: &Identify) {
    lay_over(&mut whole.profile, &next.profile);
    whole.status = next.status.or(whole.status);
    if let Creation::Allowed(new) = &mut whole.creation {
        lay_over(&mut new.profile, &next.profile.filtered(|attribute, _| matches!(attribute, Attribute::Field(_))));
    }
}

fn lay_over(profile: &mut Profile, later: &Profile) {
    for (attribute, value) in later.iter() {
        profile.set(attribute.clone(), value);
    }
}

/// The creation that a delete follows: all else it would say is cancelled.
fn only_created(head: &Identify) -> Identify {
    Identify { profile: Profile::default(), status: None, ..head.clone() }
}
