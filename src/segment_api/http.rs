//! The HTTP client for Segment. The only file of this module that names reqwest.
//!
//! In: a method, a URL, credentials and a body. Out: the status and the JSON of the answer, within [`TIMEOUT`]. Invariants: TLS,
//! unless the URL is http (the configuration permits that to a loopback address only); no redirects; credentials are sensitive
//! headers; an error has no URL. Deliberately absent: retries.

use super::SegmentApiError;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// How long a call may take, from connecting to the last byte of the answer. A merchant waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

pub(super) use reqwest::Method;

/// The HTTP client cannot be built, for instance because the system has no TLS certificates.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the HTTP client for Segment: {0}")]
pub struct HttpClientError(String);

/// Connections to Segment.
#[derive(Clone, Debug)]
pub(super) struct Http(Client);

/// The credentials of a request.
pub(super) enum SegmentCredentials<'a> {
    Basic(&'a str, &'a SecretString),
    Bearer(&'a SecretString),
}

/// The body of a request, or the media type it accepts.
pub(super) enum RequestContent {
    None,
    /// No body; the answer must have this media type.
    Accept(&'static str),
    Form(String),
    Json(&'static str, Value),
}

/// An answer: any status, and its body if that is JSON.
#[derive(Debug)]
pub(super) struct SegmentResponse {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Value,
}

impl Http {
    /// Connections to the hosts of `urls`. Opens none yet.
    pub(super) fn new(urls: &[&Url]) -> Result<Self, HttpClientError> {
        // Err: already installed, by another client.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plain = urls.iter().all(|url| url.scheme() == "http");
        let client = Client::builder()
            .user_agent(concat!("refersion-destination/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .redirect(Policy::none());
        // Plain http is used for a simulated Segment on this machine, without a proxy and without certificates.
        let client = if plain { client.no_proxy().tls_certs_only([]) } else { client };
        client.build().map(Self).map_err(|error| HttpClientError(error.to_string()))
    }

    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        credentials: &SegmentCredentials<'_>,
        content: RequestContent,
    ) -> Result<SegmentResponse, SegmentApiError> {
        let accepted = match &content {
            RequestContent::Accept(media_type) | RequestContent::Json(media_type, _) => media_type,
            RequestContent::None | RequestContent::Form(_) => "application/json",
        };
        let request = self.0.request(method, url).header(ACCEPT, accepted);
        let request = match credentials {
            SegmentCredentials::Basic(user, password) => request.basic_auth(user, Some(password.expose_secret())),
            SegmentCredentials::Bearer(token) => request.bearer_auth(token.expose_secret()),
        };
        let request = match content {
            RequestContent::None | RequestContent::Accept(_) => request,
            RequestContent::Form(form) => request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form),
            RequestContent::Json(media_type, json) => request.header(CONTENT_TYPE, media_type).body(json.to_string()),
        };
        read(request).await
    }
}

async fn read(request: RequestBuilder) -> Result<SegmentResponse, SegmentApiError> {
    let mut response = request.send().await.map_err(failure)?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(SegmentApiError::Unreadable);
        }
        bytes.extend_from_slice(&chunk);
    }
    // Err: an HTML page of a proxy. Its status is sufficient.
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(SegmentResponse { status, retry_after: retry_after.map(Duration::from_secs), body })
}

fn failure(error: reqwest::Error) -> SegmentApiError {
    let error = error.without_url();
    tracing::debug!(%error, "a call to Segment failed");
    if error.is_connect() || error.is_builder() { SegmentApiError::Unreachable } else { SegmentApiError::Lost }
}
