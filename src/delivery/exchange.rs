//! The calls to Refersion for an event ([`Call`]), and the meanings of Refersion's answers ([`Reply`]).
//!
//! [`crate::refersion`] turns a call into an HTTP request and an HTTP response into a reply, so that every delivery scenario is tested
//! without HTTP. Invariant: a `Reply` has the meaning of an answer, not its wording; texts in it are safe to show. Deliberately absent:
//! passwords ([`crate::refersion`] draws one as it sends `new`), headers, status codes.

use crate::domain::{AffiliateCode, AffiliateId, AffiliateStatus, Email, NewAffiliate, Profile};
use std::time::Duration;

/// A call to Refersion. Some calls for several affiliates can share a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `/affiliate/new`.
    New(NewAffiliate),
    /// `/affiliate/search` by address: a partial match, one page at a time, pages counted from 1.
    Search {
        /// The address to find.
        email: Email,
        /// The number of the page, from 1.
        page: u32,
    },
    /// `/affiliate/get`, by either identifier.
    Get(Identifier),
    /// `/affiliate/edit` of one affiliate.
    Edit {
        /// Whom.
        id: AffiliateId,
        /// The values to set; never empty.
        changes: Profile,
    },
    /// `/affiliate/status_change` of one affiliate.
    SetStatus {
        /// Whom.
        id: AffiliateId,
        /// `ACTIVE`, `DENIED` or `DISABLED`: the operation knows no `PENDING`.
        status: AffiliateStatus,
    },
}

impl Call {
    /// The operation's name in Refersion's API.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Search { .. } => "search",
            Self::Get(_) => "get",
            Self::Edit { .. } => "edit",
            Self::SetStatus { .. } => "status_change",
        }
    }

    /// Whether it is to change something at Refersion.
    pub fn is_write(&self) -> bool {
        match self {
            Self::New(_) | Self::Edit { .. } | Self::SetStatus { .. } => true,
            Self::Search { .. } | Self::Get(_) => false,
        }
    }

    /// The affiliate of an `edit` or a `status_change`.
    pub fn affiliate(&self) -> Option<AffiliateId> {
        match self {
            Self::Edit { id, .. } | Self::SetStatus { id, .. } => Some(*id),
            Self::New(_) | Self::Search { .. } | Self::Get(_) => None,
        }
    }

    /// Whether one request can make both calls if they are about two affiliates: both edits, or both changes to the same status.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Edit { .. }, Self::Edit { .. }) => true,
            (Self::SetStatus { status, .. }, Self::SetStatus { status: also, .. }) => status == also,
            _ => false,
        }
    }
}

/// An identifier of an affiliate in `get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// `{"affiliate_code": …}`
    Code(AffiliateCode),
    /// `{"id": …}`
    Id(AffiliateId),
}

/// The meaning of an answer or of its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `new` succeeded. Refersion states the numeric id only in an English sentence, so it may be missing.
    Created {
        /// The alphanumeric code.
        code: AffiliateCode,
        /// The numeric id, if the sentence could be read.
        id: Option<AffiliateId>,
    },
    /// A page of search results.
    Page {
        /// The number of results on all pages.
        total: u64,
        /// The results of this page.
        results: Vec<SearchResult>,
    },
    /// `get` found the affiliate.
    Affiliate(Affiliate),
    /// `get` or `search` found none.
    NotFound,
    /// `edit` or `status_change` changed the affiliate.
    Changed,
    /// `edit` or `status_change` did not change the affiliate, and gave no reason.
    NotChanged,
    /// Rejected for good (not retryable): the same call would be rejected again. The plan may make another call without a rejected value
    /// (`delivery/rejection.rs`). Metrics and logs call it `refused`, the name of the first release.
    Rejected(Rejection),
    /// The API key is wrong, which is the fault of no event.
    Unauthorized,
    /// Too many calls: the account has to pause.
    RateLimited {
        /// The wait that Refersion asked for.
        retry_after: Option<Duration>,
    },
    /// Not now (retryable): an outage, or an answer that is not Refersion's, such as a redirect or a 4xx of a proxy. The call had no
    /// effect, or a repeat of it does no harm (an `edit`, a status).
    Unavailable(TransientFailure),
    /// The call was sent and no answer, or no clear one, came: it may have had its effect.
    Lost(TransientFailure),
}

/// A failure after which a later attempt may succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransientFailure {
    /// What happened, in words that are safe to show.
    pub what: String,
    /// The wait that Refersion asked for.
    pub retry_after: Option<Duration>,
}

impl TransientFailure {
    /// A failure after which Refersion asks for no wait.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), retry_after: None }
    }
}

impl Reply {
    /// Its name, for logs and counters: what it holds may be personal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Page { .. } => "page",
            Self::Affiliate(_) => "affiliate",
            Self::NotFound => "not_found",
            Self::Changed => "changed",
            Self::NotChanged => "not_changed",
            Self::Rejected(_) => "refused",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable(_) => "unavailable",
            Self::Lost(_) => "lost",
        }
    }
}

/// A search result: `id` is the code here, and the address may only resemble the one looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchResult {
    /// The alphanumeric code.
    pub code: AffiliateCode,
    /// The address as Refersion keeps it.
    pub email: String,
    /// The status, where it could be read.
    pub status: Option<AffiliateStatus>,
}

/// What `get` shows of an affiliate. Address, phone and PayPal address are never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affiliate {
    /// The numeric id.
    pub id: AffiliateId,
    /// The status, where it could be read.
    pub status: Option<AffiliateStatus>,
    /// The fields that `get` [returns](crate::domain::Field::is_returned_by_get), as Refersion keeps them.
    pub profile: Profile,
}

/// Why a call was rejected for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The e-mail belongs to another affiliate.
    EmailTaken,
    /// Anything else, in Refersion's words with our own values taken out: safe to show.
    Other(String),
}

/// Whether Refersion accepts an API key, as the cheapest call shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyVerification {
    /// Refersion accepts the API key.
    Accepted,
    /// Refersion rejects the API key (401).
    Rejected,
    /// The response does not show it, or there is none.
    Unknown(TransientFailure),
}
