//! Saving the progress of attempts, and settling them: a group is one transaction of three round trips.
//!
//! In: the results of attempts. Out: nothing, or the reason why a request was refused. The first round trip locks the rows of the accounts;
//! requests for the same accounts that arrive while it waits join the group. The second one reads the pending events; the third one writes
//! and commits. A group that changes remembered traits takes one more. Invariants: an account is not changed ([`StoreError::NotOwner`]) if
//! its row does not have the token of this process's lease, or if another server confirmed this token; a unit is not changed if its head is
//! not pending; changes of the affiliate index are written in the same transaction. [`crate::store::rows`] decides what is written.

use super::accounts::{self, AccountNumber, Locked};
use super::affiliates::{self, ToRemember};
use super::committer::Committer;
use super::leases::LeaseToken;
use super::remembered;
use super::session::Session;
use super::settle_rows::{self, SettledRows};
use super::shared::Shared;
use crate::delivery::Progress;
use crate::domain::{AccountName, Seq, Timestamp};
use crate::failpoint;
use crate::scheduling::Unit;
use crate::store::rows::attempts::AttemptRecord;
use crate::store::{AffiliateChanges, CommitObserver, Settlement, StoreError};
use async_trait::async_trait;
use futures_util::future::{try_join, try_join3};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio_postgres::{Error, Row};

/// The most requests in a group.
const MAX_GROUP: usize = 256;

const EVENTS: &str = "SELECT seq, account, received_at, outcome FROM log WHERE seq = ANY ($1)";
/// The columns of [`AttemptRecord::read`], and the seq.
pub const ATTEMPTS: &str = "SELECT begun, followers, progress, failures, failing_for, wait, noted_at, history, seq
    FROM attempts WHERE seq = ANY ($1)";

/// The result of an attempt.
#[derive(Debug)]
pub enum AttemptUpdate {
    /// The attempt continues, with this progress.
    Progress(Progress),
    /// The attempt ended.
    End(Settlement),
}

/// A request to save progress or to settle.
#[derive(Debug)]
pub struct Settle {
    /// The account of the unit.
    pub account: AccountName,
    /// The token by which this process holds the account.
    pub token: LeaseToken,
    /// The unit.
    pub unit: Unit,
    /// The result of the attempt.
    pub update: AttemptUpdate,
    /// The changes of the affiliate index.
    pub changes: AffiliateChanges,
}

impl Settle {
    /// The events that it changes.
    fn seqs(&self) -> impl Iterator<Item = Seq> + '_ {
        let done = match &self.update {
            AttemptUpdate::End(Settlement::Done { followers, .. }) => followers.as_slice(),
            _ => &[],
        };
        self.unit.seqs().chain(done.iter().map(|(seq, _)| *seq))
    }

    /// Whether it erases data. The data must be read first.
    fn erases(&self) -> bool {
        !self.changes.forget.is_empty() || !self.changes.erase.is_empty() || self.changes.deleted_at.is_some()
    }

    fn overlaps(&self, other: &Self) -> bool {
        let remember = self.changes.remember.as_ref().zip(other.changes.remember.as_ref());
        let traits = self.changes.traits.as_ref().zip(other.changes.traits.as_ref());
        remember.is_some_and(|(one, another)| self.account == other.account && affiliates::overlap(one, another))
            || traits.is_some_and(|(one, another)| one.user() == another.user())
            || self.seqs().any(|seq| seq == other.unit.head)
            || other.seqs().any(|seq| seq == self.unit.head)
    }
}

/// Commits [`Settle`] requests.
#[derive(Debug)]
pub struct Settler(pub Arc<Shared>);

#[async_trait]
impl Committer for Settler {
    type Request = Settle;
    type Output = ();

    fn observer(&self) -> &CommitObserver {
        &self.0.published.observer
    }

    fn joins(&self, group: &[Settle], next: &Settle) -> bool {
        group.len() < MAX_GROUP
            && !next.erases()
            && !group.iter().any(|earlier| earlier.erases() || earlier.overlaps(next))
    }

    async fn begin(&self, session: &Session, group: &[Settle]) -> Result<Locked, Error> {
        session.prepare(&[EVENTS, ATTEMPTS]).await?;
        session.prepare(affiliates::STATEMENTS).await?;
        session.prepare(settle_rows::STATEMENTS).await?;
        session.begin_locked(&accounts::distinct(group.iter().map(|settle| &settle.account))).await
    }

    fn joins_begun(&self, locked: &Locked, group: &[Settle], next: &Settle) -> bool {
        locked.get(&next.account).is_some() && self.joins(group, next)
    }

