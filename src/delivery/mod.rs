//! The delivery of an event, from its intent to its outcome, as a pure state machine.
//!
//! In: an [`Intent`](crate::mapping::Intent), the records about the user ([`Memory`]), the progress of the delivery, and the last
//! [`Reply`]. Out: a [`Step`], which is the next [`Call`], or how the attempt ends. Invariant: no async, clock, randomness or HTTP, so
//! every scenario is a script of replies. Deliberately absent: the wait before a retry, and the storage of memory and progress.

mod affiliate_list;
mod coalesce;
mod delete;
mod exchange;
mod existing;
mod identify;
mod memory;
mod outcome;
mod outcome_code;
mod plan;
mod policy;
mod read_back;
mod rejection;
mod search;
mod state;
mod status;
mod unanswered_new;

pub use affiliate_list::{Learn, ListPage, ListProgress, ListedAffiliate, learned};
pub use coalesce::{Coalesced, coalesce};
pub use exchange::{Affiliate, ApiKeyVerification, Call, Identifier, Rejection, Reply, SearchResult, TransientFailure};
pub use memory::{
    AffiliateRecord, DeleteTarget, Done, Memory, Origin, Progress, RecalledAffiliate, RejectedValues, SealedTraits,
    Stage,
};
pub use outcome::{Action, Ignored, PermanentFailure, Remark, Step, Success};
pub use outcome_code::OutcomeCode;
pub use plan::{found_affiliate, on_affiliate_in_use, on_not_sent, on_recalled, rests_on_status, step};
pub use policy::{OnDelete, OnExisting, OnOtherUser, OnStale, Policy};
pub use state::{AffiliateAccess, PlanInput, PlanState};
pub use unanswered_new::UnansweredNew;
