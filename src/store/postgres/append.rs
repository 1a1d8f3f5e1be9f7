//! Appending events to the log: a group of calls is one transaction of three round trips.
//!
//! In: the events of several calls. Out: one answer per event, or why a call was refused. The first round trip locks the rows of the
//! accounts; calls for the same accounts that arrive while it waits join the group. The second one looks for repeats and draws seqs; the
//! third one inserts and commits. Invariants: the rows are locked by a statement of its own, so that what is read next includes
//! everything that was committed under the lock before; seqs are drawn under the lock, so in an account they are in the
//! order of commits; seqs that are not used are left out. What becomes of an event is decided in [`append_decision`].

use super::committer::Committer;
use super::deletions;
use super::known_users::KnownUsers;
use super::session::{Session, Values};
use super::shared::{AccountNumber, Shared};
use crate::domain::{AccountName, EventId, Seq, UserKey};
use crate::failpoint;
use crate::store::append_decision::{self, AppendDecision, EventLookup};
use crate::store::{Appended, CommitObserver, NewEvent, StoreError, keys};
use async_trait::async_trait;
use futures_util::future::try_join;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Error, Row};

/// A group has at most so many events and bytes of bodies, but for a single call with more.
const MAX_EVENTS: usize = 2_000;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Segment waits 5 seconds for a response, of which the wait for the outcome may take 2 (`SERVER_WAIT`).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// The server gives a statement up a second earlier.
const DEADLINE: Duration = Duration::from_secs(6);

/// The ids that are known, then as many new seqs as there are ids: one statement, since each costs both sides a wake-up.
const REPEATS_AND_SEQS: &str = "SELECT id, NULL::bigint FROM ids WHERE id = ANY ($1)
    UNION ALL SELECT NULL, nextval('log_seq') FROM generate_series(1, cardinality($1))";
const FORMER: &str = "SELECT ids.id, log.keys FROM ids JOIN log USING (seq) WHERE ids.id = ANY ($1) AND ids.former";
/// In blocks, as many as there are events.
pub const DRAW: &str = "SELECT nextval('log_seq') FROM generate_series(1, $1)";
const INSERT: &str = "WITH logged AS (INSERT INTO log (seq, account, id, keys, received_at)
        SELECT * FROM unnest($1::bigint[], $2::int[], $3::bytea[], $4::bytea[], $5::bigint[])),
    stored AS (INSERT INTO bodies (seq, body) SELECT * FROM unnest($1::bigint[], $6::bytea[]))
    INSERT INTO ids (id, seq) SELECT * FROM unnest($3::bytea[], $1::bigint[])";

/// Commits calls of [`EventLog::append`](crate::store::EventLog::append); their bodies are packed.
#[derive(Debug)]
pub struct Appender(pub Arc<Shared>);

#[async_trait]
impl Committer for Appender {
    type Request = Vec<NewEvent>;
    type Output = Vec<Appended>;

    fn observer(&self) -> &CommitObserver {
        &self.0.observer
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

    async fn begin(&self, session: &Session, group: &[Vec<NewEvent>]) -> Result<(), Error> {
        let numbers = self.numbers(session, group).await?;
        session.prepare(&[REPEATS_AND_SEQS, INSERT]).await?;
        session.begin_locked(&numbers.into_values().collect::<Vec<_>>()).await
    }

    fn joins_begun(&self, begun_with: &[Vec<NewEvent>], group: &[Vec<NewEvent>], next: &Vec<NewEvent>) -> bool {
        let locked: HashSet<&AccountName> = begun_with.iter().flatten().map(|event| &event.account).collect();
        next.iter().all(|event| locked.contains(&event.account)) && self.joins(group, next)
    }

    async fn commit(
        &self,
        session: &Session,
        group: &[Vec<NewEvent>],
    ) -> Result<Vec<Result<Vec<Appended>, StoreError>>, Error> {
        let committed = self.transaction(session, group).await;
        if committed.is_err() {
            session.roll_back().await;
        }
        committed
    }
}

impl Appender {
    /// The numbers of the accounts of these events. They are read once, before the first transaction that needs them.
    async fn numbers<'a>(
        &self,
        session: &Session,
        group: &'a [Vec<NewEvent>],
    ) -> Result<HashMap<&'a AccountName, AccountNumber>, Error> {
        let names: HashSet<&AccountName> = group.iter().flatten().map(|event| &event.account).collect();
        self.0.numbers_of(session, &names).await
    }

    async fn transaction(
        &self,
        session: &Session,
        group: &[Vec<NewEvent>],
    ) -> Result<Vec<Result<Vec<Appended>, StoreError>>, Error> {
        let numbers = self.numbers(session, group).await?;
        let read = AppendReading::read(session, group, self.0.has_former_ids).await?;
        let known = KnownUsers::read(session, group, &numbers, &self.0.backlogs).await?;
        let mut batch = AppendedRows::default();
        let mut answers = Vec::with_capacity(group.len());
        let mut seqs = read.seqs.iter().copied();
        for events in group {
            let lookups: Vec<EventLookup> = events
                .iter()
                .map(|event| EventLookup {
                    is_repeat: read.is_repeat(event) || batch.ids.contains(&event.id),
                    may_be_known: event.known_users_only.is_some_and(|only| {
                        known.may_be_known(event, only.none_pending_up_to)
                            || event.keys.iter().any(|key| batch.users.contains(key))
                    }),
                })
                .collect();
            let pending = |account: &AccountName| self.0.backlogs.pending(account) + batch.appended(account);
            let decided = append_decision::decide(events, &lookups, pending, self.0.max_backlog);
            answers.push(decided.map(|decisions| {
                let each = events.iter().zip(decisions);
                each.map(|(event, decision)| batch.add(event, decision, &mut seqs)).collect()
            }));
        }
        failpoint::step("store::append");
        batch.write(session, &numbers).await?;
        self.0.backlogs.appended(batch.rows.iter().map(|(event, seq)| (&event.account, *seq)));
        Ok(answers)
    }
}

