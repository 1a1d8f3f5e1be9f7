//! Storing pages of Refersion's list of affiliates, and the progress of reading it. [`crate::delivery`] decides what is stored; an engine
//! stores the progress as a text.
//!
//! Invariant: a progress that cannot be read counts as none, so the list is read from its first page on. Deliberately absent: the calls to
//! Refersion, and when they are made.

use super::{Remember, Store, StoreError};
use crate::delivery::{ListPage, ListProgress, learned};
use crate::domain::{AccountName, Timestamp};

/// The progress of reading the list of `account`.
pub async fn list_progress(store: &dyn Store, account: &AccountName) -> Result<ListProgress, StoreError> {
    let saved = store.list_progress(account).await?;
    Ok(saved.and_then(|saved| serde_json::from_str(&saved).ok()).unwrap_or_default())
}

/// Remembers the affiliates of a page that was read at `now`. `before`: the progress before it. Returns the progress after it, and the
/// affiliates that were new.
pub async fn remember_page(
    store: &dyn Store,
    account: &AccountName,
    before: &ListProgress,
    page: &ListPage,
    now: Timestamp,
) -> Result<(ListProgress, Vec<Remember>), StoreError> {
    let after = before.after(page, now);
    let learned = learned(page, store.hash_key(), account).into_iter();
    let affiliates = learned.map(|(known, email)| Remember { known, user_keys: vec![email] }).collect();
    let progress = serde_json::to_string(&after).map_err(|error| StoreError::Fatal(error.to_string()))?;
    let added = store.remember_listed(account, affiliates, progress).await?;
    Ok((after, added))
}
