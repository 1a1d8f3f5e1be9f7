//! Errors of SQLite as errors of the store: transient, corrupt or fatal.
//!
//! In: an error of rusqlite. Out: a [`StoreError`]. Invariant: an error is transient only if the same request can succeed
//! later without a change of the program or the file. Deliberately absent: retries, which are the caller's.

use crate::store::StoreError;
use rusqlite::{Error, ErrorCode};

/// Why a job of the writer did nothing.
#[derive(Debug)]
pub enum JobError {
    /// It was refused before it wrote anything. The other jobs of its group go on.
    Refused(StoreError),
    /// SQLite failed; what the job wrote is rolled back.
    Failed(Error),
}

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether SQLite cannot read a page of the file.
pub fn is_corruption(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
}

/// The error of the store that stands for this failure.
pub fn store_error(error: &Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OperationAborted
            | ErrorCode::OperationInterrupted
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::SchemaChanged,
        ) => StoreError::Transient(error.to_string()),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Fatal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn an_error_that_may_pass_is_transient_and_no_other_is() {
        for (code, transient) in [
            (ffi::SQLITE_FULL, true),
            (ffi::SQLITE_BUSY, true),
            (ffi::SQLITE_BUSY_SNAPSHOT, true),
            (ffi::SQLITE_LOCKED, true),
            (ffi::SQLITE_IOERR_FSYNC, true),
            (ffi::SQLITE_NOMEM, true),
            (ffi::SQLITE_CANTOPEN, true),
            (ffi::SQLITE_READONLY, true),
            (ffi::SQLITE_INTERRUPT, true),
            (ffi::SQLITE_CONSTRAINT, false),
            (ffi::SQLITE_CORRUPT, false),
            (ffi::SQLITE_NOTADB, false),
            (ffi::SQLITE_MISMATCH, false),
            (ffi::SQLITE_MISUSE, false),
            (ffi::SQLITE_ERROR, false),
        ] {
            let error = store_error(&Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(matches!(error, StoreError::Transient(_)), transient, "{error}");
        }
        assert!(matches!(store_error(&Error::QueryReturnedNoRows), StoreError::Fatal(_)));
    }
}
