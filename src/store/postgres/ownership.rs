//! Ownership of accounts in the tables `accounts` and `replicas`: one owner per account, by a token.
//!
//! In: renewals by the caller, and hints of other processes. Out: leases. One heartbeat, the row of this process in `replicas`, renews all
//! its leases. All moments in the tables are of the database's clock; the leases of this process are measured by its monotonic clock, from
//! just before the heartbeat was sent. Invariants:
//! - Each takeover draws another random fencing token. A counter could give the same token twice after the failover to a standby that lags.
//! - Each settlement compares the token with the locked row of the account. The token of an old owner (a zombie) no longer matches, so its
//!   writes fail, and there is no split brain.
//! - After every reconnect each account gets a new lease, so its scheduler is rebuilt. If the server is another one by then, or was started
//!   again (behind a pooler only the start of the server shows a change), no event in flight is settled: the server may lack the event, and
//!   may have given its seq to another event. The delivery counts as interrupted, as by a crash.
//!
//! Deliberately absent: the assignment of accounts ([`AccountOwnership::next_move`](crate::scheduling::AccountOwnership::next_move)), the
//! moves that follow from it ([`super::ownership_moves`]), and statements ([`super::owners`]).

use super::PostgresStore;
use super::accounts::{AccountNumber, as_str};
use super::leases::LeaseEnd;
use super::listen::HintMessage;
use super::owners::{self, AccountRow, HeartbeatResult, replica, uuid};
use crate::domain::{AccountName, EventId, Seq, Timestamp};
use crate::scheduling::{OwnershipMove, ReplicaId};
use crate::store::{DoneElsewhere, Hint, Lease, Ownership, StoreError};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use uuid::Uuid;

/// The renewals after which all accounts are examined. They are examined also when a process started or ended.
const LOOK_AT_ALL: u32 = 16;

/// The time without a heartbeat after which a process counts as dead, and the times that are derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes(pub Duration);

impl LeaseTimes {
    /// The time between two heartbeats.
    fn renew_every(self) -> Duration {
        self.0 / 8
    }

    /// How long after a heartbeat requests may be sent to Refersion. The margin, three eighths of the lease, is for requests that were sent
    /// just before: they have their effect before another process can take the account over.
    fn send_for(self) -> Duration {
        self.0 * 5 / 8
    }

    /// The lease in milliseconds, for the database.
    fn millis(self) -> f64 {
        self.0.as_secs_f64() * 1_000.0
    }
}

/// This process among those that share the database.
#[derive(Debug)]
pub struct Replica {
    pub(super) times: LeaseTimes,
    notifications: Mutex<UnboundedReceiver<String>>,
    last: Mutex<LastRenewal>,
}

impl Replica {
    /// This process, without accounts. `notifications` receives the texts of notifications.
    pub fn new(times: LeaseTimes, notifications: UnboundedReceiver<String>) -> Self {
        Self { times, notifications: Mutex::new(notifications), last: Mutex::default() }
    }
}

/// The state at the last renewal.
#[derive(Debug, Default)]
struct LastRenewal {
    /// The number of sessions of the owner's connection.
    sessions: u64,
    /// When the server was started.
    server: Option<SystemTime>,
    live: BTreeSet<ReplicaId>,
    candidates: BTreeSet<AccountName>,
    free: BTreeSet<AccountName>,
    renewals: u32,
}

impl PostgresStore {
    /// Renews the heartbeat, and reads the live processes and the accounts that concern this process, or all.
    async fn heartbeat(
        &self,
        last: &LastRenewal,
        candidates: &BTreeSet<AccountName>,
        look_at_all: bool,
    ) -> Result<HeartbeatResult, StoreError> {
        let (me, millis, is_first) = (uuid(self.shared.hints.me), self.replica.times.millis(), last.renewals == 0);
        let new: Vec<AccountName> = candidates.difference(&last.candidates).cloned().collect();
        let read = self.listen.transaction(move |session| {
            let which = (is_first, look_at_all);
            Box::pin(async move { owners::heartbeat(session, me, millis, &as_str(&new), which).await })
        });
        read.await
    }

    fn in_another_server(&self) {
        tracing::info!("PostgreSQL was started again, or a standby was promoted: deliveries in flight are interrupted");
        self.shared.backlogs.in_another_session();
        for account in self.shared.leases.held() {
            self.shared.leases.end(&account, LeaseEnd::Lost);
        }
    }

    /// Ends the leases of accounts that belong to another process by now, and adds leases of accounts that this process was given.
    fn compare(&self, heartbeat: &HeartbeatResult) {
        let leases = &self.shared.leases;
        let mine = heartbeat.accounts.iter().filter(|row| row.owner.map(replica) == Some(self.shared.hints.me));
        let mine: BTreeMap<&AccountName, &AccountRow> = mine.map(|row| (&row.name, row)).collect();
        for account in leases.held() {
            let token = mine.get(&account).and_then(|row| row.lease_token(heartbeat.server));
            let is_held = token.is_some() && token == leases.token(&account);
            if !is_held && leases.end(&account, LeaseEnd::Lost) {
                tracing::warn!(%account, "another process owns the account by now");
            }
        }
        for (account, row) in mine {
            if row.lease_token(heartbeat.server).is_some_and(|token| leases.hold(account, token)) {
                tracing::info!(%account, "this process owns the account now: another one gave it up");
            }
        }
    }

