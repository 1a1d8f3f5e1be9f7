//! The search for an affiliate by e-mail. Refersion's search matches partially and answers in pages.
//!
//! A search for `bob@x.io` also finds `notbob@x.io`. Only the exact address counts, in any of its spellings
//! ([`Email::is_same_address`](crate::domain::Email::is_same_address)).

use super::{Call, PermanentFailure, PlanState, Reply, SearchResult, Stage, Step};

/// The most pages that are read: no account has a thousand pages of addresses that contain one address.
const MAX_PAGES: u32 = 1_000;

/// The result of a page of a search.
pub(super) enum Search {
    /// The affiliate with the exact address.
    Found(SearchResult),
    /// No affiliate has the address.
    NotFound,
    /// The search continues with the next page, or the delivery ends with this step.
    Unfinished(Option<Step>),
}

/// Handles the reply to `call`, a search.
pub(super) fn on_reply(state: &mut PlanState, call: &Call, reply: Reply) -> Search {
    let (Call::Search { email, page }, Stage::Searching { seen, .. }) = (call, &state.progress.stage) else {
        return Search::Unfinished(Some(Step::unexpected(call)));
    };
    let (total, results) = match reply {
        Reply::Page { total, results } => (total, results),
        Reply::NotFound => return Search::NotFound,
        _ => return Search::Unfinished(Some(Step::unexpected(call))),
    };
    let seen = seen + results.len() as u64;
    let last = results.is_empty() || seen >= total;
    match results.into_iter().find(|found| email.is_same_address(&found.email)) {
        Some(found) => Search::Found(found),
        None if last => Search::NotFound,
        None if *page >= MAX_PAGES => Search::Unfinished(Some(Step::Dead(PermanentFailure::EndlessSearch))),
        None => {
            state.progress.stage = Stage::Searching { page: page + 1, seen };
            Search::Unfinished(None)
        }
    }
}
