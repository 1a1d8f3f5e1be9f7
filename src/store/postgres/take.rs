//! Taking an account for this process, whoever owned it before.

use super::PostgresStore;
use super::error::JobError;
use crate::domain::AccountName;
use crate::store::StoreError;
use std::sync::Arc;

const TAKE: &str = "UPDATE accounts SET token = gen_random_uuid() WHERE account = $1 RETURNING token";

impl PostgresStore {
    /// This process owns the account from now on. Whoever owned it before changes nothing of it any more.
    pub async fn take(&self, account: &AccountName) -> Result<(), StoreError> {
        let (name, shared) = (account.clone(), Arc::clone(&self.shared));
        let take = self.owner.transaction(move |session| {
            Box::pin(async move {
                let number = shared.number(session, &name).await?;
                let row = session.query_one(TAKE, &[&number]).await?;
                shared.set_token(&name, row.get(0));
                Ok::<_, JobError>(())
            })
        });
        take.await
    }
}