/// What is read in the second round trip.
struct AppendReading {
    ids: HashSet<Vec<u8>>,
    /// Rows of the log with a former id, with the keys they still have.
    former: HashMap<Vec<u8>, Vec<u8>>,
    seqs: Vec<Seq>,
}

impl AppendReading {
    async fn read(session: &Session, group: &[Vec<NewEvent>], has_former_ids: bool) -> Result<Self, Error> {
        let ids: Vec<&[u8]> = group.iter().flatten().map(|event| event.id.0.as_slice()).collect();
        let rows = session.query(REPEATS_AND_SEQS, &[&ids]).await?;
        let former = if has_former_ids { Self::former(session, group).await? } else { HashMap::new() };
        let mut seqs: Vec<Seq> = rows.iter().filter_map(|row| row.get::<_, Option<i64>>(1)).map(Seq).collect();
        seqs.sort_unstable();
        Ok(Self { ids: rows.iter().filter_map(|row| row.get(0)).collect(), former, seqs })
    }

    async fn former(session: &Session, group: &[Vec<NewEvent>]) -> Result<HashMap<Vec<u8>, Vec<u8>>, Error> {
        let ids: Vec<EventId> = group.iter().flatten().filter_map(|event| event.former_id).collect();
        let ids: Vec<&[u8]> = ids.iter().map(|id| id.0.as_slice()).collect();
        let rows = session.query(FORMER, &[&ids]).await?;
        Ok(rows.iter().map(|row: &Row| (row.get(0), row.get(1))).collect())
    }

    /// Whether the log has this event.
    fn is_repeat(&self, event: &NewEvent) -> bool {
        let former = event.former_id.and_then(|id| self.former.get(id.0.as_slice()));
        let same_user = former.is_some_and(|stored| stored.is_empty() || *stored == keys::to_blob(&event.keys));
        same_user || self.ids.contains(event.id.0.as_slice())
    }
}

/// What the last round trip writes.
#[derive(Default)]
struct AppendedRows<'a> {
    rows: Vec<(&'a NewEvent, Seq)>,
    /// Deletes of unknown users.
    unknown: Vec<&'a NewEvent>,
    ids: HashSet<EventId>,
    users: HashSet<UserKey>,
    /// How many events of each account are in it.
    appended: HashMap<&'a AccountName, u64>,
}

impl<'a> AppendedRows<'a> {
    fn appended(&self, account: &AccountName) -> u64 {
        self.appended.get(account).copied().unwrap_or(0)
    }

    fn add(&mut self, event: &'a NewEvent, decision: AppendDecision, seqs: &mut impl Iterator<Item = Seq>) -> Appended {
        match decision {
            AppendDecision::Duplicate => Appended::Duplicate,
            AppendDecision::UnknownUser => {
                self.unknown.push(event);
                Appended::UnknownUser
            }
            AppendDecision::Append { pending } => {
                // There is one for each event of the group.
                let seq = seqs.next().unwrap_or_default();
                self.rows.push((event, seq));
                self.ids.insert(event.id);
                self.users.extend(&event.keys);
                *self.appended.entry(&event.account).or_default() += 1;
                Appended::Accepted { seq, pending }
            }
        }
    }

    async fn write(&self, session: &Session, numbers: &HashMap<&AccountName, AccountNumber>) -> Result<(), Error> {
        for event in &self.unknown {
            if let Some(deleted_at) = event.known_users_only.and_then(|only| only.deleted_at) {
                let keys: Vec<[u8; 16]> = event.keys.iter().map(|key| *key.bytes()).collect();
                deletions::keep(session, &keys, deleted_at, event.received_at).await?;
            }
        }
        let seqs: Vec<i64> = self.rows.iter().map(|(_, seq)| seq.0).collect();
        let accounts: Vec<Option<AccountNumber>> =
            self.rows.iter().map(|(event, _)| numbers.get(&event.account).copied()).collect();
        let ids: Vec<&[u8]> = self.rows.iter().map(|(event, _)| event.id.0.as_slice()).collect();
        let keys: Vec<Vec<u8>> = self.rows.iter().map(|(event, _)| keys::to_blob(&event.keys)).collect();
        let received: Vec<i64> = self.rows.iter().map(|(event, _)| event.received_at.0).collect();
        let bodies: Vec<&[u8]> = self.rows.iter().map(|(event, _)| event.body.as_slice()).collect();
        if self.rows.is_empty() {
            return session.batch("COMMIT").await;
        }
        let values: Values<'_> = &[&seqs, &accounts, &ids, &keys, &received, &bodies];
        let written = try_join(session.execute(INSERT, values), session.batch("COMMIT"));
        written.await.map(drop)
    }
}
