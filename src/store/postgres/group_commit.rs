//! Group commit: requests that are committed in one transaction, and the receivers of their results.
//!
//! In: a group, and its transaction, which has begun. Out: the result of each request, sent after the commit. If a group fails for good,
//! each of its requests is committed in a separate transaction, so that a bad request fails alone. Deliberately absent: which requests form
//! a group ([`super::connection_task`]), and the content of a request ([`Committer`]).

use super::accounts::Locked;
use super::committer::Committer;
use super::connection_message::ResultSender;
use super::error::store_error;
use super::session::Session;
use crate::store::{Commit, StoreError};
use std::time::Instant;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Requests, and the receivers of their results.
pub struct Group<C: Committer> {
    /// The requests.
    pub requests: Vec<C::Request>,
    /// A receiver for each of them.
    pub replies: Vec<ResultSender<C>>,
}

impl<C: Committer> Group<C> {
    /// Commits the group, whose transaction began at `began`, and replies. If it failed for good, each of its requests is committed alone.
    /// Returns the last failure.
    pub async fn commit(
        self,
        committer: &C,
        session: &Session,
        begun: Result<Locked, Error>,
        began: Instant,
    ) -> Option<Error> {
        let Self { requests, replies } = self;
        let mut failed = match commit_begun(committer, session, begun, &requests).await {
            Ok(answers) => {
                committer.observer().committed(Commit { requests: requests.len(), took: began.elapsed() });
                for (reply, answer) in replies.into_iter().zip(answers) {
                    let _ = reply.send(answer); // Err: the caller has stopped waiting
                }
                return None;
            }
            Err(error) => error,
        };
        // The right to one table may be missing, which only some requests need.
        let lacks_right = |error: &Error| error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        let is_lasting = |error: &Error| {
            matches!(store_error(error), StoreError::Transient(_)) && !lacks_right(error) || session.has_ended()
        };
        let alone = requests.len() == 1;
        for (request, reply) in requests.into_iter().zip(replies) {
            let answer = if alone || is_lasting(&failed) {
                Err(store_error(&failed))
            } else {
                let request = [request];
                let begun = committer.begin(session, &request).await;
                match commit_begun(committer, session, begun, &request).await {
                    Ok(mut answers) => answers.pop().unwrap_or(Err(StoreError::Closed)),
                    Err(error) => {
                        failed = error;
                        Err(store_error(&failed))
                    }
                }
            };
            let _ = reply.send(answer); // Err: the caller has stopped waiting
        }
        Some(failed)
    }
}

/// Commits a group if its transaction has begun. Err: it has not, or it is rolled back; no request took effect.
async fn commit_begun<C: Committer>(
    committer: &C,
    session: &Session,
    begun: Result<Locked, Error>,
    requests: &[C::Request],
) -> Result<Vec<Result<C::Output, StoreError>>, Error> {
    let committed = committer.commit(session, &begun?, requests).await;
    if committed.is_err() {
        session.roll_back().await;
    }
    committed
}
