//! Rows of the table `accounts`: adding and locking them.
//!
//! In: names of accounts. Out: their numbers, the tokens of their owners, and the start of the server. Invariants: a number is used in the
//! transaction that locked the row, or compared with it there, because a promoted standby may lack an account and give its number to
//! another one; rows are locked in the order of their numbers, so no deadlock can arise. Deliberately absent: numbers that are kept in
//! memory.

use super::leases::LeaseToken;
use super::session::Session;
use crate::domain::AccountName;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// The number of an account in the tables.
pub type AccountNumber = i32;

const ADD: &str = "INSERT INTO accounts (name)
    SELECT name FROM unnest($1::text[]) AS wanted (name)
    WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.name = wanted.name) ON CONFLICT DO NOTHING";

/// `NO KEY`: as strong as an update of any other column, and no stronger. If another transaction had the lock, the row is returned as that
/// transaction left it.
pub const LOCK: &str = "SELECT name, account, token, pg_postmaster_start_time() FROM accounts
    WHERE name = ANY ($1) ORDER BY account FOR NO KEY UPDATE";

const NUMBER: &str = "SELECT account FROM accounts WHERE name = $1";

/// The locked rows of some accounts.
#[derive(Debug, Default)]
pub struct Locked(BTreeMap<AccountName, LockedAccount>);

/// A locked row.
#[derive(Clone, Copy, Debug)]
pub struct LockedAccount {
    /// The number of the account.
    pub number: AccountNumber,
    token: Option<Uuid>,
    /// When the server was started.
    pub server: SystemTime,
}

impl LockedAccount {
    /// The lease of the account by this new token.
    pub fn lease_token(&self, token: Uuid) -> LeaseToken {
        LeaseToken { account: self.number, token, server: self.server }
    }
}

impl Locked {
    /// The rows that [`LOCK`] returned.
    pub fn read(rows: &[Row]) -> Self {
        let account = |row: &Row| LockedAccount { number: row.get(1), token: row.get(2), server: row.get(3) };
        Self(rows.iter().map(|row| (AccountName::from(row.get::<_, String>(0)), account(row))).collect())
    }

    /// The row of an account; `None`: it has none.
    pub fn get(&self, name: &AccountName) -> Option<&LockedAccount> {
        self.0.get(name)
    }

    /// The number of an account.
    pub fn number(&self, name: &AccountName) -> Option<AccountNumber> {
        self.get(name).map(|account| account.number)
    }

    /// Whether the account is held by this token, and this server confirmed that.
    pub fn is_held_by(&self, name: &AccountName, lease: LeaseToken) -> bool {
        self.get(name).is_some_and(|row| row.token.is_some_and(|token| lease == row.lease_token(token)))
    }

    /// The accounts with their numbers.
    pub fn numbers(&self) -> impl Iterator<Item = (&AccountName, AccountNumber)> {
        self.0.iter().map(|(name, account)| (name, account.number))
    }

    /// Whether it has a row for each of these names, which differ.
    pub fn has_all(&self, names: &[&str]) -> bool {
        self.0.len() == names.len()
    }
}

/// Adds the missing accounts of this list. A process that adds one of them at the same time waits for the end of the transaction.
pub async fn add(session: &Session, names: &[&str]) -> Result<(), Error> {
    session.execute(ADD, &[&names]).await.map(drop)
}

/// The number of an account; `None` if it has none.
pub async fn number(session: &Session, name: &AccountName) -> Result<Option<AccountNumber>, Error> {
    Ok(session.query_opt(NUMBER, &[&name.as_str()]).await?.map(|row| row.get(0)))
}

/// The names of these accounts.
pub fn as_str<'a>(accounts: impl IntoIterator<Item = &'a AccountName>) -> Vec<&'a str> {
    accounts.into_iter().map(AccountName::as_str).collect()
}

/// The names of these accounts, each once.
pub fn distinct<'a>(accounts: impl IntoIterator<Item = &'a AccountName>) -> Vec<&'a str> {
    as_str(accounts.into_iter().collect::<BTreeSet<_>>())
}
