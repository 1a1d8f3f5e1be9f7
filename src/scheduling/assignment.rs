//! The assignment of accounts to processes, by rendezvous hashing over the live processes. Accounts are sharded without a leader, and the
//! takeover of a dead process's accounts (failover) needs no election.
//!
//! In: the live processes, the owner of the account, and the process that asked for it. Out: the next move of this process. Each process
//! ranks all live ones by a hash of process and account; the account is assigned to the highest. A process asks a lower one for an account,
//! and gets it when none of its events is in flight. If a process starts or ends, only its own accounts move. Not every process can deliver
//! for every account, and only the process itself knows for which. So the highest process takes an account without a live owner at once,
//! and any other process that can deliver for it a little later. Invariants: a process takes only an account without a live owner; it asks
//! only for accounts that it can deliver for. Deliberately absent: moments; and the race of two processes that take an account at once, of
//! which the store lets one succeed.

use crate::domain::AccountName;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The id of one of the processes that share a store. Each start of a process draws a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u128);

/// The ownership of an account, as this process knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountOwnership {
    /// The owner, if it is alive.
    pub owner: Option<ReplicaId>,
    /// The process that asked the owner for the account last.
    pub asked_by: Option<ReplicaId>,
    /// Whether the account had no live owner at the last look, too. Then the process that it is assigned to does not take it, and any other
    /// process may.
    pub was_orphaned: bool,
}

/// The move of a process for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnershipMove {
    /// Change nothing.
    Stay,
    /// Take the account, which has no owner.
    Take,
    /// Ask the owner for the account.
    Ask,
    /// Give the account up, to the process that asked for it if there is one.
    Give(Option<ReplicaId>),
}

impl AccountOwnership {
    /// The next move of the process `me`; `can_deliver` says whether it can deliver for the account.
    pub fn next_move(
        &self,
        account: &AccountName,
        me: ReplicaId,
        live: &BTreeSet<ReplicaId>,
        can_deliver: bool,
    ) -> OwnershipMove {
        let asked_by = self.asked_by.filter(|asker| live.contains(asker));
        let above = |other: ReplicaId| rank(me, account) > rank(other, account);
        match self.owner {
            Some(owner) if owner == me => match asked_by.filter(|asker| *asker != me) {
                Some(asker) => OwnershipMove::Give(Some(asker)),
                None if can_deliver => OwnershipMove::Stay,
                None => OwnershipMove::Give(None),
            },
            _ if !can_deliver => OwnershipMove::Stay,
            Some(owner) if above(owner) && asked_by.is_none_or(above) => OwnershipMove::Ask,
            None if self.was_orphaned || live.iter().all(|other| *other == me || above(*other)) => OwnershipMove::Take,
            Some(_) | None => OwnershipMove::Stay,
        }
    }
}

