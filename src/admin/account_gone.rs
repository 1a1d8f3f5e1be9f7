//! Events of an account that is gone: its pending events are set aside as dead letters, and dead letters go to another account.
//!
//! In: accounts, and ids of dead letters. Out: how many events were set aside, and the result for each dead letter. An account is gone if
//! it is not configured, no API key of it is kept, and no process owns it. Invariants: nothing of an account that is not gone is set aside
//! or moved; a moved event is what it would be if the other account had received it at the same moment: its id and its user keys are hashes
//! with the account's name, so they are computed again, by the rules of the other account. Deliberately absent: discarding, which is that
//! of any dead letter.

use super::Admin;
use super::problem::Problem;
use crate::domain::{AccountName, SealedApiKey};
use crate::mapping::{self, Rules};
use crate::segment::Event;
use crate::store::{DeadLetter, MovedDeadLetter, NewEvent, Replay, ReplayResult, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// The most events that one transaction sets aside.
const PORTION: usize = 500;
/// The most dead letters that one transaction moves.
pub(super) const MAX_MOVED: usize = 100;

/// The result of setting aside events of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetAside {
    /// How many pending events became dead letters with this request; 0 if none was left.
    pub events: u64,
    /// How many events are still pending.
    pub pending: u64,
}

/// Sets aside the next pending events of an account that is gone: they become dead letters.
pub(super) async fn set_aside(admin: &Admin, account: &AccountName) -> Result<SetAside, Problem> {
    let store = &admin.store;
    if let Some(why) = in_use(&admin.configured_names(), &store.kept_api_keys().await?, account) {
        return Err(Problem::AccountInUse(why));
    }
    let Some(events) = store.set_aside(account, admin.clock.now(), PORTION).await? else {
        // Another process, perhaps with another configuration.
        let why = format!("a process owns the account {account}: wait until it has ended or has given the account up");
        return Err(Problem::AccountInUse(why));
    };
    tracing::info!(%account, events, "an operator set aside pending events of an account that is gone");
    Ok(SetAside { events, pending: store.pending().get(account.as_str()).copied().unwrap_or(0) })
}

/// Why the account is not gone, as far as the configuration and the kept keys tell: its events are delivered, or can be.
pub(super) fn in_use(configured: &[AccountName], kept: &[SealedApiKey], account: &AccountName) -> Option<String> {
    if configured.contains(account) {
        return Some(format!("the account {account} is configured, so its events are delivered"));
    }
    is_kept(kept, account).then(|| {
        format!(
            "the API key of the account {account} is kept, so its events can be delivered; `DELETE /api/v1/keys/{account}` \
             removes it"
        )
    })
}

/// Whether an API key of the account is among the `kept` ones.
pub(super) fn is_kept(kept: &[SealedApiKey], account: &AccountName) -> bool {
    kept.iter().any(|key| key.account == *account)
}

/// Moves dead letters of accounts that are gone to the account `to`, in the order of their ids; the result for each. At most
/// `MAX_MOVED` of them.
pub(super) async fn move_dead_letters(admin: &Admin, to: &str, ids: &[i64]) -> Result<Vec<ReplayResult>, Problem> {
    let (config, to) = (admin.accounts.config(), admin.deliverable_account(to).await?);
    let (store, configured) = (&*admin.store, admin.configured_names());
    let kept = store.kept_api_keys().await?;
    let is_unconfigured = |account: &str| in_use(&configured, &kept, &AccountName::from(account.to_owned())).is_none();
    let (mut moved, mut results) = (Vec::new(), Vec::new());
    for id in ids.iter().copied().collect::<BTreeSet<i64>>() {
        let letter = match store.dead_letter(id).await? {
            None => Err(Replay::Missing),
            Some(letter) if is_unconfigured(&letter.account) => {
                as_received_by(store, (&to, config.rules_of(to.as_str())), &letter)
            }
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
    let user = mapping::map(&event, rules, letter.received_at).into_user(&event, rules);
    // Whether its user is known is decided when it is delivered.
    let event = NewEvent::received(to, store.hash_key(), (&event, text), &user, letter.received_at);
    if event.user_keys.is_empty() { Err(Replay::NoUser) } else { Ok(event) }
}
