//! Events of an account that is gone: its pending events are set aside as dead letters, and dead letters go to another account.
//!
//! In: accounts, and ids of dead letters. Out: how many events were set aside, and what became of each dead letter. An account is gone if it
//! is not configured, no API key of it is kept, and no process owns it. Invariants: nothing of an account that is not gone is set aside or
//! moved; a moved event is what it would be if the other account had received it at the same moment: its id and the keys of its user are
//! keyed hashes of the account, so they are made anew, by the rules of the other account. The commands that open the store themselves use the
//! same functions. Deliberately absent: discarding, which is that of any dead letter.

use crate::domain::{AccountName, SealedApiKey, Timestamp};
use crate::mapping::{self, Rules};
use crate::segment::Event;
use crate::store::{DeadLetter, MovedDeadLetter, NewEvent, Replay, ReplayResult, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// So many events are set aside in one transaction.
const PORTION: usize = 500;
/// So many dead letters are moved in one transaction.
pub const MAX_MOVED: usize = 100;

/// Why an account is not gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountInUse {
    /// Its events are delivered, or will be.
    #[error("the account {0} is configured, so its events are delivered")]
    Configured(AccountName),
    /// Its events are delivered, or are once keys that arrive are accepted.
    #[error(
        "the API key of the account {0} is kept, so its events can be delivered; `DELETE /api/v1/keys/{0}` removes it"
    )]
    KeyKept(AccountName),
    /// Another process, perhaps with another configuration, delivers for it.
    #[error("a process owns the account {0}: wait until it has ended or has given the account up")]
    Owned(AccountName),
}

/// What was set aside of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetAside {
    /// How many pending events are dead letters now; of one portion. 0: nothing is left to be set aside.
    pub events: u64,
    /// How many are pending still.
    pub pending: u64,
}

/// Makes the next pending events of an account that is gone dead letters. `configured`: the names of the configured accounts.
pub async fn set_aside(
    store: &dyn Store,
    configured: &[AccountName],
    account: &AccountName,
    now: Timestamp,
) -> Result<Result<SetAside, AccountInUse>, StoreError> {
    if let Some(why) = in_use(configured, &store.kept_api_keys().await?, account) {
        return Ok(Err(why));
    }
    let Some(events) = store.set_aside(account, now, PORTION).await? else {
        return Ok(Err(AccountInUse::Owned(account.clone())));
    };
    tracing::info!(%account, events, "an operator set pending events of an account that is gone aside as dead letters");
    Ok(Ok(SetAside { events, pending: store.pending().get(account.as_str()).copied().unwrap_or(0) }))
}

/// Why the account is not gone, as far as the configuration and the kept keys tell.
fn in_use(configured: &[AccountName], kept: &[SealedApiKey], account: &AccountName) -> Option<AccountInUse> {
    if configured.contains(account) {
        return Some(AccountInUse::Configured(account.clone()));
    }
    kept.iter().any(|key| key.account == *account).then(|| AccountInUse::KeyKept(account.clone()))
}

/// Whether events can be delivered to the account: it is configured, or its API key is kept.
pub async fn can_deliver(
    store: &dyn Store,
    configured: &[AccountName],
    account: &AccountName,
) -> Result<bool, StoreError> {
    Ok(in_use(configured, &store.kept_api_keys().await?, account).is_some())
}

/// Moves dead letters of accounts that are gone to the account `to`, which has these `rules`, in the order of their ids; the result for each.
/// At most `MAX_MOVED` of them.
pub async fn move_dead_letters(
    store: &dyn Store,
    configured: &[AccountName],
    (to, rules): (&AccountName, &Rules),
    ids: &[i64],
) -> Result<Vec<ReplayResult>, StoreError> {
    let kept = store.kept_api_keys().await?;
    let is_unconfigured = |account: &str| in_use(configured, &kept, &AccountName::from(account.to_owned())).is_none();
    let (mut moved, mut results) = (Vec::new(), Vec::new());
    for id in ids.iter().copied().collect::<BTreeSet<i64>>() {
        let letter = match store.dead_letter(id).await? {
            None => Err(Replay::Missing),
            Some(letter) if is_unconfigured(&letter.account) => as_received_by(store, (to, rules), &letter),
            Some(_) => Err(Replay::AccountExists),
        };
        match letter {
            Ok(event) => moved.push(MovedDeadLetter { id, event }),
            Err(why) => results.push(ReplayResult::new(id, Err(why))),
        }
    }
    if !moved.is_empty() {
        results.extend(store.move_dead_letters(moved).await?);
    }
    results.sort_unstable_by_key(|result| result.id);
    Ok(results)
}

/// The event of a dead letter, as the account `to` would have received it.
fn as_received_by(
    store: &dyn Store,
    (to, rules): (&AccountName, &Rules),
    letter: &DeadLetter,
) -> Result<NewEvent, Replay> {
    let unreadable = if letter.erased { Replay::Erased } else { Replay::Damaged };
    let text = letter.body.as_deref().ok_or(unreadable)?;
    let event = Event::parse(text).map_err(|_| Replay::NoUser)?;
    let user = mapping::user(&event, rules);
    // Whether its user is known is decided when it is delivered.
    let event = NewEvent::received(to, store.hash_key(), (&event, text), &user, letter.received_at);
    if event.user_keys.is_empty() { Err(Replay::NoUser) } else { Ok(event) }
}
