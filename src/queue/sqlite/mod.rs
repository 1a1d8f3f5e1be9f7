//! The SQLite engine: one file, one writer thread with group commit, WAL and `synchronous=FULL`.
//!
//! Every method hands the writer a job and awaits it (`inbox`, `writer`); the jobs' SQL stands by verb: `record`, `claim`,
//! `settle`, `letters`, `erase`, `sealed`; by table: `lane`, `users`, `memory`, `seen`; the tables in `schema`, those of
//! earlier releases in `older`. What would go to random places waits in `recent`; `body` packs, `counts` counts. Invariant:
//! one process per file, held by a lock that dies with the process, so whatever is leased when the file is opened was
//! interrupted.

mod body;
mod claim;
mod counts;
mod erase;
mod history;
mod inbox;
mod keys;
mod lane;
mod letters;
mod memory;
mod older;
mod open;
mod recent;
mod record;
mod schema;
mod sealed;
mod seen;
mod settle;
#[cfg(test)]
mod steps;
mod users;
mod writer;

pub use open::OpenError as SqliteOpenError;

use super::{
    Batch, Change, DeadLetter, Depth, Filter, Forgotten, NewEvent, Page, Queue, QueueError, Recorded, Replay,
    Settlement, Ticket,
};
use crate::delivery::Progress;
use crate::domain::{AccountName, HashKey, SealedKey, Timestamp, UserKey};
use async_trait::async_trait;
use inbox::Haste::{Now, Soon};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tokio::task::spawn_blocking;
use writer::{Store, Writer};

/// So many portions of the event ids are looked at in one tidying: of a hundred million ids, each is looked at about twice a day.
const PORTIONS: u32 = 5;

/// So many portions of what changed lately are written to their places in one tidying: more than are held in all.
const RECENT: u32 = 300;

/// A queue in one SQLite file.
#[derive(Debug)]
pub struct SqliteQueue {
    writer: Writer,
    hash: HashKey,
    max_backlog: u64,
}

impl SqliteQueue {
    /// Opens the file, made with its folder if absent, for this process alone. `max_backlog` is in events of one account.
    pub fn open(path: &Path, max_backlog: u64) -> Result<Self, SqliteOpenError> {
        let (store, hash) = open::open(path)?;
        Ok(Self { writer: Writer::start(store), hash, max_backlog })
    }

    /// The accounts for which events wait, and how many.
    pub async fn waiting(&self) -> Result<BTreeMap<String, u64>, QueueError> {
        self.writer.write(Now, |store| Ok(store.counts.waiting_of.clone())).await
    }
}

/// The bodies of more events than these are packed where nobody else waits: a thousand take some milliseconds.
const AT_ONCE: usize = 20;

fn packed(mut events: Vec<NewEvent>) -> Vec<NewEvent> {
    for event in &mut events {
        event.body = body::pack(std::mem::take(&mut event.body));
    }
    events
}

#[async_trait]
impl Queue for SqliteQueue {
    fn hash_key(&self) -> &HashKey {
        &self.hash
    }

    async fn record(&self, events: Vec<NewEvent>) -> Result<Vec<Recorded>, QueueError> {
        let events = if events.len() > AT_ONCE {
            // Err: the runtime is ending.
            spawn_blocking(|| packed(events)).await.map_err(|_| QueueError::Closed)?
        } else {
            packed(events)
        };
        let (hash, max) = (self.hash.clone(), self.max_backlog);
        self.writer
            .write(Now, move |store| {
                if let Some(waiting) = record::overfull(store, &events, max)? {
                    return Ok(Err(QueueError::Full(waiting)));
                }
                events.iter().map(|event| record::record(store, &hash, event)).collect::<Result<Vec<_>, _>>().map(Ok)
            })
            .await?
    }

