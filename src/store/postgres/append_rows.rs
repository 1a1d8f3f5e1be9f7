//! The rows that a group of calls appends, and the statement that writes them.
//!
//! In: the decision about each event. Out: seqs, and the events that were repeats: the statement itself finds them, since they are few.
//! Invariants: seqs are in the order of the events; the transaction has locked the rows of their accounts before, so no other transaction
//! inserts the same id meanwhile.

use super::accounts::Locked;
use super::columns::arrays;
use super::deletions::{self, Deletion};
use super::session::Session;
use crate::domain::{AccountName, EventId, Seq, SourceId, UserKey};
use crate::store::append_decision::AppendDecision;
use crate::store::{Appended, NewEvent, user_keys};
use futures_util::future::try_join;
use std::collections::{BTreeMap, HashSet};
use tokio_postgres::Error;

/// Inserts the events whose ids are not known, in this order; returns their positions, from 1 on, and their seqs. Each id is looked up
/// separately, because the plan of a join could be another one while the tables are empty.
pub const INSERT: &str = "WITH appended AS MATERIALIZED (SELECT nextval('log_seq') AS seq, given.*
        FROM unnest($1::bytea[], $2::int[], $3::bytea[], $4::bigint[], $5::bytea[], $6::text[]) WITH ORDINALITY
            AS given (id, account, keys, received_at, body, source, place)
        WHERE (SELECT ids.seq FROM ids WHERE ids.id = given.id) IS NULL),
    logged AS (INSERT INTO log (seq, account, id, keys, received_at, source)
        SELECT seq, account, id, keys, received_at, source FROM appended),
    stored AS (INSERT INTO bodies (seq, body) SELECT seq, body FROM appended),
    identified AS (INSERT INTO ids (id, seq) SELECT id, seq FROM appended)
    SELECT place, seq FROM appended";

/// Begins a transaction with rows as a group of appends has them: enough for new pages in each table, and few, since the room is scarce. No
/// event has these seqs, and no account this number. The keys are random, so that the trials of several processes do not wait for each
/// other.
const TRIAL: &str = "BEGIN;
    INSERT INTO log (seq, account, id, keys, received_at)
        SELECT -1 - (random() * 9e18)::bigint, 0, substr(sha256(random()::text::bytea), 1, 16), repeat('k', 34)::bytea, 0
        FROM generate_series(1, 200);
    INSERT INTO bodies (seq, body)
        SELECT -1 - (random() * 9e18)::bigint, repeat('b', 500)::bytea FROM generate_series(1, 200);
    INSERT INTO ids (id, seq) SELECT substr(sha256(random()::text::bytea), 1, 16), -1 FROM generate_series(1, 200)";

/// The rows of a group to append.
#[derive(Default)]
pub struct AppendedRows<'a> {
    /// The events to insert. No two have the same id.
    events: Vec<&'a NewEvent>,
    /// The deletes of unknown users.
    unknown: Vec<&'a NewEvent>,
    ids: HashSet<EventId>,
    /// The user keys of the events, if an event of the group is for known users only.
    users: Option<HashSet<UserKey>>,
    /// The number of events of each account.
    counts: BTreeMap<&'a AccountName, u64>,
}

/// Whether an event of the group is for known users only.
pub fn asks_for_users(group: &[Vec<NewEvent>]) -> bool {
    group.iter().flatten().any(|event| event.known_users_only.is_some())
}

impl<'a> AppendedRows<'a> {
    /// The empty rows for this group.
    pub fn new(group: &[Vec<NewEvent>]) -> Self {
        Self { users: asks_for_users(group).then(HashSet::new), ..Self::default() }
    }

    /// Whether it has an event with this id.
    pub fn contains(&self, event: &NewEvent) -> bool {
        self.ids.contains(&event.id)
    }

    /// Whether it has an event of the same user.
    pub fn has_user(&self, event: &NewEvent) -> bool {
        self.users.as_ref().is_some_and(|users| event.user_keys.iter().any(|key| users.contains(key)))
    }

    /// The number of events of the account.
    pub fn count(&self, account: &AccountName) -> u64 {
        self.counts.get(account).copied().unwrap_or(0)
    }

