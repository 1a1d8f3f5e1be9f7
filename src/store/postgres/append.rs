//! Appending events to the log: a group of calls is one transaction of two round trips.
//!
//! In: the events of several calls. Out: one answer per event, or why a call was refused. The first round trip locks the rows of the
//! accounts; calls for the same accounts that arrive while it waits join the group. The second one inserts the events that are no repeats,
//! and commits. The `INSERT` finds most repeats by itself: it skips ids that `ids` has. Other processes wait for the lock, so nothing else
//! runs under it, with one exception: three kinds of groups are read before the decisions, those with events for known users only, those
//! that may not fit into a backlog, and all while the tables have ids of earlier releases. If the server does not answer, or a commit
//! hangs, the callers wait for [`ANSWER_TIMEOUT`] (3 s) and get [`StoreError::Transient`], which is a 503: Segment sends the events again.
//! The session is given up after [`DEADLINE`] (6 s). If the commit took place nevertheless, the repeated events are duplicates. Invariants:
//! a separate statement locks the rows, so the next statement sees everything that was committed under the lock before; seqs are drawn
//! under the lock, so in an account they are in the order of commits. [`append_decision`] decides about each event.

use super::accounts::{self, Locked};
use super::append_rows::{self, AppendedRows};
use super::committer::Committer;
use super::known_users::KnownUsers;
use super::session::Session;
use super::shared::Shared;
use crate::domain::{AccountName, EventId};
use crate::failpoint;
use crate::store::append_decision::{self, EventLookup};
use crate::store::{AnsweredEvent, Appended, CommitObserver, NewEvent, StoreError, user_keys};
use async_trait::async_trait;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Error, Row};

/// The most events and bytes of bodies in a group, except for a single call with more.
const MAX_EVENTS: usize = 2_000;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// How long a caller waits for its append. Segment waits 5 seconds for a response. The wait for the outcome (`SERVER_WAIT`) is not added,
/// because it counts from the receipt of the request. The append continues without the caller, until [`DEADLINE`].
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// The time without an answer of the server after which the session is given up, so that the next group gets another one. The server itself
/// cancels a statement after 5 seconds (`statement_timeout`), so a slow server answers before.
const DEADLINE: Duration = Duration::from_secs(6);

const REPEATS: &str = "SELECT id FROM ids WHERE id = ANY ($1)";
const FORMER: &str = "SELECT ids.id, log.keys FROM ids JOIN log USING (seq) WHERE ids.id = ANY ($1) AND ids.former";
/// Draws as many seqs as there are events.
pub const DRAW: &str = "SELECT nextval('log_seq') FROM generate_series(1, $1)";

/// Commits calls of [`EventLog::append`](crate::store::EventLog::append); their bodies are packed.
#[derive(Debug)]
pub struct Appender(pub Arc<Shared>);

#[async_trait]
impl Committer for Appender {
    type Request = Vec<NewEvent>;
    type Output = Vec<Appended>;

    fn observer(&self) -> &CommitObserver {
        &self.0.published.observer
    }

