//! Affiliates of Refersion's list, and the progress of reading it: the trait [`AffiliateIndex`] of the engine.
//!
//! Invariants: known affiliates do not change; no deleted user is restored; a page and the progress after it are committed together. The
//! progress is in the table `meta`, by the number of the account.

use super::affiliates::{find_affiliate, save};
use super::query::Query;
use super::schema::set_meta;
use super::write_tx::WriteTx;
use super::{SqliteStore, erase};
use crate::domain::AccountName;
use crate::store::erasure::UserKeyHash;
use crate::store::{AffiliateIndex, Remember, StoreError, user_keys};
use async_trait::async_trait;
use rusqlite::Connection;

#[async_trait]
impl AffiliateIndex for SqliteStore {
    async fn list_progress(&self, account: &AccountName) -> Result<Option<String>, StoreError> {
        let account = account.clone();
        let sql = "SELECT CAST(value AS TEXT) FROM accounts JOIN meta ON meta.name = 'list ' || account
                   WHERE accounts.name = ?1";
        let read = move |connection: &Connection| connection.one(sql, [account.as_str()], |row| Ok(row.get(0)?));
        self.readers.read(read).await
    }

    async fn remember_listed(
        &self,
        account: &AccountName,
        affiliates: Vec<Remember>,
        progress: String,
    ) -> Result<Vec<Remember>, StoreError> {
        let account = account.clone();
        let remember = move |tx: &mut WriteTx<'_>| {
            let number = tx.account_number(&account)?;
            let mut remembered = Vec::new();
            for affiliate in &affiliates {
                if is_unknown(tx, &account, affiliate)? {
                    save(tx, &account, number, affiliate)?;
                    remembered.push(affiliate.clone());
                }
            }
            set_meta(tx.connection, &format!("list {number}"), &progress)?;
            Ok(remembered)
        };
        self.writer.write(remember).await
    }
}

/// Whether neither the affiliate nor one of its user keys is known or was deleted.
fn is_unknown(tx: &WriteTx<'_>, account: &AccountName, affiliate: &Remember) -> Result<bool, StoreError> {
    let own = user_keys::of_affiliate(&tx.state.hash, account, &affiliate.known.code);
    for key in std::iter::once(own).chain(affiliate.user_keys.iter().map(user_keys::tagged)) {
        let hash: UserKeyHash = std::array::from_fn(|i| key[i + 1]);
        if find_affiliate(tx.connection, &key)?.is_some() || erase::last_moment(tx.connection, &hash)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}