    /// Decides about accounts. Returns those to take, and those to ask for, with their owners.
    fn decide(
        &self,
        last: &mut LastRenewal,
        rows: &[AccountRow],
        candidates: &BTreeSet<AccountName>,
    ) -> (Vec<AccountRow>, Vec<(AccountName, Uuid)>) {
        let (mut take, mut ask) = (Vec::new(), Vec::new());
        let seen_free = std::mem::take(&mut last.free);
        for row in rows {
            let owned = row.owned(seen_free.contains(&row.name));
            match owned.next_move(&row.name, self.shared.hints.me, &last.live, candidates.contains(&row.name)) {
                OwnershipMove::Stay if owned.owner.is_none() => {
                    last.free.insert(row.name.clone());
                }
                OwnershipMove::Stay => {}
                OwnershipMove::Take if self.shared.leases.is_held(&row.name) => {} // an earlier lease of the account has not ended yet
                OwnershipMove::Take => take.push(row.clone()),
                OwnershipMove::Ask => ask.extend(row.owner.map(|owner| (row.name.clone(), owner))),
                OwnershipMove::Give(to) => {
                    self.shared.leases.end(&row.name, LeaseEnd::Give(to));
                }
            }
        }
        (take, ask)
    }

    /// The owned accounts with pending events that were not reported yet.
    async fn newest(&self) -> Result<Vec<AccountName>, StoreError> {
        let mut reported = self.shared.leases.newest_reported();
        if reported.is_empty() {
            return Ok(Vec::new());
        }
        let first = |name: &AccountName| self.shared.backlogs.first(name).0;
        let (numbers, seen): (Vec<AccountNumber>, Vec<i64>) =
            reported.iter().map(|(number, (name, seen))| (*number, seen.0.max(first(name) - 1))).unzip();
        let newest =
            self.listen.run(move |session| Box::pin(async move { owners::newest(session, &numbers, &seen).await }));
        let is_new = |(number, newest): (AccountNumber, Seq)| {
            let (name, _) = reported.remove(&number)?;
            self.shared.leases.report(&name, number, newest).then_some(name)
        };
        Ok(newest.await?.into_iter().filter_map(is_new).collect())
    }
}

#[async_trait]
impl Ownership for PostgresStore {
    fn renew_every(&self) -> Option<Duration> {
        Some(self.replica.times.renew_every())
    }

    fn lease(&self, account: &AccountName) -> Option<Lease> {
        self.shared.leases.lease(account)
    }

    async fn renew(&self, candidates: &BTreeSet<AccountName>) -> Result<Vec<AccountName>, StoreError> {
        let (mut last, sessions) = (self.replica.last.lock().await, self.owner.health().sessions());
        if std::mem::replace(&mut last.sessions, sessions) != sessions {
            self.shared.backlogs.in_another_session();
            self.shared.leases.end_all(LeaseEnd::Again);
        }
        let look_at_all = last.renewals.is_multiple_of(LOOK_AT_ALL) || last.candidates != *candidates;
        let sent = Instant::now();
        let mut heartbeat = self.heartbeat(&last, candidates, look_at_all).await?;
        let is_another = last.server.replace(heartbeat.server).is_some_and(|before| before != heartbeat.server);
        if is_another {
            self.in_another_server();
            last.candidates.clear(); // a promoted standby may lack the latest accounts
        }
        if is_another || !look_at_all && heartbeat.live != last.live {
            heartbeat = self.heartbeat(&last, candidates, true).await?;
        }
        last.renewals = last.renewals.wrapping_add(1);
        last.candidates.clone_from(candidates);
        last.live.clone_from(&heartbeat.live);
        self.compare(&heartbeat);
        self.shared.leases.renew(sent + self.replica.times.send_for());
        let (take, ask) = self.decide(&mut last, &heartbeat.accounts, candidates);
        let due = sent + self.replica.times.renew_every();
        self.take(&take, due).await?;
        // Those for which there was no time are taken the next time, whatever process they are assigned to.
        last.free.extend(take.into_iter().map(|row| row.name).filter(|name| !self.shared.leases.is_held(name)));
        self.ask(&ask, due).await?;
        self.give_up_ended(due).await?;
        if candidates.is_empty() && self.shared.leases.held().is_empty() {
            self.deregister().await?;
        }
        self.newest().await
    }

    async fn changed(&self) -> Hint {
        let mut notifications = self.replica.notifications.lock().await;
        loop {
            let text = tokio::select! {
                () = self.shared.leases.unused() => return Hint::Owners,
                text = notifications.recv() => text,
            };
            let Some(text) = text else { return std::future::pending().await };
            match HintMessage::read(&text, self.shared.hints.me) {
                Some(HintMessage::Owners) => return Hint::Owners,
                Some(HintMessage::ApiKeys) => return Hint::ApiKeys,
                Some(HintMessage::Appended(numbers)) => {
                    let accounts = self.shared.leases.names(&numbers.into_iter().collect());
                    if !accounts.is_empty() {
                        return Hint::Appended(accounts);
                    }
                }
                None => {}
            }
        }
    }

    async fn done_elsewhere(
        &self,
        account: &AccountName,
        event: (Seq, EventId),
        health: Option<&str>,
    ) -> DoneElsewhere {
        self.outcomes.done(account, event, health).await
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        let asked = Instant::now();
        let now = self.listen.run(|session| Box::pin(async move { owners::time(session).await })).await?;
        Ok(Some(now.after(asked.elapsed() / 2)))
    }
}
