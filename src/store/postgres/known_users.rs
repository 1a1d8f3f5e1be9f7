//! The decision whether the user of an event for known users only is known, or may become known by a pending event or a dead letter.
//!
//! In: the calls of a group, whose accounts are locked. Out: an answer for each event. Pending events are read before links, so one of the
//! two reads sees a settlement that commits in between. Invariants: if more events are pending than are read, the user counts as possibly
//! known; a seq that was read from another server counts for nothing, because this one may have given it to another event. Nothing is read
//! for a group without such events, as nearly every group is.

use super::accounts::Locked;
use super::remembered;
use super::session::Session;
use super::shared::Shared;
use crate::domain::{AccountName, Seq, UserKey};
use crate::store::{KnownUsersOnly, NewEvent, user_keys};
use futures_util::future::try_join3;
use std::collections::{HashMap, HashSet};
use tokio_postgres::Error;

/// The most pending events of an account that are examined.
const EXAMINED: i64 = 1_000;

/// Reads by the index of pending events, beginning at a bound: see [`super::read`].
const PENDING: &str = "SELECT seq, keys FROM log WHERE outcome IS NULL AND (account, seq) > ($1, $2) AND account <= $1
                       ORDER BY account, seq LIMIT $3";
const LINKED: &str = "SELECT key FROM links WHERE key = ANY ($1)";
/// The user keys of dead letters with a body, and whether one of these may make its user known. An `unmappable` one, without a value that
/// Refersion requires, cannot.
const DEAD: &str = "SELECT key, bool_or(code <> 'unmappable') FROM dead_keys JOIN dead_letters USING (seq)
                    WHERE key = ANY ($1) AND body IS NOT NULL GROUP BY key";

/// The known users, and the pending events.
#[derive(Debug, Default)]
pub struct KnownUsers<'a> {
    linked: HashSet<Vec<u8>>,
    /// The user keys of dead letters, and whether one of these may make its user known. A delete erases all of them.
    dead: HashMap<Vec<u8>, bool>,
    /// The user keys with remembered traits, which a delete erases.
    remembered: HashSet<Vec<u8>>,
    pending: HashMap<&'a AccountName, PendingPage>,
}

/// The first pending events of an account.
#[derive(Debug, Default)]
struct PendingPage {
    /// The seq after which they begin.
    after: Seq,
    /// The number of the lease under which this process reads events of the account from this server.
    lease: Option<u64>,
    events: Vec<(Seq, Vec<u8>)>,
    /// Whether there are more pending events.
    more: bool,
}

impl PendingPage {
    /// The seq up to which no event of the user of such an event is pending, if that was read from this server.
    fn none_up_to(&self, only: KnownUsersOnly) -> Option<Seq> {
        only.none_pending_up_to.filter(|read| Some(read.lease) == self.lease).map(|read| read.seq)
    }
}

impl<'a> KnownUsers<'a> {
    /// Reads the state for the events of `group` that are for known users only.
    pub async fn read(
        session: &Session,
        locked: &Locked,
        group: &'a [Vec<NewEvent>],
        shared: &Shared,
    ) -> Result<Self, Error> {
        let mut known = Self::default();
        let mut users = HashSet::new();
        for event in group.iter().flatten() {
            let (Some(only), Some(row)) = (event.known_users_only, locked.get(&event.account)) else { continue };
            let page = known.pending.entry(&event.account).or_insert_with(|| {
                let lease = shared.leases.number_on(&event.account, row.server);
                PendingPage { after: Seq(i64::MAX), lease, ..PendingPage::default() }
            });
            let first = Seq(shared.backlogs.first_on(row.server, &event.account).0 - 1);
            page.after = page.after.min(page.none_up_to(only).map_or(first, |seq| seq.max(first)));
            users.extend(&event.user_keys);
        }
        if users.is_empty() {
            return Ok(known);
        }
        for (account, page) in &mut known.pending {
            let rows = session.query(PENDING, &[&locked.number(account), &page.after.0, &EXAMINED]).await?;
            page.more = rows.len() as u64 == EXAMINED.unsigned_abs();
            page.events = rows.iter().map(|row| (Seq(row.get(0)), row.get(1))).collect();
        }
        let links: Vec<Vec<u8>> = users.iter().map(|key| user_keys::tagged(key).to_vec()).collect();
        let hashes: Vec<&[u8]> = users.iter().map(|key: &UserKey| key.bytes().as_slice()).collect();
        let (links, hashes) = ([&links as _], [&hashes as _]);
        let remembered = session.query(remembered::KNOWN, &hashes);
        let read = try_join3(session.query(LINKED, &links), session.query(DEAD, &hashes), remembered).await?;
        let (linked, dead, remembered) = read;
        known.linked = linked.iter().map(|row| row.get(0)).collect();
        known.dead = dead.iter().map(|row| (row.get(0), row.get(1))).collect();
        known.remembered = remembered.iter().map(|row| row.get(0)).collect();
        Ok(known)
    }

    /// Whether the user of this event is known, or may be.
    pub fn may_be_known(&self, event: &NewEvent, only: KnownUsersOnly) -> bool {
        let is_delete = only.deleted_at.is_some();
        let is_known = |key: &UserKey| {
            self.linked.contains(user_keys::tagged(key).as_slice())
                || self.dead.get(key.bytes().as_slice()).is_some_and(|may_make_known| is_delete || *may_make_known)
                || is_delete && self.remembered.contains(key.bytes().as_slice())
        };
        event.user_keys.iter().any(is_known) || self.may_be_pending(event, only)
    }

    fn may_be_pending(&self, event: &NewEvent, only: KnownUsersOnly) -> bool {
        let Some(pending) = self.pending.get(&event.account) else { return true };
        let none_up_to = pending.none_up_to(only);
        let is_later = |seq: Seq| none_up_to.is_none_or(|none_up_to| seq > none_up_to);
        let is_theirs = |stored: &[u8]| {
            user_keys::from_blob(stored).is_none_or(|keys| keys.iter().any(|key| event.user_keys.contains(key)))
        };
        pending.more || pending.events.iter().any(|(seq, stored)| is_later(*seq) && is_theirs(stored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::OutcomeCode;
    use crate::domain::{EventId, Timestamp};
    use crate::store::ReadUpTo;

    #[test]
    fn a_user_counts_as_known_while_more_events_are_pending_than_were_read() {
        let account = AccountName::main();
        let event = NewEvent {
            account: account.clone(),
            id: EventId([1; 16]),
            former_id: None,
            user_keys: vec![UserKey::UserId([1; 16])],
            known_users_only: None,
            source: None,
            body: Vec::new(),
            received_at: Timestamp(1),
        };
        for (more, read_up_to, may_be_known) in
            [(true, 10, true), (true, 1_010, true), (true, 2_000, true), (false, 1_010, false)]
        {
            let last = (Seq(1_010), user_keys::to_blob(&[UserKey::UserId([2; 16])]));
            let page = PendingPage { lease: Some(1), events: vec![last], more, ..PendingPage::default() };
            let known = KnownUsers { pending: HashMap::from([(&account, page)]), ..KnownUsers::default() };
            let only = KnownUsersOnly {
                none_pending_up_to: Some(ReadUpTo { lease: 1, seq: Seq(read_up_to) }),
                deleted_at: None,
                if_unknown: OutcomeCode::UnknownUser,
            };
            assert_eq!(known.may_be_known(&event, only), may_be_known, "more: {more}, read up to {read_up_to}");
        }
    }
}
