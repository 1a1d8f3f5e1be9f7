//! Why the service cannot start, or has to end.
//!
//! The texts are for operators and say what to do; those of a bug say what becomes of the pending events.

use super::StoreOpenError;
use crate::refersion::ClientBuildError;
use crate::segment_api;
use crate::store::StoreError;
use std::io;
use std::net::SocketAddr;

/// Why the service cannot run. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration has no API key. [`Config::load`](crate::config::Config::load) already reports that, except for a dry run.
    #[error("REFERSION_API_KEY is not set")]
    NoApiKey,
    /// Any API key is accepted, but there is no seal key to seal stored API keys with. [`Config::load`](crate::config::Config::load) already
    /// reports that.
    #[error("STORE_SEAL_KEY is not set")]
    NoSealKey,
    /// The store has API keys that no seal key opens.
    #[error(
        "{unopened} of {stored} stored API keys cannot be opened: they were sealed with a key that STORE_SEAL_KEY does not hold; \
         add it there after the first, separated by a comma"
    )]
    CannotOpenKeys {
        /// The number of API keys that cannot be opened.
        unopened: usize,
        /// The number of API keys in the store.
        stored: usize,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreOpenError),
    /// The store was opened but cannot be written.
    #[error(transparent)]
    Write(#[from] StoreError),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] ClientBuildError),
    /// The HTTP client for Segment cannot be made.
    #[error(transparent)]
    SegmentClient(#[from] segment_api::HttpClientError),
    /// No URL can be made of the address of the public listener.
    #[error("CONNECT_REDIRECT_URL is not set")]
    NoRedirectUrl,
    /// The service cannot listen on an address.
    #[error("cannot listen on {address}: {source}; is another program using it? Set {variable} to another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting of the address.
        variable: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A listener failed.
    #[error("a listener failed: {0}")]
    Serve(io::Error),
    /// The worker of an account or another task that the service needs panicked: a bug. Events would be accepted and never delivered, for
    /// instance.
    #[error("a part of the service panicked; pending events are delivered after the next start")]
    Panicked,
    /// The store failed for good: no event can be accepted or settled any more.
    #[error("the store failed; pending events are delivered after the next start")]
    StoreFailed,
}
