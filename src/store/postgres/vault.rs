//! Sealed API keys of accounts that are not configured, and the saved health of accounts. Both are opaque here.

use super::columns::{arrays, text};
use super::leases::LeaseToken;
use super::session::Session;
use crate::domain::{AccountName, SealedApiKey};
use tokio_postgres::Error;

/// Stores these API keys, all of them or none. Each replaces an earlier one of its account.
pub async fn keep_api_keys(session: &Session, keys: &[SealedApiKey]) -> Result<(), Error> {
    // If there are several keys of one account, the last one counts.
    let sql = "INSERT INTO sealed_keys (account, sealed)
               SELECT DISTINCT ON (account) account, sealed
               FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS new (account, sealed, place)
               ORDER BY account, place DESC
               ON CONFLICT (account) DO UPDATE SET sealed = excluded.sealed";
    session.execute(sql, arrays!(key in keys => key.account.as_str(), key.blob.as_slice())).await.map(drop)
}

/// Every stored API key.
pub async fn kept_api_keys(session: &Session) -> Result<Vec<SealedApiKey>, Error> {
    let rows = session.query("SELECT account, sealed FROM sealed_keys ORDER BY account", &[]).await?;
    let key = |row: &tokio_postgres::Row| SealedApiKey {
        account: AccountName::from(row.get::<_, String>(0)),
        blob: row.get(1),
    };
    Ok(rows.iter().map(key).collect())
}

/// Removes the API key of an account; returns whether there was one.
pub async fn remove_api_key(session: &Session, account: &AccountName) -> Result<bool, Error> {
    let (name, sql) = (text(account.as_str()), "DELETE FROM sealed_keys WHERE account = $1");
    Ok(session.execute(sql, &[&name]).await? > 0)
}

/// The saved health of the account.
pub async fn health(session: &Session, account: &AccountName) -> Result<Option<String>, Error> {
    let row = session.query_opt("SELECT health FROM accounts WHERE name = $1", &[&account.as_str()]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

/// Saves the health of the account in place of an earlier one; returns whether this process still holds the account by this token.
pub async fn save_health(session: &Session, held: LeaseToken, health: &str) -> Result<bool, Error> {
    let sql = "UPDATE accounts SET health = $3 WHERE account = $1 AND token = $2";
    Ok(session.execute(sql, &[&held.account, &held.token, &health]).await? > 0)
}
