//! The batcher of an account: it decides which pending calls go out next, and which of them share a request.
//!
//! In: calls, each with the handle of its delivery. Out: batches. First come, first served (FIFO), urgent calls before all others; an
//! `edit` or a `status_change` is batched with all pending calls of its kind. While two requests that could have been batched are in
//! flight, further ones go out only as full batches: calls gather meanwhile, so Refersion gets fewer requests the longer it takes. A batch
//! also waits for announced calls (of deliveries that have begun and made no call yet), but never for a fixed time. A batch that was split
//! goes out first, part by part. Invariants: a call that must go alone goes alone; no request names an affiliate twice. Deliberately
//! absent: the number of requests that may be in flight ([`super::AccountHealth`]), and making requests.

use crate::delivery::Call;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// The pending calls of one account; `T` is the handle of the delivery that waits for the reply.
#[derive(Debug)]
pub struct Batcher<T> {
    pending: VecDeque<QueuedCall<T>>,
    /// The remaining parts of each batch that was split. Of a batch, the last part goes out first.
    split: VecDeque<Vec<Calls<T>>>,
    /// The number of requests in flight that could have been batched.
    shareable: usize,
}

/// A call to go out.
#[derive(Debug)]
pub struct QueuedCall<T> {
    /// The call itself.
    pub call: Arc<Call>,
    /// It is batched with no other call.
    pub alone: bool,
    /// It goes before all calls that are not urgent, because the reply on which it rests is soon out of date. Only a delivery that has just
    /// had such a reply may have an urgent call, so the others do not starve.
    pub urgent: bool,
    /// Waits for the reply.
    pub waiter: T,
}

/// Calls that share a request, each with its waiter.
pub type Calls<T> = Vec<(Arc<Call>, T)>;

/// The calls of one request.
#[derive(Debug)]
pub struct Batch<T> {
    /// At least one.
    pub calls: Calls<T>,
    /// If the calls are a part of a batch that was split: the parts that go out after it, the last one first.
    pub later: Vec<Calls<T>>,
    /// Whether other calls could have shared the request.
    pub shareable: bool,
}

/// The largest batch size, in affiliates (API contract: the longest `status_change`; the contract states nothing for `edit`).
pub const MAX_BATCH: usize = 50;
/// With so many batches in flight, only a full one goes out.
const MAX_PARTIAL: usize = 2;

impl<T> Default for Batcher<T> {
    fn default() -> Self {
        Self { pending: VecDeque::new(), split: VecDeque::new(), shareable: 0 }
    }
}

impl<T> Batcher<T> {
    /// Adds a call behind those that are as urgent.
    pub fn push(&mut self, added: QueuedCall<T>) {
        let place =
            if added.urgent { self.pending.partition_point(|queued| queued.urgent) } else { self.pending.len() };
        self.pending.insert(place, added);
    }

    /// The next request, if one may go out. While `calls_are_announced`, only a request that cannot be batched goes out.
    pub fn next_batch(&mut self, calls_are_announced: bool) -> Option<Batch<T>> {
        if let Some(mut later) = self.split.pop_front() {
            return later.pop().map(|calls| Batch { calls, later, shareable: false });
        }
        let (indexes, shareable) = self.choose(calls_are_announced)?;
        self.shareable += usize::from(shareable);
        let mut calls = Vec::with_capacity(indexes.len());
        for index in indexes.into_iter().rev() {
            calls.extend(self.pending.remove(index).map(|pending| (pending.call, pending.waiter)));
        }
        calls.reverse();
        Some(Batch { calls, later: Vec::new(), shareable })
    }

    /// A request has ended; `shareable` is its [`Batch::shareable`], and `later` its [`Batch::later`] or the parts into which the request
    /// was split itself.
    pub fn on_ended(&mut self, shareable: bool, later: Vec<Calls<T>>) {
        self.shareable -= usize::from(shareable);
        if !later.is_empty() {
            self.split.push_back(later);
        }
    }

    /// Whether [`Batcher::next_batch`] would return a batch.
    pub fn has_batch(&self, calls_are_announced: bool) -> bool {
        !self.split.is_empty() || self.choose(calls_are_announced).is_some()
    }

    /// Drops all pending calls, and returns their waiters, so that they can be answered.
    pub fn clear(&mut self) -> Vec<T> {
        let split = self.split.drain(..).flatten().flatten().map(|(_, waiter)| waiter);
        split.chain(self.pending.drain(..).map(|pending| pending.waiter)).collect()
    }

    /// The indices of the calls that go next, and whether others could have shared their request.
    fn choose(&self, calls_are_announced: bool) -> Option<(Vec<usize>, bool)> {
        let mut held: Vec<&Call> = Vec::new();
        for (index, QueuedCall { call, alone, .. }) in self.pending.iter().enumerate() {
            if *alone || call.affiliate().is_none() {
                return Some((vec![index], false));
            }
            // A held call waits for a full batch. No later call of its kind would have a fuller one.
            if calls_are_announced || held.iter().any(|held| held.is_like(call)) {
                continue;
            }
            let together = self.batch_of(index);
            if self.shareable < MAX_PARTIAL || together.len() == MAX_BATCH {
                return Some((together, true));
            }
            held.push(call);
        }
        None
    }

