//! The conversion of PostgreSQL's errors to errors of the store: transient, corrupt or fatal.
//!
//! In: an error of tokio-postgres. Out: a [`StoreError`]. Invariants: an error is transient only if the same request can succeed later
//! without a change of the program or the tables, for instance after a right was granted; the text names no value of a row. Deliberately
//! absent: retries, which the caller makes.

use crate::store::StoreError;
use crate::store::rows::Damaged;
use std::error::Error as _;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// The reason why a job had no effect.
#[derive(Debug)]
pub enum JobError {
    /// The job was refused.
    Refused(StoreError),
    /// PostgreSQL failed; the writes of the job are rolled back.
    Failed(Error),
}

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<Damaged> for JobError {
    fn from(damaged: Damaged) -> Self {
        Self::Refused(damaged.into())
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        store_error(&error)
    }
}

impl From<JobError> for StoreError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Refused(error) => error,
            JobError::Failed(error) => error.into(),
        }
    }
}

/// The error of the store for this failure.
pub fn store_error(error: &Error) -> StoreError {
    let class = match error.code() {
        Some(code) => class(code),
        None if breaks_session(error) => StoreError::Transient,
        None => StoreError::Fatal,
    };
    class(text(error))
}

/// Whether the session in which this happened cannot be used any more.
pub fn breaks_session(error: &Error) -> bool {
    match error.code() {
        // The server has become a standby, ends the session, has changed a table of a prepared statement, or lacks the statement or has
        // another one of its name: a pooler has given the session to others meanwhile.
        Some(code) => {
            *code == SqlState::READ_ONLY_SQL_TRANSACTION
                || *code == SqlState::FEATURE_NOT_SUPPORTED
                || ["08", "25P03", "25P04", "26", "42P05", "57P"].iter().any(|class| code.code().starts_with(class))
        }
        None => error.is_closed() || error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>),
    }
}

/// Whether the server has no room for what it was to write.
pub fn is_full_disk(error: &Error) -> bool {
    error.code() == Some(&SqlState::DISK_FULL)
}

/// The class of error by the class of the SQLSTATE, its first two characters.
fn class(code: &SqlState) -> fn(String) -> StoreError {
    if [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::DUPLICATE_PSTATEMENT].contains(code) {
        return StoreError::Transient;
    }
    if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED {
        return StoreError::Corrupt;
    }
    match code.code().get(..2) {
        // Connection, plan outdated, transaction ended by a timeout or failed by an earlier statement, prepared statement gone, refused at
        // login, rolled back, out of resources, lock timeout, ended by an operator, disk.
        Some("08" | "0A" | "25" | "26" | "28" | "40" | "53" | "55" | "57" | "58") => StoreError::Transient,
        _ => StoreError::Fatal,
    }
}

/// The message of PostgreSQL or the network, without the details, which may hold values.
pub fn text(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("PostgreSQL says: {} ({})", said.message(), said.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_may_pass_is_transient_and_no_other_is() {
        for (code, transient) in [
            (SqlState::CONNECTION_FAILURE, true),
            (SqlState::ADMIN_SHUTDOWN, true),
            (SqlState::CRASH_SHUTDOWN, true),
            (SqlState::CANNOT_CONNECT_NOW, true),
            (SqlState::READ_ONLY_SQL_TRANSACTION, true),
            (SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, true),
            (SqlState::IN_FAILED_SQL_TRANSACTION, true),
            (SqlState::from_code("25P04"), true), // transaction_timeout, since PostgreSQL 17
            (SqlState::T_R_DEADLOCK_DETECTED, true),
            (SqlState::T_R_SERIALIZATION_FAILURE, true),
            (SqlState::DISK_FULL, true),
            (SqlState::TOO_MANY_CONNECTIONS, true),
            (SqlState::LOCK_NOT_AVAILABLE, true),
            (SqlState::QUERY_CANCELED, true),
            (SqlState::IO_ERROR, true),
            (SqlState::INVALID_PASSWORD, true),
            (SqlState::INVALID_SQL_STATEMENT_NAME, true),
            (SqlState::DUPLICATE_PSTATEMENT, true),
            (SqlState::UNIQUE_VIOLATION, false),
            (SqlState::UNDEFINED_TABLE, false),
            (SqlState::INSUFFICIENT_PRIVILEGE, true),
            (SqlState::CHARACTER_NOT_IN_REPERTOIRE, false),
            (SqlState::DATA_CORRUPTED, false),
        ] {
            assert_eq!(matches!(class(&code)(String::new()), StoreError::Transient(_)), transient, "{code:?}");
        }
        assert!(matches!(class(&SqlState::INDEX_CORRUPTED)(String::new()), StoreError::Corrupt(_)));
    }
}
