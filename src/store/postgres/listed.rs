//! Affiliates of Refersion's list, and the progress of reading it: the trait [`AffiliateIndex`] of the engine.
//!
//! Invariants: the row of the account is locked, and has the token of this process's lease; known affiliates do not change; no deleted user
//! is restored; a page and the progress after it are committed together. The progress is in the table `meta`, by the number of the account.

use super::PostgresStore;
use super::affiliates::{self, ToRemember};
use super::error::JobError;
use super::leases::LeaseToken;
use super::migrate::set_meta;
use super::session::Session;
use super::shared::Shared;
use crate::domain::AccountName;
use crate::store::{AffiliateIndex, Remember, StoreError, user_keys};
use async_trait::async_trait;
use std::collections::HashSet;
use std::sync::Arc;
use tokio_postgres::Error;

const PROGRESS: &str = "SELECT convert_from(value, 'UTF8') FROM meta
    WHERE name = 'list ' || (SELECT account FROM accounts WHERE name = $1)";
/// The keys of this list that are known, and those that were deleted. The list has user keys, and affiliate keys without tag.
const KNOWN: &str = "SELECT key FROM affiliates WHERE key = ANY ($1)
    UNION ALL SELECT substr(key, 2) FROM links WHERE key = ANY ($2)
    UNION ALL SELECT key FROM deleted_users WHERE key = ANY ($1)";

#[async_trait]
impl AffiliateIndex for PostgresStore {
    async fn list_progress(&self, account: &AccountName) -> Result<Option<String>, StoreError> {
        let account = account.clone();
        let read = self
            .owner
            .pipelined(move |session| Box::pin(async move { session.query_opt(PROGRESS, &[&account.as_str()]).await }));
        Ok(read.await?.map(|row| row.get(0)))
    }

    async fn remember_listed(
        &self,
        account: &AccountName,
        affiliates: Vec<Remember>,
        progress: String,
    ) -> Result<Vec<Remember>, StoreError> {
        let (held, account, shared) = (self.token(account)?, account.clone(), Arc::clone(&self.shared));
        self.owner.run(move |session| Box::pin(remember(session, shared, (account, held), affiliates, progress))).await
    }
}

async fn remember(
    session: &Session,
    shared: Arc<Shared>,
    (account, held): (AccountName, LeaseToken),
    affiliates: Vec<Remember>,
    progress: String,
) -> Result<Vec<Remember>, JobError> {
    let number = held.account;
    let work = async {
        let locked = session.lock(&[account.as_str()]).await?;
        if !locked.is_held_by(&account, held) {
            return Err(StoreError::NotOwner.into());
        }
        let unknown = unknown(session, &shared, &account, affiliates).await?;
        let to_remember = unknown.iter().map(|one| ToRemember::new(&shared.hash, &account, number, one));
        let to_remember: Vec<ToRemember<'_>> = to_remember.collect();
        session.prepare(affiliates::STATEMENTS).await?;
        affiliates::save(session, &to_remember).await?;
        set_meta(session, &format!("list {number}"), progress.as_bytes()).await?;
        Ok(unknown)
    };
    session.transaction(work).await
}

/// The new affiliates of a page: neither the affiliate nor a user key of it is known or was deleted.
async fn unknown(
    session: &Session,
    shared: &Shared,
    account: &AccountName,
    mut affiliates: Vec<Remember>,
) -> Result<Vec<Remember>, Error> {
    let hashes = |affiliate: &Remember| {
        let own = user_keys::affiliate_hash(&shared.hash, account, &affiliate.known.code);
        std::iter::once(own).chain(affiliate.user_keys.iter().map(|key| *key.bytes())).collect::<Vec<[u8; 16]>>()
    };
    let all: Vec<Vec<u8>> = affiliates.iter().flat_map(hashes).map(|hash| hash.to_vec()).collect();
    let users = affiliates.iter().flat_map(|affiliate| &affiliate.user_keys);
    let links: Vec<Vec<u8>> = users.map(|key| user_keys::tagged(key).to_vec()).collect();
    let rows = session.query(KNOWN, &[&all, &links]).await?;
    let known: HashSet<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    affiliates.retain(|affiliate| !hashes(affiliate).iter().any(|hash| known.contains(hash.as_slice())));
    Ok(affiliates)
}