    fn answer_timeout(&self) -> Option<Duration> {
        Some(ANSWER_TIMEOUT)
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn joins(&self, group: &[Vec<NewEvent>], next: &Vec<NewEvent>) -> bool {
        let events = || group.iter().chain([next]).flatten();
        let bytes: usize = events().map(|event| event.body.len()).sum();
        events().count() <= MAX_EVENTS && bytes <= MAX_BYTES
    }

    async fn begin(&self, session: &Session, group: &[Vec<NewEvent>]) -> Result<Locked, Error> {
        session.prepare(&[append_rows::INSERT]).await?;
        let names = accounts::distinct(group.iter().flatten().map(|event| &event.account));
        loop {
            let locked = session.begin_locked(&names).await?;
            if locked.has_all(&names) {
                return Ok(locked);
            }
            session.roll_back().await;
            accounts::add(session, &names).await?;
        }
    }

    fn joins_begun(&self, locked: &Locked, group: &[Vec<NewEvent>], next: &Vec<NewEvent>) -> bool {
        next.iter().all(|event| locked.get(&event.account).is_some()) && self.joins(group, next)
    }

    async fn commit(
        &self,
        session: &Session,
        locked: &Locked,
        group: &[Vec<NewEvent>],
    ) -> Result<Vec<Result<Vec<Appended>, StoreError>>, Error> {
        let known = KnownUsers::read(session, locked, group, &self.0).await?;
        let repeats = if self.has_to_read(group, locked) {
            Repeats::read(session, group, self.0.has_former_ids).await?
        } else {
            Repeats::default()
        };
        let mut rows = AppendedRows::new(group);
        let mut answers = Vec::with_capacity(group.len());
        for events in group {
            let lookups: Vec<EventLookup> = events
                .iter()
                .map(|event| EventLookup {
                    is_repeat: repeats.contains(event) || rows.contains(event),
                    may_be_known: event
                        .known_users_only
                        .is_some_and(|only| known.may_be_known(event, only) || rows.has_user(event)),
                })
                .collect();
            let pending = |account: &AccountName| self.0.backlogs.certainly_pending(account) + rows.count(account);
            let decided = append_decision::decide(events, &lookups, pending, self.0.max_backlog);
            answers.push(decided.map(|decisions| {
                events.iter().zip(decisions).map(|(event, decision)| rows.add(event, decision)).collect::<Vec<_>>()
            }));
        }
        failpoint::reach("store::append");
        let seqs = rows.write(session, locked).await?;
        rows.answer(&seqs, answers.iter_mut().flatten().flatten());
        self.0.backlogs.appended(rows.written(&seqs));
        self.0.notify_owners(locked.numbers());
        for (events, results) in group.iter().zip(&answers) {
            let answered = AnsweredEvent::not_appended(events, results.as_deref().unwrap_or_default());
            self.0.ledger.record_all(answered);
        }
        Ok(answers)
    }
}

impl Appender {
    /// Whether the repeats in the group must be known before the decisions.
    fn has_to_read(&self, group: &[Vec<NewEvent>], locked: &Locked) -> bool {
        let events = group.iter().flatten().count() as u64;
        let may_be_full = |account: &AccountName| {
            append_decision::check_backlog(self.0.backlogs.certainly_pending(account), events, self.0.max_backlog)
                .is_err()
        };
        self.0.has_former_ids
            || append_rows::asks_for_users(group)
            || locked.numbers().any(|(account, _)| may_be_full(account))
    }
}

/// The events of a group that the log has already.
#[derive(Default)]
pub struct Repeats {
    ids: HashSet<Vec<u8>>,
    /// Rows of the log with a former id, with their remaining user keys.
    former: HashMap<Vec<u8>, Vec<u8>>,
}

impl Repeats {
    /// Reads the repeats among the events of the group.
    pub async fn read(session: &Session, group: &[Vec<NewEvent>], has_former_ids: bool) -> Result<Self, Error> {
        let ids: Vec<&[u8]> = group.iter().flatten().map(|event| event.id.0.as_slice()).collect();
        let ids = session.query(REPEATS, &[&ids]).await?;
        let former = if has_former_ids { Self::former(session, group).await? } else { HashMap::new() };
        Ok(Self { ids: ids.iter().map(|row| row.get(0)).collect(), former })
    }

    async fn former(session: &Session, group: &[Vec<NewEvent>]) -> Result<HashMap<Vec<u8>, Vec<u8>>, Error> {
        let ids: Vec<EventId> = group.iter().flatten().filter_map(|event| event.former_id).collect();
        let ids: Vec<&[u8]> = ids.iter().map(|id| id.0.as_slice()).collect();
        let rows = session.query(FORMER, &[&ids]).await?;
        Ok(rows.iter().map(|row: &Row| (row.get(0), row.get(1))).collect())
    }

    /// Whether the log has this event.
    pub fn contains(&self, event: &NewEvent) -> bool {
        let former = event.former_id.and_then(|id| self.former.get(id.0.as_slice()));
        let same_user =
            former.is_some_and(|stored| stored.is_empty() || *stored == user_keys::to_blob(&event.user_keys));
        same_user || self.ids.contains(event.id.0.as_slice())
    }
}
