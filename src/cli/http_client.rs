//! The HTTP client of the command line, for requests to a running service.
//!
//! In: a URL and a body. Out: the status and the body of the response, or an error as text. Invariants: no redirects, a timeout for the
//! whole request, and a limit on the body; without [`HttpClient::with_tls`] also `http` only, and no proxy from the environment: the
//! service is on this machine or next to it. TLS certificates are not loaded then, so a health check starts fast and works in an image
//! without certificates.

use crate::domain::ApiKey;
use crate::refersion::root_cause;
use axum::http::Method;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use url::Url;

/// A client whose requests have a common timeout.
pub(super) struct HttpClient {
    http: Client,
    timeout: Duration,
    tls: bool,
}

/// The sender of a request.
pub(super) enum Credentials<'a> {
    None,
    /// An operator.
    Token(&'a SecretString),
    /// A source of events.
    Key(&'a ApiKey),
}

/// A response.
pub(super) struct HttpResponse {
    pub(super) status: u16,
    /// The wait that `Retry-After` asks for, in seconds.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl HttpClient {
    /// `timeout` counts from connecting to the last byte of the response.
    pub(super) fn new(timeout: Duration) -> Result<Self, String> {
        Self::build(builder(timeout).no_proxy().tls_certs_only([]), timeout, false)
    }

    /// A client that also speaks `https`, and goes through the proxy that the environment names.
    pub(super) fn with_tls(timeout: Duration) -> Result<Self, String> {
        Self::build(builder(timeout), timeout, true)
    }

    fn build(http: ClientBuilder, timeout: Duration, tls: bool) -> Result<Self, String> {
        let http = http.build().map_err(|error| format!("cannot make the HTTP client: {}", root_cause(&error)))?;
        Ok(Self { http, timeout, tls })
    }

    /// The status of the response to `GET url`. Its body is not read.
    pub(super) async fn get_status(&self, url: &Url) -> Result<u16, String> {
        Ok(self.send(url, self.http.get(url.clone())).await?.status().as_u16())
    }

    /// Sends JSON, or no body; the body of the response is at most `max_bytes` long.
    pub(super) async fn request(
        &self,
        method: Method,
        url: &Url,
        credentials: Credentials<'_>,
        json: Option<String>,
        max_bytes: usize,
    ) -> Result<HttpResponse, String> {
        let mut request = self.http.request(method, url.clone());
        request = match credentials {
            Credentials::None => request,
            Credentials::Token(token) => request.bearer_auth(token.expose_secret()),
            Credentials::Key(key) => request.basic_auth(key.expose_pair(), Some("")),
        };
        if let Some(json) = json {
            request = request.header("Content-Type", "application/json").body(json);
        }
        let mut response = self.send(url, request).await?;
        let mut received = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.message(url, &error))? {
            if received.len() + chunk.len() > max_bytes {
                return Err(format!("{url}: the response is longer than {max_bytes} bytes"));
            }
            received.extend_from_slice(&chunk);
        }
        let retry_after = response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        Ok(HttpResponse { status, retry_after: retry_after.map(Duration::from_secs), body: received })
    }

    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<reqwest::Response, String> {
        if url.scheme() != "http" && !self.tls {
            return Err(format!("{url}: expected an http:// URL"));
        }
        request.send().await.map_err(|error| self.message(url, &error))
    }

    fn message(&self, url: &Url, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("{url} did not answer within {} seconds", self.timeout.as_secs());
        }
        format!("{url}: {}", root_cause(error)) // reqwest's own errors repeat the URL
    }
}

fn builder(timeout: Duration) -> ClientBuilder {
    // Err: a provider is already installed. reqwest asks for one even without TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(timeout).redirect(Policy::none())
}
