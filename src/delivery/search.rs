//! From an e-mail to an affiliate's code, through a search that matches partially and answers in pages.
//!
//! `bob@x.io` also finds `notbob@x.io`; only the exact address, compared without case, counts.

use super::{Found, Reply, Stage};
use crate::domain::Email;

/// No account has a thousand pages of addresses that contain one address.
const MAX_PAGES: u32 = 1_000;

/// What a page of search results comes to.
pub(super) enum Search {
    /// The exact address.
    Hit(Found),
    /// Not on this page, and there are more.
    Next(Stage),
    /// On no page.
    Miss,
    /// More pages than there can be.
    Endless,
    /// No answer to a search.
    Unexpected,
}

/// Reads the answer to a search for `email`, of which `page` was asked for after `seen` earlier results.
pub(super) fn read(email: &Email, page: u32, seen: u64, reply: Reply) -> Search {
    let (total, results) = match reply {
        Reply::Page { total, results } => (total, results),
        Reply::NotFound => return Search::Miss,
        _ => return Search::Unexpected,
    };
    let seen = seen + results.len() as u64;
    let last = results.is_empty() || seen >= total;
    match results.into_iter().find(|found| email.is_same_address(&found.email)) {
        Some(found) => Search::Hit(found),
        None if last => Search::Miss,
        None if page >= MAX_PAGES => Search::Endless,
        None => Search::Next(Stage::Searching { page: page + 1, seen }),
    }
}
