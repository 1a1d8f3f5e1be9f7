//! The decision about events to append: each is appended, a repeat, or of an unknown user. If the backlog (the queue) of an account has
//! reached `DELIVERY_MAX_BACKLOG` (`1000000`), it gets no further events (load shedding), and Segment gets 429 (backpressure).
//!
//! In: the events of one call, a lookup for each (with PostgreSQL, the `INSERT` of `store/postgres/append_rows.rs` finds the repeats that
//! were not looked up), and the number of pending events of each account. Out: one [`AppendDecision`] per event, or
//! [`StoreError::BacklogFull`], or [`StoreError::ExceedsBacklog`] if the call could never fit. Invariants: a call that does not fit appends
//! none of its events; a call of repeats only is answered even if the backlog is full; an event of an unknown user is appended if an
//! earlier event of the same call may make the user known.

use super::{NewEvent, StoreError};
use crate::domain::{AccountName, EventId, UserKey};
use std::collections::{BTreeMap, HashSet};

/// The store's lookup for an event to append.
#[derive(Clone, Copy, Debug)]
pub struct EventLookup {
    /// Whether the log has its id or its former id, as far as that was looked up.
    pub is_repeat: bool,
    /// Whether its user is known, or may become known by a pending event. Only for an event that applies to known users.
    pub may_be_known: bool,
}

/// The decision about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendDecision {
    /// It is appended.
    Append {
        /// The number of pending events of its account before it, of any user.
        pending: u64,
    },
    /// It was appended before.
    Duplicate,
    /// Its user is not known. If it is a delete, its moment is kept for its user keys.
    UnknownUser,
}

/// Decides about the events of one call. An account may have at most `max_backlog` pending events.
pub fn decide(
    events: &[NewEvent],
    lookups: &[EventLookup],
    pending: impl Fn(&AccountName) -> u64,
    max_backlog: u64,
) -> Result<Vec<AppendDecision>, StoreError> {
    let keys_matter = events.iter().any(|event| event.known_users_only.is_some());
    let (mut ids, mut keys) = (HashSet::<EventId>::new(), HashSet::<UserKey>::new());
    let mut backlogs: BTreeMap<&AccountName, u64> = BTreeMap::new();
    let mut decisions = Vec::with_capacity(events.len());
    for (event, lookup) in events.iter().zip(lookups) {
        let may_be_known = lookup.may_be_known || event.user_keys.iter().any(|key| keys.contains(key));
        decisions.push(if lookup.is_repeat || ids.contains(&event.id) {
            AppendDecision::Duplicate
        } else if event.known_users_only.is_some() && !may_be_known {
            AppendDecision::UnknownUser
        } else {
            let backlog = backlogs.entry(&event.account).or_insert_with(|| pending(&event.account));
            *backlog += 1;
            if events.len() > 1 {
                ids.insert(event.id);
            }
            if keys_matter {
                keys.extend(&event.user_keys);
            }
            AppendDecision::Append { pending: *backlog - 1 }
        });
    }
    match backlogs.into_iter().find(|(_, backlog)| *backlog > max_backlog) {
        Some((account, backlog)) if backlog - pending(account) > max_backlog => {
            Err(StoreError::ExceedsBacklog(max_backlog))
        }
        Some((account, _)) => Err(StoreError::BacklogFull(pending(account))),
        None => Ok(decisions),
    }
}

/// Refuses further events if they do not all fit into the backlogs. `events`: accounts, each with a number of further events.
pub fn check_backlogs<'a>(
    events: impl IntoIterator<Item = (&'a AccountName, u64)>,
    pending: impl Fn(&AccountName) -> u64,
    max_backlog: u64,
) -> Result<(), StoreError> {
    let mut more: BTreeMap<&AccountName, u64> = BTreeMap::new();
    events.into_iter().for_each(|(account, events)| *more.entry(account).or_default() += events);
    more.into_iter().try_for_each(|(account, more)| check_backlog(pending(account), more, max_backlog))
}

