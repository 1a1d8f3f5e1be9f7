//! Conversions from the results of the worker, the account registry and the store to responses.
//!
//! In: an outcome or an error. Out: the response. Deliberately absent: status codes, which are in [`super`].

use super::ApiResponse;
use crate::account_signals::WaitResult;
use crate::http::AdmissionError;
use crate::segment::AuthError;
use crate::store::StoreError;

impl From<WaitResult> for ApiResponse {
    fn from(outcome: WaitResult) -> Self {
        match outcome {
            WaitResult::Done(outcome) => Self::Settled(outcome),
            WaitResult::DeadLetter(failure) => Self::DeadLetter(failure),
            WaitResult::AccountHalted => Self::AccountHalted,
            WaitResult::Deferred => Self::Accepted,
        }
    }
}

impl From<AdmissionError> for ApiResponse {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::KeyRejected => Self::Unauthenticated(AuthError::KeyRejectedByRefersion),
            AdmissionError::KeyUnverified => Self::KeyUnverified,
            AdmissionError::KeyNotStored => Self::NotStored,
            AdmissionError::Draining => Self::Draining,
        }
    }
}

impl From<StoreError> for ApiResponse {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BacklogFull(_) => Self::BacklogFull,
            StoreError::ExceedsBacklog(max) => Self::ExceedsBacklog(max),
            StoreError::NotPending
            | StoreError::NotOwner
            | StoreError::Closed
            | StoreError::Transient(_)
            | StoreError::Corrupt(_)
            | StoreError::Fatal(_) => Self::NotStored,
        }
    }
}
