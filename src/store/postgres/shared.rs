//! The state that the connections of one engine share: the store's hash key, the numbers of accounts, the backlogs, the leases.
//!
//! Invariant: the number of an account never changes, so it is read once. After a change of the server it is read again, because a promoted
//! standby may lack the account.

use super::backlogs::Backlogs;
use super::leases::Leases;
use super::session::Session;
use crate::domain::{AccountName, HashKey};
use crate::store::{CommitObserver, LedgerBuffer};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio_postgres::Error;
use tokio_util::sync::CancellationToken;

/// The number of an account in the tables.
pub type AccountNumber = i32;

/// Adds the missing accounts of this list, and returns all of the list, except accounts that another process is adding.
const NUMBERS: &str =
    "WITH added AS (INSERT INTO accounts (name) SELECT wanted.name FROM unnest($1::text[]) AS wanted (name)
        WHERE (SELECT accounts.account FROM accounts WHERE accounts.name = wanted.name) IS NULL
        ON CONFLICT (name) DO NOTHING RETURNING name, account)
    SELECT name, account FROM added UNION ALL SELECT name, account FROM accounts WHERE name = ANY ($1)";

/// The shared state.
#[derive(Debug)]
pub struct Shared {
    /// The hash key of this store.
    pub hash: HashKey,
    /// The most pending events of one account.
    pub max_backlog: u64,
    /// Whether an event may have its former id, because this store was filled from one of an earlier release.
    pub has_former_ids: bool,
    /// The numbers of pending events.
    pub backlogs: Backlogs,
    /// The accounts that this process owns.
    pub leases: Leases,
    /// Receives every commit.
    pub observer: CommitObserver,
    /// The events that were answered without being appended and are not written yet.
    pub ledger: LedgerBuffer,
    /// Cancelled when a newer release has migrated the tables so far that this one has to end.
    pub too_old: CancellationToken,
    numbers: Mutex<HashMap<AccountName, AccountNumber>>,
}

impl Shared {
    /// The state at opening: no account is owned.
    pub fn new(hash: HashKey, max_backlog: u64, has_former_ids: bool, backlogs: Backlogs) -> Self {
        let (observer, ledger, too_old, numbers) = Default::default();
        let leases = Leases::new();
        Self { hash, max_backlog, has_former_ids, backlogs, leases, observer, ledger, too_old, numbers }
    }

    /// The number of an account, if it was read before.
    pub fn known_number(&self, name: &AccountName) -> Option<AccountNumber> {
        self.numbers.lock().get(name).copied()
    }

    /// Records the number of an account.
    pub fn know_number(&self, name: &AccountName, number: AccountNumber) {
        self.numbers.lock().insert(name.clone(), number);
    }

    /// Forgets the numbers, because the server is another one.
    pub fn forget_numbers(&self) {
        self.numbers.lock().clear();
    }

    /// The number of an account; `None` if it has none.
    pub async fn find_number(&self, session: &Session, name: &AccountName) -> Result<Option<AccountNumber>, Error> {
        let known = self.known_number(name);
        if known.is_some() {
            return Ok(known);
        }
        let row = session.query_opt("SELECT account FROM accounts WHERE name = $1", &[&name.as_str()]).await?;
        let found = row.map(|row| row.get(0));
        if let Some(number) = found {
            self.know_number(name, number);
        }
        Ok(found)
    }

    /// The numbers of these accounts; one that has none gets one. Not to be called within a transaction: a number stays.
    pub async fn numbers_of<'a>(
        &self,
        session: &Session,
        names: BTreeSet<&'a AccountName>,
    ) -> Result<BTreeMap<&'a AccountName, AccountNumber>, Error> {
        loop {
            let is_unknown = |name: &&&AccountName| self.known_number(name).is_none();
            let unknown: Vec<&str> = names.iter().filter(is_unknown).map(|name| name.as_str()).collect();
            if unknown.is_empty() {
                return Ok(names.into_iter().filter_map(|name| Some((name, self.known_number(name)?))).collect());
            }
            // The number of an account that another process adds at this moment is read the next time.
            for row in session.query(NUMBERS, &[&unknown]).await? {
                self.know_number(&AccountName::from(row.get::<_, String>(0)), row.get(1));
            }
        }
    }
}
