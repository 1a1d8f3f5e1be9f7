//! Coalescing: several events of one user are delivered as one, with fewer calls and the same result.
//!
//! In: the intents at the head of a user's lane, in log order, and the [`Memory`] of the user. Out: one intent, and the number of events
//! that it combines. The newest value of each attribute counts; a delete cancels the edits before it. Invariant: the result at Refersion is
//! the same as if the events had been delivered one by one. Therefore:
//! - only events that are certainly about the same affiliate are coalesced;
//! - the events of an unknown user are coalesced only if the first of them may create the affiliate;
//! - an affiliate that an event creates is created even if a delete follows;
//! - a new e-mail is sent before a delete, because later events can lead to the affiliate by it.
//!
//! Deliberately absent: delivering a smaller part when the whole fails, which the worker does; [`Coalesced::bisect`] decides when.

use super::state::is_from_before;
use super::{
    AffiliateAccess, AffiliateRecord, Ignored, Memory, OnStale, PlanState, Policy, Progress, Stage, Step, Success,
};
use crate::domain::{Attribute, Fact, FactTime, Facts, Field, User};
use crate::mapping::{Creation, Identify, Intent};
use std::borrow::Cow;

/// Events that are delivered as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coalesced<'a> {
    /// The intent of all of them.
    pub intent: Cow<'a, Intent>,
    /// The number of events, the head included; at least one.
    pub events: usize,
    /// The number of events, from the head on, that a delete has cancelled.
    pub cancelled: usize,
    /// The values of the head that a follower replaces. An earlier attempt at the head alone may have sent them: its edit is not marked in
    /// the store before it is sent, and its answer may be lost ([`PlanState::supersede`]).
    pub superseded: Facts,
}

/// Coalesces `head` with as many of its `followers` as possible; `memory`: the records about the head's user.
pub fn coalesce<'a>(memory: &Memory, policy: Policy, head: &'a Intent, followers: &[Intent]) -> Coalesced<'a> {
    let alone = Coalesced { intent: Cow::Borrowed(head), events: 1, cancelled: 0, superseded: Facts::default() };
    match head {
        _ if followers.is_empty() => alone,
        Intent::Identify(wanted) if can_be_head(memory, wanted) => {
            coalesce_identifies(memory, policy, wanted, followers)
        }
        Intent::Delete { user, time } => {
            let again = |next: &&Intent| is_one_delete(memory, user, *time) && is_same_delete(next, user, *time);
            Coalesced { events: 1 + followers.iter().take_while(again).count(), ..alone }
        }
        Intent::Identify(_) | Intent::Nothing(_) => alone,
    }
}

/// Whether a repeat of the delete cannot delete another affiliate: when the affiliate of the `userId` is forgotten, the e-mail may lead to
/// another one.
fn is_one_delete(memory: &Memory, user: &User, time: FactTime) -> bool {
    match (&memory.by_user_id, &memory.by_email) {
        (Some(_), None) => user.email.is_none(),
        (Some(own), Some(other)) if own.code != other.code => memory.email_deleted_at < Some(time.at()),
        _ => true,
    }
}

/// Whether `next` deletes the user who was deleted at `time`, and adds nothing. The moment of a later deletion is kept only for the keys
/// that it names: no affiliate connects them to other keys any more.
fn is_same_delete(next: &Intent, deleted: &User, time: FactTime) -> bool {
    matches!(next, Intent::Delete { user, time: next_time } if user == deleted && next_time.at() <= time.at())
}

