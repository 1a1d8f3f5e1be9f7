//! The moves of accounts between processes: this one takes accounts, asks for them, and gives them up.
//!
//! In: the accounts of each move, and the moment until which there is time for further portions. Out: leases that begin or end. Invariant:
//! an account is given up only when the last clone of its lease was dropped. Deliberately absent: which account moves
//! ([`super::ownership`]), and statements ([`super::owners`]).

use super::PostgresStore;
use super::accounts::as_str;
use super::leases::LeaseEnd;
use super::listen::HintMessage;
use super::owners::{self, AccountRow, uuid};
use crate::domain::AccountName;
use crate::store::StoreError;
use std::collections::BTreeSet;
use tokio::time::Instant;
use uuid::Uuid;

/// The most accounts that are taken or given in one transaction.
const PORTION: usize = 500;

/// The portions of this list: the first one, and those that begin before the next renewal is due. However many accounts there are, the
/// leases do not end meanwhile.
fn portions<T>(accounts: &[T], due: Instant) -> impl Iterator<Item = &[T]> {
    let in_time = move |(number, _): &(usize, _)| *number == 0 || Instant::now() < due;
    accounts.chunks(PORTION).enumerate().take_while(in_time).map(|(_, portion)| portion)
}

impl PostgresStore {
    /// Takes accounts over if their owners are still dead.
    pub(super) async fn take(&self, rows: &[AccountRow], until: Instant) -> Result<(), StoreError> {
        for portion in portions(rows, until) {
            let (me, token) = (uuid(self.shared.hints.me), Uuid::from_u128(rand::random()));
            let owners: BTreeSet<Uuid> = portion.iter().filter_map(|row| row.owner).collect();
            let owners: Vec<Uuid> = owners.into_iter().collect();
            let names: Vec<AccountName> = portion.iter().map(|row| row.name.clone()).collect();
            let taken = self.listen.transaction(move |session| {
                Box::pin(async move { owners::take(session, me, token, &as_str(&names), &owners).await })
            });
            for (account, token) in taken.await? {
                self.shared.leases.hold(&account, token);
                tracing::info!(%account, "this process owns the account now: it had no live owner");
            }
        }
        Ok(())
    }

    /// Asks the owners of these accounts for them.
    pub(super) async fn ask(&self, accounts: &[(AccountName, Uuid)], until: Instant) -> Result<(), StoreError> {
        for portion in portions(accounts, until) {
            let (names, owners): (Vec<AccountName>, Vec<Uuid>) = portion.iter().cloned().unzip();
            let me = uuid(self.shared.hints.me);
            let asked = self.listen.transaction(move |session| {
                Box::pin(async move { owners::ask(session, me, &as_str(&names), &owners).await })
            });
            if asked.await? > 0 {
                self.shared.hints.add(HintMessage::Owners);
            }
        }
        Ok(())
    }

    /// Gives up the accounts whose ending leases have no clone left, or gives them a new lease.
    pub(super) async fn give_up_ended(&self, until: Instant) -> Result<(), StoreError> {
        let (mut given, leases) = (Vec::new(), &self.shared.leases);
        for (name, token, ending) in leases.ended() {
            match ending {
                LeaseEnd::Lost => leases.remove(&name),
                LeaseEnd::Again => {
                    leases.remove(&name);
                    leases.hold(&name, token);
                }
                LeaseEnd::Give(to) => given.push((name, to.map(uuid), token.token)),
            }
        }
        for portion in portions(&given, until) {
            let (me, token) = (uuid(self.shared.hints.me), Uuid::from_u128(rand::random()));
            let names: Vec<AccountName> = portion.iter().map(|(name, ..)| name.clone()).collect();
            let (owners, tokens): (Vec<Option<Uuid>>, Vec<Uuid>) =
                portion.iter().map(|(_, to, token)| (*to, *token)).unzip();
            let written = self.listen.transaction(move |session| {
                Box::pin(async move { owners::give(session, (me, token), &as_str(&names), &owners, &tokens).await })
            });
            written.await?;
            for (name, to, _) in portion {
                leases.remove(name);
                tracing::info!(account = %name, asked = to.is_some(), "this process gave the account up");
            }
            self.shared.hints.add(HintMessage::Owners);
        }
        Ok(())
    }

    /// Gives up every account without events in flight. Other processes take over the others when the lease has ended.
    pub(super) async fn resign(&self) -> Result<(), StoreError> {
        self.shared.leases.end_all(LeaseEnd::Give(None));
        self.give_up_ended(Instant::now() + self.replica.times.0).await?;
        if self.shared.leases.held().is_empty() {
            self.deregister().await?;
        }
        Ok(())
    }

    /// Removes this process, which owns no account and will own none.
    pub(super) async fn deregister(&self) -> Result<(), StoreError> {
        let me = uuid(self.shared.hints.me);
        self.listen.run(move |session| Box::pin(async move { owners::deregister(session, me).await })).await
    }
}