    async fn commit(
        &self,
        session: &Session,
        locked: &Locked,
        group: &[Settle],
    ) -> Result<Vec<Result<(), StoreError>>, Error> {
        let read = SettleReading::read(session, group).await?;
        let answers: Vec<Result<(), StoreError>> = group.iter().map(|settle| read.check(locked, settle)).collect();
        let accepted = || group.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(settle, _)| settle);
        let (mut rows, mut remember, mut traits) = (SettledRows::default(), Vec::new(), Vec::new());
        for settle in accepted() {
            if settle.erases() {
                let received_at = read.received_at(&settle.unit);
                affiliates::erase(session, &self.0, &settle.account, &settle.changes, received_at).await?;
            }
            let number = settle.token.account;
            if let Some(affiliate) = &settle.changes.remember {
                remember.push(ToRemember::new(&self.0.hash, &settle.account, number, affiliate));
            }
            traits.extend(settle.changes.traits.as_ref().map(|change| (number, change)));
            read.write_into(&mut rows, settle);
        }
        remembered::apply(session, &traits).await?;
        let is_settled = accepted().any(|settle| matches!(settle.update, AttemptUpdate::End(_)));
        failpoint::reach(if is_settled { "store::settle" } else { "store::save_progress" });
        try_join3(affiliates::save(session, &remember), rows.write(session), session.run_statements("COMMIT")).await?;
        let mut ended: BTreeMap<&AccountName, u64> = BTreeMap::new();
        for settle in accepted() {
            let seqs: BTreeSet<Seq> = settle.seqs().filter(|seq| rows.ends(*seq)).collect();
            *ended.entry(&settle.account).or_default() += seqs.len() as u64;
        }
        self.0.backlogs.ended(ended, rows.dead_letters());
        Ok(answers)
    }
}

/// The rows of the second round trip.
struct SettleReading {
    /// Pending events.
    events: HashMap<Seq, (AccountNumber, Timestamp)>,
    /// `None`: the row is damaged.
    attempts: HashMap<Seq, Option<AttemptRecord>>,
}

impl SettleReading {
    async fn read(session: &Session, group: &[Settle]) -> Result<Self, Error> {
        let seqs: Vec<i64> = group.iter().flat_map(Settle::seqs).map(|seq| seq.0).collect();
        let heads: Vec<i64> = group.iter().map(|settle| settle.unit.head.0).collect();
        let (seqs, heads) = ([&seqs as _], [&heads as _]);
        let (events, attempts) = try_join(session.query(EVENTS, &seqs), session.query(ATTEMPTS, &heads)).await?;
        let is_pending = |row: &&Row| row.get::<_, Option<i16>>(3).is_none();
        Ok(Self {
            events: events
                .iter()
                .filter(is_pending)
                .map(|row| (Seq(row.get(0)), (row.get(1), Timestamp(row.get(2)))))
                .collect(),
            attempts: attempts.iter().map(|row| (Seq(row.get(8)), AttemptRecord::read(row, 0).ok())).collect(),
        })
    }

    fn check(&self, locked: &Locked, settle: &Settle) -> Result<(), StoreError> {
        if !locked.is_held_by(&settle.account, settle.token) {
            return Err(StoreError::NotOwner);
        }
        if self.is_pending(settle.unit.head, settle.token.account) { Ok(()) } else { Err(StoreError::NotPending) }
    }

    fn is_pending(&self, seq: Seq, account: AccountNumber) -> bool {
        self.events.get(&seq).is_some_and(|(number, _)| *number == account)
    }

    /// When the last event of the unit was received.
    fn received_at(&self, unit: &Unit) -> Timestamp {
        let received = unit.seqs().filter_map(|seq| self.events.get(&seq)).map(|(_, at)| *at);
        received.max().unwrap_or_default()
    }

    /// Adds the rows of an accepted request.
    fn write_into(&self, rows: &mut SettledRows, settle: &Settle) {
        let head = settle.unit.head;
        let Some((number, _)) = self.events.get(&head) else { return };
        let attempts = self.attempts.get(&head).cloned().unwrap_or_else(|| Some(AttemptRecord::default()));
        match &settle.update {
            AttemptUpdate::Progress(progress) => {
                rows.save_attempts(head, attempts.map(|record| record.begun(&settle.unit, progress)));
            }
            AttemptUpdate::End(Settlement::Done { outcome, followers }) => {
                rows.end(head, *outcome);
                for (seq, outcome) in followers.iter().filter(|(seq, _)| self.is_pending(*seq, *number)) {
                    rows.end(*seq, *outcome);
                }
            }
            AttemptUpdate::End(Settlement::Dead { outcome, reason, at }) => {
                // A damaged row of its attempts counts as empty, because it was reported when the event was begun.
                let AttemptRecord { attempts, history } = attempts.unwrap_or_default();
                rows.keep_dead(head, *outcome, reason, *at, attempts.failures, history.as_deref());
                rows.end(head, *outcome);
            }
            AttemptUpdate::End(settlement) => {
                rows.save_attempts(head, attempts.map(|record| record.settled(head, settlement)));
            }
        }
    }
}
