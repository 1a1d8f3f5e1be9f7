//! Segment's own APIs, which connect a source of a merchant's workspace.
//!
//! In: a merchant's consent, as an authorization code. Out: the destination on the source that they chose, with their Refersion key.
//! `oauth` is the app's side of OAuth 2.0 and of the Config API, `source` has the names of sources, `public` is the Public API of a
//! workspace, `http` sends requests (the only file that names reqwest), `error` lists the failures. Invariants: every secret (client
//! secret, token, Refersion key) is in a header or in the body of a request, never in a URL or in an error; no redirect is followed.
//! Deliberately absent: the merchant's texts for a failure ([`crate::connect`]), and events from Segment ([`crate::segment`]).
//!
//! Why not the crate `oauth2`: 5.0 without its default features adds 18 packages, seven of them second versions of crates that are here
//! already (rand 0.8, sha2 0.10, digest 0.10, thiserror 1 and theirs) and chrono. It would serve for one form and one answer only: Segment
//! has no PKCE, no refresh tokens and an answer with non-standard fields.

mod error;
mod http;
mod oauth;
mod public;
mod source;

pub use error::SegmentApiError;
pub use http::HttpClientError;
pub use oauth::{App, Connected, InstallAccess, OauthApp};
pub use public::{Destination, DestinationChange, PublicApi, PublicApiError, Source, Subscription, Webhook, Workspace};
pub use source::SourceName;