    /// The indices of the call at `first` and of the later calls that share its request.
    fn batch_of(&self, first: usize) -> Vec<usize> {
        let head = &self.pending[first].call;
        let mut named = HashSet::from([head.affiliate()]);
        let later = self.pending.iter().enumerate().skip(first + 1);
        let fit = later.filter(|(_, QueuedCall { call, alone, .. })| {
            !alone && call.is_like(head) && named.insert(call.affiliate())
        });
        std::iter::once(first).chain(fit.map(|(index, _)| index)).take(MAX_BATCH).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Identifier;
    use crate::domain::{AffiliateId, AffiliateStatus, Profile};

    fn edit(id: u64) -> Call {
        Call::Edit { id: AffiliateId(id), changes: Profile::default() }
    }

    fn disable(id: u64) -> Call {
        Call::SetStatus { id: AffiliateId(id), status: AffiliateStatus::Disabled }
    }

    fn get(id: u64) -> Call {
        Call::Get(Identifier::Id(AffiliateId(id)))
    }

    fn queued(call: Call, waiter: usize) -> QueuedCall<usize> {
        QueuedCall { call: Arc::new(call), alone: false, urgent: false, waiter }
    }

    fn urgent(call: Call, waiter: usize) -> QueuedCall<usize> {
        QueuedCall { urgent: true, ..queued(call, waiter) }
    }

    fn alone(call: Call, waiter: usize) -> QueuedCall<usize> {
        QueuedCall { alone: true, ..queued(call, waiter) }
    }

    fn batcher(calls: impl IntoIterator<Item = Call>) -> Batcher<usize> {
        let mut batcher = Batcher::default();
        calls.into_iter().enumerate().for_each(|(waiter, call)| batcher.push(queued(call, waiter)));
        batcher
    }

    fn all(batcher: &mut Batcher<usize>) -> Vec<Vec<usize>> {
        let next =
            || batcher.next_batch(false).map(|batch| batch.calls.into_iter().map(|(_, waiter)| waiter).collect());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn calls_go_out_in_their_order_each_with_all_that_it_can_be_batched_with() {
        let mut batcher = batcher([get(1), edit(2), disable(3), get(4), edit(5), disable(6)]);
        assert_eq!(all(&mut batcher), [vec![0], vec![1, 4], vec![2, 5], vec![3]]);
    }

    #[test]
    fn urgent_calls_go_before_all_others_in_their_order() {
        let mut batcher = batcher([get(1), edit(2), get(3)]);
        batcher.push(urgent(disable(4), 3));
        batcher.push(urgent(disable(4), 4));
        batcher.push(queued(disable(5), 5));
        assert_eq!(all(&mut batcher), [vec![3, 5], vec![4], vec![0], vec![2]], "the edit waits for a request to end");
        batcher.on_ended(true, Vec::new());
        assert_eq!(all(&mut batcher), [[1]]);
    }

    #[test]
    fn one_request_names_no_affiliate_twice_and_one_status() {
        let deny = Call::SetStatus { id: AffiliateId(9), status: AffiliateStatus::Denied };
        assert_eq!(all(&mut batcher([edit(2), edit(2), edit(3)])), [vec![0, 2], vec![1]]);
        assert_eq!(all(&mut batcher([disable(2), deny, disable(3)])), [vec![0, 2], vec![1]]);
    }

    #[test]
    fn only_a_full_batch_goes_beside_two_requests() {
        let mut batcher = batcher([edit(1), disable(2)]);
        assert_eq!(all(&mut batcher).len(), MAX_PARTIAL);
        (0..MAX_BATCH as u64 - 1).for_each(|id| batcher.push(queued(edit(100 + id), 0)));
        assert!(batcher.next_batch(false).is_none());
        batcher.push(queued(get(1), 7));
        assert_eq!(all(&mut batcher), [[7]], "a call that cannot be batched overtakes");
        batcher.push(queued(edit(99), 0));
        assert_eq!(batcher.next_batch(false).map(|batch| batch.calls.len()), Some(MAX_BATCH));
        batcher.push(queued(edit(99), 0));
        batcher.on_ended(true, Vec::new());
        assert!(batcher.next_batch(false).is_none(), "two are still in flight");
        batcher.on_ended(true, Vec::new());
        assert_eq!(batcher.next_batch(false).map(|batch| batch.calls.len()), Some(1));
    }

    #[test]
    fn only_a_call_that_cannot_be_batched_goes_while_more_calls_are_announced() {
        let mut batcher = batcher([edit(1), get(2), edit(3)]);
        batcher.push(alone(edit(4), 3));
        let mut early =
            || batcher.next_batch(true).map(|batch| batch.calls.iter().map(|(_, waiter)| *waiter).collect::<Vec<_>>());
        assert_eq!((early(), early(), early()), (Some(vec![1]), Some(vec![3]), None));
        assert_eq!(all(&mut batcher), [[0, 2]], "the rest goes together once all are there");
    }

    #[test]
    fn the_parts_of_a_split_batch_go_first_and_one_after_another() {
        let mut batcher = batcher([edit(1), edit(2), edit(3)]);
        let Batch { mut calls, shareable, .. } = batcher.next_batch(false).expect("a batch");
        batcher.push(queued(get(4), 7));
        let second = calls.split_off(1);
        batcher.on_ended(shareable, vec![second, calls]);
        let first = batcher.next_batch(true).expect("a part");
        assert_eq!(first.calls.iter().map(|(_, waiter)| *waiter).collect::<Vec<_>>(), [0]);
        assert_eq!(all(&mut batcher), [[7]], "the second part waits for the end of the first");
        batcher.on_ended(first.shareable, first.later);
        assert_eq!(batcher.clear(), [1, 2]);
    }

    #[test]
    fn a_call_that_is_to_go_alone_goes_alone_at_once() {
        let mut batcher = batcher([edit(1)]);
        batcher.push(alone(edit(2), 1));
        batcher.push(queued(edit(3), 2));
        batcher.shareable = MAX_PARTIAL;
        assert_eq!(all(&mut batcher), [[1]]);
        batcher.shareable = 0;
        batcher.push(alone(edit(4), 3));
        assert_eq!(all(&mut batcher), [vec![0, 2], vec![3]]);
    }
}
