//! The traits for operators' requests: dead letters, erasure and API keys.
//!
//! They run on the connection that settles, so its counts stay exact. The search of the log for a user has a separate session, so no
//! settlement waits for it.

use super::accounts::{Locked, as_str};
use super::columns::{arrays, text};
use super::dead_letters;
use super::error::JobError;
use super::forget::{self, UserSearch};
use super::listen::HintMessage;
use super::session::Session;
use super::shared::Shared;
use super::{PostgresStore, account_gone, deletions};
use crate::domain::{AccountName, SealedApiKey, Timestamp, UserKey};
use crate::store::append_decision::check_backlogs;
use crate::store::erasure::{MAX_SCANS, UserKeyHash};
use crate::store::{
    ApiKeyVault, DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetters, Forgotten, MovedDeadLetter, PageStart,
    ReplayResult, StoreError, body,
};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_postgres::{Error, Row};

/// The reason if the search of a user was begun on another server than its end. That server may have other events.
const ANOTHER_SERVER: &str = "PostgreSQL was started again meanwhile, or a standby was promoted";

/// Each replaces an earlier one of its account. If there are several of one account, the last one counts.
const KEEP_API_KEYS: &str = "INSERT INTO sealed_keys (account, sealed)
    SELECT DISTINCT ON (account) account, sealed
    FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS new (account, sealed, place)
    ORDER BY account, place DESC
    ON CONFLICT (account) DO UPDATE SET sealed = excluded.sealed";

#[async_trait]
impl DeadLetters for PostgresStore {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        start: PageStart,
        limit: usize,
    ) -> Result<DeadLetterPage, StoreError> {
        let filter = filter.clone();
        self.owner
            .run(move |session| Box::pin(async move { dead_letters::page(session, &filter, start, limit).await }))
            .await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.owner.run(move |session| Box::pin(dead_letters::one(session, id))).await
    }

    async fn replay(&self, ids: &[i64]) -> Result<Vec<ReplayResult>, StoreError> {
        let (ids, shared) = (ids.iter().copied().collect(), Arc::clone(&self.shared));
        let (results, locked) = self.owner.run(move |session| Box::pin(replay(session, shared, ids))).await?;
        self.shared.notify_owners(locked.numbers());
        Ok(results)
    }

    async fn discard(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        let (ids, shared) = (ids.to_vec(), Arc::clone(&self.shared));
        self.owner.run(move |session| Box::pin(discard(session, shared, ids))).await
    }

    async fn set_aside(&self, account: &AccountName, now: Timestamp, limit: usize) -> Result<Option<u64>, StoreError> {
        let (account, shared) = (account.clone(), Arc::clone(&self.shared));
        self.owner.run(move |session| Box::pin(account_gone::set_aside(session, shared, account, now, limit))).await
    }

    async fn move_dead_letters(&self, moved: Vec<MovedDeadLetter>) -> Result<Vec<ReplayResult>, StoreError> {
        let (moved, shared) = (body::pack_moved(moved).await?, Arc::clone(&self.shared));
        let moved = self.owner.run(move |session| Box::pin(account_gone::move_dead_letters(session, shared, moved)));
        let (results, locked) = moved.await?;
        self.shared.notify_owners(locked.numbers());
        Ok(results)
    }

    async fn forget(&self, account: &AccountName, users: &[UserKey], now: Timestamp) -> Result<Forgotten, StoreError> {
        let (name, keys) = (account.clone(), users.to_vec());
        let begin = self.owner.run(move |session| Box::pin(begin_search(session, name, keys, Some(now))));
        let Some(mut search) = begin.await? else { return Ok(Forgotten::default()) };
        let session = self.connector.connect().await?;
        let mut scans = 0;
        loop {
            search.complete(&session).await?;
            scans += 1;
            let (shared, name, last) = (Arc::clone(&self.shared), account.clone(), scans == MAX_SCANS);
            let erase = self
                .owner
                .run(move |session| Box::pin(async move { erase(session, &shared, &name, search, (now, last)).await }));
            match erase.await? {
                Ok(forgotten) => return Ok(forgotten),
                Err(incomplete) => search = incomplete,
            }
        }
    }

    async fn forget_preview(&self, account: &AccountName, users: &[UserKey]) -> Result<Forgotten, StoreError> {
        let (name, keys) = (account.clone(), users.to_vec());
        let begin = self.owner.run(move |session| Box::pin(begin_search(session, name, keys, None)));
        let Some(mut search) = begin.await? else { return Ok(Forgotten::default()) };
        let session = self.connector.connect().await?;
        let token = self.shared.leases.token(account);
        let count = async {
            search.complete(&session).await?;
            search.count(&session, &self.shared.in_flight, token).await
        };
        Ok(count.await?)
    }
}