/// Refuses `more` further events of an account with `pending` pending ones if they do not fit.
pub fn check_backlog(pending: u64, more: u64, max_backlog: u64) -> Result<(), StoreError> {
    if pending + more > max_backlog { Err(StoreError::BacklogFull(pending)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::OutcomeCode;
    use crate::domain::Timestamp;
    use crate::store::KnownUsersOnly;

    const NEW: EventLookup = EventLookup { is_repeat: false, may_be_known: false };
    const REPEAT: EventLookup = EventLookup { is_repeat: true, may_be_known: false };
    const KNOWN: EventLookup = EventLookup { is_repeat: false, may_be_known: true };

    /// An event of the user `n`; `only`: for known users.
    fn event(n: u8, only: bool) -> NewEvent {
        NewEvent {
            account: AccountName::main(),
            id: EventId([n; 16]),
            former_id: None,
            user_keys: vec![UserKey::UserId([n; 16])],
            known_users_only: only.then_some(KnownUsersOnly {
                none_pending_up_to: None,
                deleted_at: None,
                if_unknown: OutcomeCode::UnknownUser,
            }),
            source: None,
            body: Vec::new(),
            received_at: Timestamp(0),
        }
    }

    fn append(pending: u64) -> AppendDecision {
        AppendDecision::Append { pending }
    }

    #[test]
    fn each_event_is_appended_unless_it_is_a_repeat_or_its_user_is_unknown() {
        let events = [event(1, false), event(2, false), event(1, false), event(3, true), event(4, true)];
        let decided = decide(&events, &[NEW, REPEAT, NEW, NEW, KNOWN], |_| 5, 9);
        let expected =
            [append(5), AppendDecision::Duplicate, AppendDecision::Duplicate, AppendDecision::UnknownUser, append(6)];
        assert_eq!(decided.as_deref(), Ok(&expected[..]));
        let twice = decide(&[event(1, false), event(1, false)], &[NEW, NEW], |_| 5, 9);
        assert_eq!(twice, Ok(vec![append(5), AppendDecision::Duplicate]), "two events are enough for a repeat");
    }

    #[test]
    fn an_event_before_it_in_the_call_may_make_a_user_known() {
        let same_user = |id| NewEvent { id: EventId([id; 16]), ..event(7, true) };
        let events = [same_user(1), event(7, false), same_user(2), same_user(1)];
        let decided = decide(&events, &[NEW; 4], |_| 0, 9);
        assert_eq!(decided.as_deref(), Ok(&[AppendDecision::UnknownUser, append(0), append(1), append(2)][..]));
        let user_keys = vec![UserKey::UserId([7; 16]), UserKey::Email([8; 16])];
        let events = [event(7, true), NewEvent { user_keys, ..same_user(1) }];
        let decided = decide(&events, &[KNOWN, NEW], |_| 0, 9);
        assert_eq!(decided, Ok(vec![append(0), append(1)]), "by one of its keys, though all are for known users");
    }

    #[test]
    fn a_call_that_does_not_fit_is_refused_as_a_whole_and_repeats_take_no_room() {
        let events = [event(1, false), event(2, false)];
        assert_eq!(decide(&events, &[NEW, NEW], |_| 8, 9), Err(StoreError::BacklogFull(8)));
        assert_eq!(
            decide(&events, &[NEW, NEW], |_| 1, 2),
            Err(StoreError::BacklogFull(1)),
            "it fits once none is pending"
        );
        assert_eq!(decide(&events, &[NEW, REPEAT], |_| 8, 9), Ok(vec![append(8), AppendDecision::Duplicate]));
        assert_eq!(decide(&events, &[REPEAT, REPEAT], |_| 99, 9), Ok(vec![AppendDecision::Duplicate; 2]));
        let other = NewEvent { account: AccountName::from("other".to_owned()), ..event(2, false) };
        assert_eq!(decide(&[event(1, false), other], &[NEW, NEW], |_| 8, 9), Ok(vec![append(8); 2]));
        assert_eq!(
            decide(&[event(1, false), event(2, false)], &[NEW, NEW], |_| 0, 1),
            Err(StoreError::ExceedsBacklog(1))
        );
        assert_eq!(decide(&[event(1, false), event(2, false)], &[NEW, REPEAT], |_| 0, 1).map(|all| all.len()), Ok(2));
        assert_eq!((check_backlog(8, 1, 9), check_backlog(8, 2, 9)), (Ok(()), Err(StoreError::BacklogFull(8))));
        let (main, other) = (AccountName::main(), AccountName::from("other".to_owned()));
        assert_eq!(check_backlogs([(&main, 1), (&other, 1)], |_| 8, 9), Ok(()));
        assert_eq!(check_backlogs([(&main, 1), (&other, 1), (&main, 1)], |_| 8, 9), Err(StoreError::BacklogFull(8)));
    }
}