impl Coalesced<'_> {
    /// The number of followers to try with the head instead, if a part may end otherwise than with `end`: a rejection may be about one
    /// event only; a follower may create an unknown user; an affiliate that edits leave alone may still be given a status. `None`: `end` is
    /// final.
    pub fn bisect(&self, end: &Step) -> Option<usize> {
        let demands = matches!(&*self.intent, Intent::Identify(Identify { status: Some(_), .. }));
        let divides = match end {
            Step::Dead(_) | Step::Done(Success::Ignored(Ignored::Mapping(_) | Ignored::OtherOwner(_))) => true,
            Step::Done(Success::Ignored(Ignored::LeftAlone { .. })) => demands,
            _ => false,
        };
        (divides && self.events > 1).then(|| self.events / 2 - 1)
    }

    /// The part of the saved progress that still holds. If another number of events was coalesced before, the marks of the former calls are
    /// dropped. An edit is not read back, because it may have had other values. The target of a delete is dropped, except by deletes, which
    /// are all about one affiliate.
    pub fn progress(&self, mut before: Progress) -> Progress {
        let coalesced = (self.events > 1).then_some(self.events);
        if before.coalesced != coalesced {
            (before.coalesced, before.may_have_taken_effect, before.coalesced_rejections) = (coalesced, false, 0);
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

/// Whether an identify can be the first of several. A moment in the future (a clock was ahead) counts as older for the head, but perhaps
/// not for its followers.
fn can_be_head(memory: &Memory, head: &Identify) -> bool {
    let known = [&memory.by_user_id, &memory.by_email].into_iter().flatten();
    let moments = known.filter_map(|known| known.sent.latest()).chain(memory.deleted_at());
    !head.may_only_create && moments.max().is_none_or(|latest| latest <= head.time.now())
}

fn coalesce_identifies(memory: &Memory, policy: Policy, head: &Identify, followers: &[Intent]) -> Coalesced<'static> {
    let state = leads_to(memory, policy, &Intent::Identify(head.clone()), &head.user);
    let may_begin = state.access == AffiliateAccess::Full
        && !state.deleted_since
        && (state.known.is_some() || matches!(head.creation, Creation::Allowed(_)));
    let known = state.known;
    let mut whole = head.clone();
    let mut events = 1;
    let mut received_at = head.time.received_at();
    for next in followers {
        let Intent::Identify(next) = next else { break };
        // Without a `userId`, only an Engage event may change an affiliate that has an owner.
        let may_differ = next.engage != head.engage && head.user.user_id.is_none();
        let is_later = next.time.received_at() >= received_at;
        let is_stale = is_from_before(next, policy, memory.deleted_at());
        if !may_begin || !is_of(&next.user, &head.user) || !is_later || is_stale || next.may_only_create || may_differ {
            break;
        }
        received_at = next.time.received_at();
        add(&mut whole, next, policy);
        events += 1;
    }
    if let Some(deletion @ Intent::Delete { user, .. }) = followers.get(events - 1)
        && may_begin
        && is_part_of(user, &head.user)
    {
        match &known {
            None => whole = only_created(head),
            Some(known)
                if has_email(memory, known, &head.user)
                    && leads_to(memory, policy, deletion, user).known.is_some_and(|it| it.code == known.code) =>
            {
                let intent = Cow::Owned(deletion.clone());
                return Coalesced { intent, events: events + 1, cancelled: events, superseded: Facts::default() };
            }
            Some(_) => {}
        }
    }
    // The events have one e-mail: another spelling of it replaces nothing.
    let is_replaced = |fact: &Fact| {
        fact.attribute != Field::Email.into()
            && whole.facts.get(&fact.attribute).is_some_and(|newest| newest.value != fact.value)
    };
    let superseded = head.facts.filtered(is_replaced);
    Coalesced { intent: Cow::Owned(Intent::Identify(whole)), events, cancelled: 0, superseded }
}

/// The state from which the delivery of an intent about `user` starts.
fn leads_to(memory: &Memory, policy: Policy, intent: &Intent, user: &User) -> PlanState {
    let memory = Memory {
        by_user_id: memory.by_user_id.clone().filter(|_| user.user_id.is_some()),
        by_email: memory.by_email.clone().filter(|_| user.email.is_some()),
        traits: None,
        ..*memory
    };
    PlanState::new(intent, policy, memory, Progress::default())
}

/// Whether the e-mail of `user` leads to `known` already, or `user` has none. Then an identify of `user` that is not delivered by itself
/// teaches the store no new key.
fn has_email(memory: &Memory, known: &AffiliateRecord, user: &User) -> bool {
    user.email.is_none() || memory.by_email.as_ref().is_some_and(|by_email| by_email.code == known.code)
}

/// Whether an identify of `next` changes the same affiliate as an identify of `head` just before.
fn is_of(next: &User, head: &User) -> bool {
    next.user_id == head.user_id && (next.email == head.email || next.email.is_none() && next.user_id.is_some())
}

/// Whether every key of `part` is one of `whole`.
fn is_part_of(part: &User, whole: &User) -> bool {
    let within = part.user_id.is_none() || part.user_id == whole.user_id;
    within && (part.email.is_none() || part.email == whole.email)
}

/// Adds the facts of `next`. The newer of two facts about one attribute counts, in the edit and, for attributes that `new` accepts, in the
/// creation.
fn add(whole: &mut Identify, next: &Identify, policy: Policy) {
    let supersedes = |earlier: FactTime| policy.on_stale == OnStale::Apply || next.time.supersedes(earlier.at());
    let newer = next.facts.filtered(|fact| whole.facts.get(&fact.attribute).is_none_or(|own| supersedes(own.time)));
    if let Creation::Allowed(new) = &mut whole.creation {
        let stays = |attribute: &Attribute| newer.get(attribute).is_none_or(|fact| !fact.value.is_empty());
        new.profile = new.profile.filtered(|attribute, _| stays(attribute));
        for fact in newer.iter().filter(|fact| matches!(fact.attribute, Attribute::Field(_))) {
            new.profile.set(fact.attribute.clone(), &*fact.value);
        }
    }
    whole.facts.replace(newer);
    if let Some(status) = next.status
        && whole.status.is_none_or(|own| supersedes(own.time))
    {
        whole.status = Some(status);
    }
}

/// Only the creation: a delete follows, which cancels the rest.
fn only_created(head: &Identify) -> Identify {
    Identify { facts: Facts::default(), status: None, ..head.clone() }
}
