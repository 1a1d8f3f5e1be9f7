//! Whose turn it is: which of the calls that wait are made next, and which of them in one request.
//!
//! First come, first served; an `edit` or a `status_change` takes along all that can go with it. While two such requests
//! are under way, further ones wait until they are full: what gathers meanwhile goes together, so the busier Refersion is,
//! the fewer requests it gets. Such a one also waits for those that are on their way, but for no length of time.
//! Invariant: what asks to go alone goes alone. Pure.

use super::Call;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// The calls that wait; `T` is who waits.
#[derive(Debug)]
pub struct Turns<T> {
    waiting: VecDeque<Waiting<T>>,
    /// How many requests are under way that might have taken others along.
    joint: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    call: Arc<Call>,
    alone: bool,
    who: T,
}

/// One request.
#[derive(Debug)]
pub struct Turn<T> {
    /// Its calls, at least one, each with who waits for it.
    pub calls: Vec<(Arc<Call>, T)>,
    joint: bool,
}

/// No request takes more affiliates (API contract: the longest `status_change`; for `edit` nothing is said).
pub const FULL: usize = 50;
/// So many requests that might take others along go before they are full.
const EARLY: usize = 2;

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), joint: 0 }
    }
}

impl<T> Turns<T> {
    /// `who` waits for a turn of `call`.
    pub fn wait(&mut self, call: Arc<Call>, alone: bool, who: T) {
        self.waiting.push_back(Waiting { call, alone, who });
    }

    /// The next request, if one may go. While `more` are about to wait, only one that can take nobody along.
    pub fn take(&mut self, more: bool) -> Option<Turn<T>> {
        let (places, joint) = self.next(more)?;
        self.joint += usize::from(joint);
        let mut calls = Vec::with_capacity(places.len());
        for place in places.into_iter().rev() {
            calls.extend(self.waiting.remove(place).map(|waiting| (waiting.call, waiting.who)));
        }
        calls.reverse();
        Some(Turn { calls, joint })
    }

    /// The request `joint` belongs to has ended.
    pub fn ended(&mut self, joint: bool) {
        self.joint -= usize::from(joint);
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nobody waits any longer; who did.
    pub fn clear(&mut self) -> Vec<T> {
        self.waiting.drain(..).map(|waiting| waiting.who).collect()
    }

    /// The places of those that go next; and whether they might have taken others along.
    fn next(&self, more: bool) -> Option<(Vec<usize>, bool)> {
        let mut held: Vec<&Call> = Vec::new();
        for (place, Waiting { call, alone, .. }) in self.waiting.iter().enumerate() {
            if *alone || call.affiliate().is_none() {
                return Some((vec![place], false));
            }
            // What waits until it is full: nothing like it, further behind, would be fuller.
            if more || held.iter().any(|held| held.is_like(call)) {
                continue;
            }
            let together = self.with(place);
            if self.joint < EARLY || together.len() == FULL {
                return Some((together, true));
            }
            held.push(call);
        }
        None
    }

    /// The places of the call at `first` and of those that go with it and with one another.
    fn with(&self, first: usize) -> Vec<usize> {
        let head = &self.waiting[first].call;
        let mut named = HashSet::from([head.affiliate()]);
        let behind = self.waiting.iter().enumerate().skip(first + 1);
        let fit = behind
            .filter(|(_, Waiting { call, alone, .. })| !alone && call.is_like(head) && named.insert(call.affiliate()));
        std::iter::once(first).chain(fit.map(|(place, _)| place)).take(FULL).collect()
    }
}

impl<T> Turn<T> {
    /// Whether it might take others along: what [`Turns::ended`] is to be told.
    pub fn is_joint(&self) -> bool {
        self.joint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Identifier;
    use crate::domain::{AffiliateId, Profile, Status};

    fn edit(id: u64) -> Call {
        Call::Edit { id: AffiliateId(id), changes: Profile::default() }
    }

    fn disable(id: u64) -> Call {
        Call::SetStatus { id: AffiliateId(id), status: Status::Disabled }
    }

    fn get(id: u64) -> Call {
        Call::Get(Identifier::Id(AffiliateId(id)))
    }

    fn turns(calls: impl IntoIterator<Item = Call>) -> Turns<usize> {
        let mut turns = Turns::default();
        calls.into_iter().enumerate().for_each(|(who, call)| turns.wait(Arc::new(call), false, who));
        turns
    }

    fn all(turns: &mut Turns<usize>) -> Vec<Vec<usize>> {
        let next = || turns.take(false).map(|turn| turn.calls.into_iter().map(|(_, who)| who).collect());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn calls_go_in_their_order_and_take_along_what_goes_with_them() {
        let mut turns = turns([get(1), edit(2), disable(3), get(4), edit(5), disable(6)]);
        assert_eq!(all(&mut turns), [vec![0], vec![1, 4], vec![2, 5], vec![3]]);
    }

    #[test]
    fn one_request_names_no_affiliate_twice_and_one_status() {
        let deny = Call::SetStatus { id: AffiliateId(9), status: Status::Denied };
        assert_eq!(all(&mut turns([edit(2), edit(2), edit(3)])), [vec![0, 2], vec![1]]);
        assert_eq!(all(&mut turns([disable(2), deny, disable(3)])), [vec![0, 2], vec![1]]);
    }

    #[test]
    fn beside_two_requests_only_a_full_one_goes() {
        let mut line = turns([edit(1), disable(2)]);
        assert_eq!(all(&mut line).len(), EARLY);
        (0..FULL as u64 - 1).for_each(|id| line.wait(Arc::new(edit(100 + id)), false, 0));
        assert!(line.take(false).is_none());
        line.wait(Arc::new(get(1)), false, 7);
        assert_eq!(all(&mut line), [[7]], "what can take nobody along passes");
        line.wait(Arc::new(edit(99)), false, 0);
        assert_eq!(line.take(false).map(|turn| turn.calls.len()), Some(FULL));
        line.wait(Arc::new(edit(99)), false, 0);
        line.ended(true);
        assert!(line.take(false).is_none(), "two are still under way");
        line.ended(true);
        assert_eq!(line.take(false).map(|turn| turn.calls.len()), Some(1));
    }

    #[test]
    fn while_more_are_about_to_wait_only_what_can_take_nobody_along_goes() {
        let mut line = turns([edit(1), get(2), edit(3)]);
        line.wait(Arc::new(edit(4)), true, 3);
        let mut early = || line.take(true).map(|turn| turn.calls.iter().map(|(_, who)| *who).collect::<Vec<_>>());
        assert_eq!((early(), early(), early()), (Some(vec![1]), Some(vec![3]), None));
        assert_eq!(all(&mut line), [[0, 2]], "those that go together do so once all are there");
    }

    #[test]
    fn who_asks_to_go_alone_goes_alone_at_once() {
        let mut line = turns([edit(1)]);
        line.wait(Arc::new(edit(2)), true, 1);
        line.wait(Arc::new(edit(3)), false, 2);
        line.joint = EARLY;
        assert_eq!(all(&mut line), [[1]]);
        line.joint = 0;
        assert_eq!(all(&mut line), [[0, 2]]);
    }
}
