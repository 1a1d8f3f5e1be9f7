//! The error if no session could be opened, with the reason of each host.

use super::error::{store_error, text};
use crate::store::StoreError;
use std::fmt;
use tokio_postgres::Error;

/// Why none of the hosts could be used, in the order in which they were tried.
#[derive(Debug)]
pub struct ConnectError(pub Vec<HostError>);

/// Why a host could not be used.
#[derive(Debug)]
pub struct HostError {
    /// Its name, address or socket.
    pub host: String,
    /// The error of the network or the server; `None`: no answer in time.
    pub source: Option<Error>,
}

impl HostError {
    fn reason(&self) -> String {
        self.source.as_ref().map_or_else(|| "the server did not answer in time".to_owned(), text)
    }

    fn is_transient(&self) -> bool {
        self.source.as_ref().is_none_or(|error| matches!(store_error(error), StoreError::Transient(_)))
    }
}

/// The reason; for several hosts the reason of each, after its name.
impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return f.write_str(&only.reason());
        }
        for (index, host) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", host.host, host.reason())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        let text = error.to_string();
        if error.0.iter().any(HostError::is_transient) { Self::Transient(text) } else { Self::Fatal(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_silent_may_answer_later_and_each_of_several_is_named() {
        let silent = |host: &str| HostError { host: host.to_owned(), source: None };
        let one = ConnectError(vec![silent("a")]);
        assert_eq!(one.to_string(), "the server did not answer in time");
        assert!(matches!(StoreError::from(one), StoreError::Transient(_)));
        let two = ConnectError(vec![silent("a"), silent("b")]);
        assert_eq!(two.to_string(), "a: the server did not answer in time; b: the server did not answer in time");
    }
}
