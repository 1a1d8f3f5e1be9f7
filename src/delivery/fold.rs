//! What waits for one user, folded: several events that are carried out as one, with fewer calls and the same end.
//!
//! In go the intents of a user's line in their order and what is remembered of the user; out comes one intent, and for how
//! many events from the head it stands. Of identifies the last word on each attribute counts; a delete cancels the edits
//! before it. Invariant: afterwards Refersion says what it would say had they been carried out one by one. So only events
//! that surely mean one affiliate are folded; an unknown user's begin with one that may create them; who was to be created
//! is created even if a delete follows at once; and a new e-mail is told before a delete, for its owner could come back by it.
//! Deliberately absent: carrying out fewer when the whole is refused, which is the worker's; [`Folded::fewer`] says when.

use super::{Ignored, Known, Memory, Outcome, Progress, Stage, State, Step};
use crate::domain::{Attribute, Profile, User};
use crate::mapping::{Creation, Identify, Intent};
use std::borrow::Cow;

/// Events carried out as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded<'a> {
    /// What they want together.
    pub intent: Cow<'a, Intent>,
    /// How many they are, the head included; at least one.
    pub events: usize,
    /// How many of them, from the head, a delete has cancelled.
    pub cancelled: usize,
}

/// Folds the line that begins with `head`; `memory` is what is remembered of the head's user.
pub fn fold<'a>(memory: &Memory, head: &'a Intent, behind: &[Intent]) -> Folded<'a> {
    let alone = Folded { intent: Cow::Borrowed(head), events: 1, cancelled: 0 };
    match head {
        _ if behind.is_empty() => alone,
        Intent::Identify(wanted) => identifies(memory, wanted, behind),
        Intent::Delete { user } => {
            // The second goes where the `userId` leads, should the e-mail have led the first to somebody else.
            let ends =
                user.email.is_none() || memory.by_user_id.as_ref().is_none_or(|known| leads_there(memory, known));
            let again = |next: &&Intent| ends && matches!(next, Intent::Delete { user: next } if next == user);
            Folded { events: 1 + behind.iter().take_while(again).count(), ..alone }
        }
        Intent::Nothing(_) => alone,
    }
}

impl Folded<'_> {
    /// How many behind the head are to be tried with it instead, if `verdict` on the whole is none on each part: what was
    /// refused may be one's fault alone; who turned out to be unknown may be created by another than the head; and whom an
    /// edit leaves alone, a status may still be given.
    pub fn fewer(&self, verdict: &Step) -> Option<usize> {
        let demands = matches!(&*self.intent, Intent::Identify(Identify { status: Some(_), .. }));
        let divides = match verdict {
            Step::Dead(_) | Step::Done(Outcome::Ignored(Ignored::Mapping(_))) => true,
            Step::Done(Outcome::Ignored(Ignored::LeftAlone { .. })) => demands,
            _ => false,
        };
        (divides && self.events > 1).then(|| self.events / 2 - 1)
    }

    /// The part of `before` that holds whoever goes on with it, with more folded or less: what was about to be checked may
    /// have been another edit, and a target belongs to a delete. Deletes of one user are about one affiliate, however many.
    pub fn progress(&self, mut before: Progress) -> Progress {
        let folded = (self.events > 1).then_some(self.events);
        if before.folded != folded {
            (before.folded, before.unsure, before.refused) = (folded, false, 0);
        }
        let deletes = self.cancelled == 0 && matches!(&*self.intent, Intent::Delete { .. });
        if self.events > 1 && !deletes {
            if self.cancelled > 0 || matches!(before.stage, Stage::CheckEdit | Stage::CheckStatus) {
                before.stage = Stage::Start;
            }
            before.target = None;
        }
        before
    }
}

fn identifies(memory: &Memory, head: &Identify, behind: &[Intent]) -> Folded<'static> {
    let known = leads_to(memory, &Intent::Identify(head.clone()), &head.user);
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
            Some(known)
                if has_email(memory, known, &head.user)
                    && leads_to(memory, deletion, user).is_some_and(|it| it.code == known.code) =>
            {
                return Folded { intent: Cow::Owned(deletion.clone()), events: events + 1, cancelled: events };
            }
            Some(_) => {}
        }
    }
    Folded { intent: Cow::Owned(Intent::Identify(whole)), events, cancelled: 0 }
}

/// The affiliate that an intent about `user` begins with.
fn leads_to(memory: &Memory, intent: &Intent, user: &User) -> Option<Known> {
    let Memory { by_user_id, by_email } = memory.clone();
    let memory = Memory {
        by_user_id: by_user_id.filter(|_| user.user_id.is_some()),
        by_email: by_email.filter(|_| user.email.is_some()),
    };
    State::new(intent, memory, Progress::default(), false).known
}

/// Whether nobody would be found otherwise afterwards, were an identify of `user` not carried out: their e-mail, if they give
/// one, leads to `known` already.
fn has_email(memory: &Memory, known: &Known, user: &User) -> bool {
    user.email.is_none() || leads_there(memory, known)
}

/// Whether the e-mail leads to `known`.
fn leads_there(memory: &Memory, known: &Known) -> bool {
    memory.by_email.as_ref().is_some_and(|by_email| by_email.code == known.code)
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
