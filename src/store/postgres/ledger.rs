//! Writing the events that were answered without being appended: rows of the log with an outcome, in the order in which they were recorded.
//!
//! In: the events in the [`LedgerBuffer`]. Out: rows. Invariants: a portion is a short transaction on the connection that settles, so no
//! append waits for it; it locks no account, because its rows are never pending; its transaction has a number before it draws seqs, so a
//! block of the log is made only after the end of the transaction (see [`key_blocks`](super::key_blocks)); user keys of a user who was
//! deleted since the receipt are left out.

use super::PostgresStore;
use super::accounts;
use super::columns::arrays;
use super::session::Session;
use crate::domain::SourceId;
use crate::store::{AnsweredEvent, Ledger, LedgerBuffer, StoreError, user_keys};
use async_trait::async_trait;
use std::sync::Arc;
use tokio_postgres::Error;

/// A key is 17 bytes, the first of which is its tag.
const INSERT: &str = "INSERT INTO log (seq, account, id, keys, received_at, source, answered, outcome)
    SELECT nextval('log_seq'), (SELECT accounts.account FROM accounts WHERE accounts.name = event.account), event.id,
        CASE WHEN EXISTS (SELECT 1 FROM deleted_users WHERE deleted_users.deleted_at > event.received_at
            AND key IN (substr(event.keys, 2, 16), substr(event.keys, 19, 16))) THEN ''::bytea ELSE event.keys END,
        event.received_at, event.source, true, event.outcome
    FROM (SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bigint[], $5::text[], $6::smallint[])
        WITH ORDINALITY AS recorded (account, id, keys, received_at, source, outcome, place) ORDER BY place) AS event";

#[async_trait]
impl Ledger for PostgresStore {
    fn recorded(&self) -> &LedgerBuffer {
        &self.shared.ledger
    }

    async fn write(&self, events: Arc<Vec<AnsweredEvent>>) -> Result<(), StoreError> {
        self.owner.run(move |session| Box::pin(async move { insert(session, &events).await })).await
    }
}

async fn insert(session: &Session, events: &[AnsweredEvent]) -> Result<(), Error> {
    accounts::add(session, &accounts::distinct(events.iter().map(|event| &event.account))).await?;
    let insert = async {
        session.query("SELECT pg_current_xact_id()::text", &[]).await?;
        let values = arrays!(event in events =>
            event.account.as_str(), event.id.0.as_slice(), user_keys::to_blob(&event.user_keys),
            event.received_at.0, event.source.as_ref().map(SourceId::as_str), event.outcome as i16);
        session.execute(INSERT, values).await.map(drop)
    };
    session.transaction(insert).await
}