fn rank(replica: ReplicaId, account: &AccountName) -> (u64, ReplicaId) {
    let hash = Sha256::new().chain_update(replica.0.to_be_bytes()).chain_update(account.as_str()).finalize();
    let first: [u8; 8] = std::array::from_fn(|i| hash[i]);
    (u64::from_be_bytes(first), replica)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Processes that share accounts, as a store would let them.
    #[derive(Default)]
    struct World {
        live: BTreeSet<ReplicaId>,
        accounts: BTreeMap<AccountName, AccountOwnership>,
        /// Free accounts that each process has seen.
        free: BTreeSet<(ReplicaId, AccountName)>,
        cannot_deliver: BTreeSet<(ReplicaId, AccountName)>,
        /// How often an account changed hands.
        moved: BTreeSet<AccountName>,
    }

    impl World {
        fn of(replicas: u128, accounts: usize) -> Self {
            let names = (0..accounts).map(|n| (AccountName::from(format!("account {n}")), AccountOwnership::default()));
            Self { live: (1..=replicas).map(ReplicaId).collect(), accounts: names.collect(), ..Self::default() }
        }

        fn looks(&mut self, me: ReplicaId) -> bool {
            let mut acted = false;
            for (name, owned) in &mut self.accounts {
                let alive = owned.owner.filter(|owner| self.live.contains(owner));
                let seen = (me, name.clone());
                let view = AccountOwnership { owner: alive, was_orphaned: self.free.contains(&seen), ..*owned };
                let next = view.next_move(name, me, &self.live, !self.cannot_deliver.contains(&seen));
                acted |= next != OwnershipMove::Stay || alive.is_none();
                self.free.remove(&seen);
                match next {
                    OwnershipMove::Stay if alive.is_none() => {
                        self.free.insert(seen);
                    }
                    OwnershipMove::Stay => {}
                    OwnershipMove::Ask => owned.asked_by = Some(me),
                    OwnershipMove::Take | OwnershipMove::Give(_) => {
                        let owner = if let OwnershipMove::Give(to) = next { to } else { Some(me) };
                        assert!(next == OwnershipMove::Take && alive.is_none() || alive == Some(me));
                        self.moved.insert(name.clone());
                        *owned = AccountOwnership { owner, ..AccountOwnership::default() };
                    }
                }
            }
            acted
        }

        /// All look again and again, until none has anything to do; how often.
        fn settle(&mut self) -> usize {
            for round in 0..10 {
                let all: Vec<ReplicaId> = self.live.iter().copied().collect();
                let acted = all.into_iter().filter(|me| self.looks(*me)).count();
                if acted == 0 {
                    return round;
                }
            }
            panic!("they do not come to rest");
        }

        fn owned_by(&self, replica: u128) -> BTreeSet<AccountName> {
            let owned = self.accounts.iter().filter(|(_, owned)| owned.owner == Some(ReplicaId(replica)));
            owned.map(|(name, _)| name.clone()).collect()
        }

        /// The highest that can deliver.
        fn is_in_its_place(&self, name: &AccountName, owned: &AccountOwnership) -> bool {
            let can = |replica: &&ReplicaId| !self.cannot_deliver.contains(&(**replica, name.clone()));
            owned.owner == self.live.iter().filter(can).copied().max_by_key(|replica| rank(*replica, name))
        }
    }

    #[test]
    fn every_account_is_assigned_to_the_highest_live_process_that_can_deliver_for_it() {
        for (replicas, cannot) in [(1, vec![]), (3, vec![]), (3, vec![1]), (4, vec![2, 4]), (2, vec![1, 2])] {
            let mut world = World::of(replicas, 60);
            for replica in &cannot {
                let names = world.accounts.keys().take(40).cloned();
                let pairs: Vec<_> = names.map(|name| (ReplicaId(*replica), name)).collect();
                world.cannot_deliver.extend(pairs);
            }
            if cannot.len() as u128 == replicas {
                // What nobody can deliver for stays free, however often they look.
                for me in [1, 2, 1, 2, 1].map(ReplicaId) {
                    world.looks(me);
                }
            } else {
                assert!(world.settle() <= 5, "{replicas} {cannot:?}");
            }
            assert!(world.accounts.iter().all(|(name, owned)| world.is_in_its_place(name, owned)), "{cannot:?}");
        }
    }

    #[test]
    fn accounts_are_spread_evenly() {
        let mut world = World::of(4, 2_000);
        world.settle();
        for replica in 1..=4 {
            assert!((400..600).contains(&world.owned_by(replica).len()), "{replica}");
        }
    }

    #[test]
    fn an_account_moves_only_from_a_process_that_leaves_or_to_one_that_joins() {
        let mut world = World::of(3, 300);
        world.settle();
        let (theirs, mut moved) = (world.owned_by(2), std::mem::take(&mut world.moved));
        assert_eq!(moved.len(), 300);
        world.live.remove(&ReplicaId(2));
        world.settle();
        moved = std::mem::take(&mut world.moved);
        assert_eq!(moved, theirs);
        world.live.insert(ReplicaId(9));
        world.settle();
        assert_eq!(world.moved, world.owned_by(9));
    }

    #[test]
    fn an_owner_gives_an_account_to_a_live_process_that_asked_and_otherwise_keeps_it() {
        let (me, asker) = (ReplicaId(1), ReplicaId(2));
        let account = AccountName::main();
        let owned = AccountOwnership { owner: Some(me), asked_by: Some(asker), was_orphaned: false };
        for (live, can_deliver, next) in [
            (vec![me, asker], true, OwnershipMove::Give(Some(asker))),
            (vec![me, asker], false, OwnershipMove::Give(Some(asker))),
            (vec![me], true, OwnershipMove::Stay),
            (vec![me], false, OwnershipMove::Give(None)),
        ] {
            assert_eq!(owned.next_move(&account, me, &live.into_iter().collect(), can_deliver), next);
        }
    }

    #[test]
    fn a_process_does_not_ask_twice_nor_for_what_a_higher_one_asked_for() {
        let account = AccountName::main();
        let mut by_rank: Vec<ReplicaId> = (1..=3).map(ReplicaId).collect();
        by_rank.sort_by_key(|replica| rank(*replica, &account));
        let [low, middle, high] = by_rank[..] else { panic!("three") };
        let live = BTreeSet::from([low, middle, high]);
        for (me, asked_by, next) in [
            (middle, None, OwnershipMove::Ask),
            (middle, Some(middle), OwnershipMove::Stay),
            (middle, Some(high), OwnershipMove::Stay),
            (high, Some(middle), OwnershipMove::Ask),
            (high, Some(ReplicaId(77)), OwnershipMove::Ask),
        ] {
            let owned = AccountOwnership { owner: Some(low), asked_by, was_orphaned: false };
            assert_eq!(owned.next_move(&account, me, &live, true), next, "{asked_by:?}");
        }
    }

    #[test]
    fn a_free_account_is_taken_by_the_highest_process_and_by_any_other_that_has_seen_it_free_before() {
        let account = AccountName::main();
        let live: BTreeSet<ReplicaId> = (1..=3).map(ReplicaId).collect();
        let mut ranked: Vec<ReplicaId> = live.iter().copied().collect();
        ranked.sort_by_key(|replica| rank(*replica, &account));
        let moves = |was_orphaned, can_deliver| {
            let free = AccountOwnership { was_orphaned, ..AccountOwnership::default() };
            ranked.iter().map(|me| free.next_move(&account, *me, &live, can_deliver)).collect::<Vec<_>>()
        };
        assert_eq!(moves(false, true), [OwnershipMove::Stay, OwnershipMove::Stay, OwnershipMove::Take]);
        assert_eq!(moves(true, true), [OwnershipMove::Take; 3]);
        assert_eq!(moves(true, false), [OwnershipMove::Stay; 3]);
    }
}