    /// Adds an event by its decision, and returns its answer. An accepted event gets its seq when it is written ([`Self::answer`]).
    pub fn add(&mut self, event: &'a NewEvent, decision: AppendDecision) -> Appended {
        match decision {
            AppendDecision::Duplicate => Appended::Duplicate,
            AppendDecision::UnknownUser => {
                self.unknown.push(event);
                Appended::UnknownUser
            }
            AppendDecision::Append { pending } => {
                self.events.push(event);
                self.ids.insert(event.id);
                if let Some(users) = &mut self.users {
                    users.extend(&event.user_keys);
                }
                *self.counts.entry(&event.account).or_default() += 1;
                Appended::Accepted { seq: Seq::default(), pending }
            }
        }
    }

    /// The deletes of unknown users, one deletion for each user key.
    fn deletions(&self) -> Vec<Deletion> {
        let deletes = self
            .unknown
            .iter()
            .filter_map(|event| Some((event, event.known_users_only.and_then(|only| only.deleted_at)?)));
        let keys = deletes
            .flat_map(|(event, at)| event.user_keys.iter().map(move |key| (*key.bytes(), at, event.received_at)));
        keys.collect()
    }

    /// Inserts and commits. The seq of each event; `None`: it was a repeat.
    pub async fn write(&self, session: &Session, locked: &Locked) -> Result<Vec<Option<Seq>>, Error> {
        let deletions = self.deletions();
        if !deletions.is_empty() {
            deletions::keep(session, &deletions).await?;
        }
        if self.events.is_empty() {
            session.run_statements("COMMIT").await?;
            return Ok(Vec::new());
        }
        let inserted = try_join(insert(session, locked, &self.events), session.run_statements("COMMIT")).await;
        inserted.map(|(seqs, ())| seqs)
    }

    /// Completes the answers of the accepted events, when it is known which of them were repeats.
    pub fn answer<'b>(&self, seqs: &[Option<Seq>], answers: impl Iterator<Item = &'b mut Appended>) {
        let mut written = self.events.iter().zip(seqs);
        let mut repeats: BTreeMap<&AccountName, u64> = BTreeMap::new();
        for answer in answers {
            let Appended::Accepted { pending, .. } = *answer else { continue };
            let Some((event, seq)) = written.next() else { return };
            *answer = if let Some(seq) = *seq {
                let before = repeats.get(&event.account).copied().unwrap_or(0);
                Appended::Accepted { seq, pending: pending.saturating_sub(before) }
            } else {
                *repeats.entry(&event.account).or_default() += 1;
                Appended::Duplicate
            };
        }
    }

    /// The events that were no repeats.
    pub fn written(&self, seqs: &[Option<Seq>]) -> impl Iterator<Item = (&'a AccountName, Seq)> {
        self.events.iter().zip(seqs).filter_map(|(event, seq)| Some((&event.account, (*seq)?)))
    }
}

/// Fails if a group of events could not be appended, because the disk is full. It leaves nothing behind except outdated rows.
pub async fn try_insert(session: &Session) -> Result<(), Error> {
    let inserted = session.run_statements(TRIAL).await;
    session.roll_back().await;
    inserted
}

/// Runs [`INSERT`] for these events, whose ids differ. The seq of each event; `None`: it was a repeat.
pub async fn insert(session: &Session, locked: &Locked, events: &[&NewEvent]) -> Result<Vec<Option<Seq>>, Error> {
    let values = arrays!(event in events =>
        event.id.0.as_slice(), locked.number(&event.account), user_keys::to_blob(&event.user_keys),
        event.received_at.0, event.body.as_slice(), event.source.as_ref().map(SourceId::as_str));
    let mut seqs = vec![None; events.len()];
    for row in session.query(INSERT, values).await? {
        let place = usize::try_from(row.get::<_, i64>(0) - 1).ok();
        if let Some(seq) = place.and_then(|place| seqs.get_mut(place)) {
            *seq = Some(Seq(row.get(1)));
        }
    }
    Ok(seqs)
}