    async fn claim(
        &self,
        account: &AccountName,
        limit: usize,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Batch, QueueError> {
        let account = account.clone();
        let claim = move |store: &mut Store| claim::claim(store, &account, limit, now, now.after(lease));
        let mut batch = self.writer.write(Now, claim).await?;
        for event in &mut batch.events {
            event.body = body::unpack(std::mem::take(&mut event.body));
            for behind in &mut event.behind {
                behind.body = body::unpack(std::mem::take(&mut behind.body));
            }
        }
        Ok(batch)
    }

    async fn checkpoint(
        &self,
        ticket: &Ticket,
        progress: &Progress,
        change: Change,
        until: Timestamp,
    ) -> Result<(), QueueError> {
        let (ticket, progress) = (ticket.clone(), progress.clone());
        self.writer.write(Soon, move |store| settle::checkpoint(store, &ticket, &progress, &change, until)).await?
    }

    async fn settle(&self, ticket: &Ticket, settlement: Settlement, change: Change) -> Result<(), QueueError> {
        let ticket = ticket.clone();
        self.writer.write(Soon, move |store| settle::settle(store, &ticket, &settlement, &change)).await?
    }

    async fn mend(&self, now: Timestamp) -> Result<(), QueueError> {
        self.writer.write(Now, move |store| settle::mend(store, now)).await
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        self.writer
            .write(Now, |store| {
                // Another value each time: SQLite does not write what is there already.
                let sql = "INSERT INTO meta VALUES ('probes', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1";
                store.connection.prepare_cached(sql)?.execute([])?;
                Ok(Depth { waiting: store.counts.waiting, dead: store.counts.dead })
            })
            .await
    }

    async fn dead_letters(&self, filter: &Filter, after: i64, limit: usize) -> Result<Page, QueueError> {
        let filter = filter.clone();
        self.writer.write(Now, move |store| letters::page(store, &filter, after, limit.max(1))).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, QueueError> {
        self.writer.write(Now, move |store| letters::one(store, id)).await
    }

    async fn replay(&self, ids: &[i64]) -> Result<Vec<(i64, Replay)>, QueueError> {
        let (hash, max, ids) = (self.hash.clone(), self.max_backlog, ids.iter().copied().collect::<BTreeSet<_>>());
        self.writer
            .write(Now, move |store| {
                let accounts = letters::accounts(store, &ids)?;
                if let Some(waiting) = store.counts.overfull(accounts.iter().map(String::as_str), max) {
                    return Ok(Err(QueueError::Full(waiting)));
                }
                let each = ids.into_iter().map(|id| Ok((id, letters::replay(store, &hash, id)?)));
                each.collect::<Result<Vec<_>, _>>().map(Ok)
            })
            .await?
    }

    async fn discard(&self, ids: &[i64]) -> Result<Vec<i64>, QueueError> {
        let ids = ids.to_vec();
        self.writer
            .write(Now, move |store| {
                let each = ids.into_iter().map(|id| Ok(letters::discard(store, id)?.then_some(id)));
                each.filter_map(Result::transpose).collect()
            })
            .await
    }

    async fn forget(&self, users: &[UserKey], now: Timestamp) -> Result<Forgotten, QueueError> {
        let (hash, users) = (self.hash.clone(), users.to_vec());
        self.writer.write(Now, move |store| erase::forget(store, &hash, &users, now)).await
    }

    async fn keep_keys(&self, keys: Vec<SealedKey>) -> Result<(), QueueError> {
        self.writer.write(Now, move |store| keys.iter().try_for_each(|key| sealed::keep(&store.connection, key))).await
    }

    async fn kept_keys(&self) -> Result<Vec<SealedKey>, QueueError> {
        self.writer.write(Now, |store| sealed::kept(&store.connection)).await
    }

    async fn tidy(&self, forget_before: Timestamp) -> Result<(), QueueError> {
        for _ in 0..RECENT {
            if !self.writer.write(Now, |store| store.recent.tidy(&store.connection)).await? {
                break;
            }
        }
        for _ in 0..PORTIONS {
            if !self.writer.write(Now, move |store| seen::forget(store, forget_before)).await? {
                break;
            }
        }
        while self.writer.alone(schema::give_back_space).await? {}
        self.writer.alone(schema::empty_wal).await
    }

    async fn close(&self) {
        self.writer.close().await;
    }
}