/// Replays dead letters, or refuses all of them if they do not fit into the backlog of an account. Also returns the accounts to which
/// events may have been appended.
async fn replay(
    session: &Session,
    shared: Arc<Shared>,
    ids: BTreeSet<i64>,
) -> Result<(Vec<ReplayResult>, Locked), JobError> {
    let wanted: Vec<i64> = ids.iter().copied().collect();
    let work = async {
        let counts = dead_letters::counts(session, &wanted).await?;
        let locked = session.lock(&as_str(counts.keys())).await?;
        let events = counts.iter().map(|(account, letters)| (account, *letters));
        check_backlogs(events, |account| shared.backlogs.certainly_pending(account), shared.max_backlog)?;
        Ok::<_, JobError>((dead_letters::replay(session, &locked, &ids).await?, locked))
    };
    let ((results, appended), locked) = session.transaction(work).await?;
    shared.backlogs.replayed(&appended.iter().map(|(account, seq)| (account, *seq)).collect::<Vec<_>>());
    Ok((results, locked))
}

async fn discard(session: &Session, shared: Arc<Shared>, ids: Vec<i64>) -> Result<Vec<i64>, JobError> {
    let discarded = session.transaction(dead_letters::discard(session, &ids)).await?;
    shared.backlogs.ended([], -i64::try_from(discarded.len()).unwrap_or(i64::MAX));
    Ok(discarded)
}

/// A search for the user with these keys. `None`: no event was ever appended to the account, so only `now`, the moment of the erasure, is
/// kept. A dry run has no such moment.
async fn begin_search(
    session: &Session,
    account: AccountName,
    users: Vec<UserKey>,
    now: Option<Timestamp>,
) -> Result<Option<UserSearch>, JobError> {
    let begin = async {
        let locked = session.lock(&[account.as_str()]).await?;
        let Some(row) = locked.get(&account) else {
            if let Some(now) = now {
                let keys: Vec<UserKeyHash> = users.iter().map(|key| *key.bytes()).collect();
                deletions::keep(session, &deletions::of_user_keys(&keys, now, now)).await?;
            }
            return Ok::<_, JobError>(None);
        };
        Ok(Some(UserSearch::new(*row, &users, forget::last_committed(session).await?)))
    };
    session.transaction(begin).await
}

/// Erases the findings of the search. Err: rows that were appended meanwhile lead to new keys, and this is not the `last` try.
async fn erase(
    session: &Session,
    shared: &Shared,
    account: &AccountName,
    mut search: UserSearch,
    (now, last): (Timestamp, bool),
) -> Result<Result<Forgotten, UserSearch>, JobError> {
    let token = shared.leases.token(account);
    let work = async {
        let locked = session.lock(&[account.as_str()]).await?;
        if !locked.get(account).is_some_and(|row| search.is_of(row)) {
            return Err(StoreError::Transient(ANOTHER_SERVER.to_owned()).into());
        }
        if !search.catch_up(session).await? && !last {
            search.restart(session).await?;
            return Ok::<_, JobError>(None);
        }
        let pending = search.pending(session).await?;
        let elsewhere = search.in_flight_elsewhere(session, token, &pending).await?;
        Ok(Some(forget::erase(session, &search, &shared.in_flight, (&pending, &elsewhere), now).await?))
    };
    // The guard is dropped when this has committed.
    let Some((forgotten, _guard)) = session.transaction(work).await? else { return Ok(Err(search)) };
    shared.backlogs.ended([(account, forgotten.events)], forgotten.events.cast_signed());
    Ok(Ok(forgotten))
}

#[async_trait]
impl ApiKeyVault for PostgresStore {
    async fn keep_api_keys(&self, keys: Vec<SealedApiKey>) -> Result<(), StoreError> {
        let keep = self.owner.run(move |session| {
            Box::pin(async move {
                let values = arrays!(key in keys => key.account.as_str(), key.blob.as_slice());
                session.execute(KEEP_API_KEYS, values).await
            })
        });
        keep.await?;
        self.shared.hints.add(HintMessage::ApiKeys);
        Ok(())
    }

    async fn kept_api_keys(&self) -> Result<Vec<SealedApiKey>, StoreError> {
        self.owner.run(|session| Box::pin(kept_api_keys(session))).await
    }

    async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError> {
        let (name, sql) = (text(account.as_str()), "DELETE FROM sealed_keys WHERE account = $1");
        let removed =
            self.owner.run(move |session| Box::pin(async move { session.execute(sql, &[&name]).await })).await?;
        self.shared.hints.add(HintMessage::ApiKeys);
        Ok(removed > 0)
    }
}

/// Every stored API key.
pub async fn kept_api_keys(session: &Session) -> Result<Vec<SealedApiKey>, Error> {
    let rows = session.query("SELECT account, sealed FROM sealed_keys ORDER BY account", &[]).await?;
    let key = |row: &Row| SealedApiKey { account: AccountName::from(row.get::<_, String>(0)), blob: row.get(1) };
    Ok(rows.iter().map(key).collect())
}
