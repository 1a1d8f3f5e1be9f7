//! Statements in one call, prepared once per connection, whose rows are read as [`Columns`].
//!
//! Invariants: an error of SQLite is a [`StoreError`] here already, and transient only if the same request can succeed later without a
//! change of the program or the file; a row that is damaged is [`StoreError::Corrupt`], as a damaged page is. Deliberately absent: retries,
//! which the caller makes.

use crate::store::StoreError;
use crate::store::rows::{Columns, DAMAGED_PAGE, Damaged};
use rusqlite::{Connection, Error, ErrorCode, Params, Row};

/// Statements of a connection.
pub trait Query {
    /// Runs a statement; returns the number of rows that it changed.
    fn run(&self, sql: &str, values: impl Params) -> Result<usize, StoreError>;

    /// Whether there is a row.
    fn exists(&self, sql: &str, values: impl Params) -> Result<bool, StoreError>;

    /// The first row, if there is one.
    fn one<T>(&self, sql: &str, values: impl Params, read: impl ReadRow<T>) -> Result<Option<T>, StoreError>;

    /// Reads rows until `read` returns true: they are enough.
    fn each(&self, sql: &str, values: impl Params, read: impl ReadRow<bool>) -> Result<(), StoreError>;

    /// All rows.
    fn all<T>(&self, sql: &str, values: impl Params, read: impl ReadRow<T>) -> Result<Vec<T>, StoreError>;
}

/// Reads a row.
pub trait ReadRow<T>: FnMut(&Row<'_>) -> Result<T, StoreError> {}

impl<T, F: FnMut(&Row<'_>) -> Result<T, StoreError>> ReadRow<T> for F {}

impl Query for Connection {
    fn run(&self, sql: &str, values: impl Params) -> Result<usize, StoreError> {
        Ok(self.prepare_cached(sql)?.execute(values)?)
    }

    fn exists(&self, sql: &str, values: impl Params) -> Result<bool, StoreError> {
        Ok(self.prepare_cached(sql)?.exists(values)?)
    }

    fn one<T>(&self, sql: &str, values: impl Params, read: impl ReadRow<T>) -> Result<Option<T>, StoreError> {
        self.prepare_cached(sql)?.query_and_then(values, read)?.next().transpose()
    }

    fn each(&self, sql: &str, values: impl Params, mut read: impl ReadRow<bool>) -> Result<(), StoreError> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            if read(row)? {
                break;
            }
        }
        Ok(())
    }

    fn all<T>(&self, sql: &str, values: impl Params, read: impl ReadRow<T>) -> Result<Vec<T>, StoreError> {
        self.prepare_cached(sql)?.query_and_then(values, read)?.collect()
    }
}

impl Columns for Row<'_> {
    fn blob(&self, column: usize, part: &'static str) -> Result<Option<&[u8]>, Damaged> {
        self.get_ref(column).ok().and_then(|value| value.as_blob_or_null().ok()).ok_or(Damaged(part))
    }

    fn text(&self, column: usize, part: &'static str) -> Result<Option<&str>, Damaged> {
        self.get_ref(column).ok().and_then(|value| value.as_str_or_null().ok()).ok_or(Damaged(part))
    }

    fn integer(&self, column: usize, part: &'static str) -> Result<Option<i64>, Damaged> {
        self.get(column).map_err(|_| Damaged(part))
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
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
            ) => Self::Transient(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt) => DAMAGED_PAGE.into(),
            _ => Self::Fatal(error.to_string()),
        }
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
            let error = StoreError::from(Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(matches!(error, StoreError::Transient(_)), transient, "{error}");
        }
        assert!(matches!(StoreError::from(Error::QueryReturnedNoRows), StoreError::Fatal(_)));
    }
}
