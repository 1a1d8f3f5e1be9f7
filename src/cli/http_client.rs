//! The HTTP client of the command line, for a service of our own.
//!
//! In: a URL and what to send. Out: the status and the body of the response, or an error as text. Invariants: no redirects, a
//! timeout for the whole request, and a limit on the body; without [`HttpClient::with_tls`] also `http` only, and no proxy from the
//! environment: the service is on this machine or next to it. TLS certificates are not loaded then, so a health check starts fast
//! and works in an image without certificates.

use crate::domain::ApiKey;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use url::Url;

/// A client whose requests have a common timeout.
pub(super) struct HttpClient {
    http: Client,
    timeout: Duration,
    tls: bool,
}

/// A response.
pub(super) struct Received {
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

    /// The response to `GET url` with the credentials of `token`; its body is at most `max_bytes` long.
    pub(super) async fn get(
        &self,
        url: &Url,
        token: Option<&SecretString>,
        max_bytes: usize,
    ) -> Result<Received, String> {
        self.read(url, with_token(self.http.get(url.clone()), token), max_bytes).await
    }

    /// Posts JSON, or no body, with the credentials of `token`; the body of the response is at most `max_bytes` long.
    pub(super) async fn post(
        &self,
        url: &Url,
        token: Option<&SecretString>,
        body: Option<&Value>,
        max_bytes: usize,
    ) -> Result<Received, String> {
        let mut request = with_token(self.http.post(url.clone()), token);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        self.read(url, request, max_bytes).await
    }

    /// Posts JSON text with the credentials of `key`. Out: the response, whose body is at most `max_bytes` long.
    pub(super) async fn post_text(
        &self,
        url: &Url,
        key: &ApiKey,
        body: String,
        max_bytes: usize,
    ) -> Result<Received, String> {
        let user = format!("{}.{}", key.public(), key.expose_secret());
        let request = self.http.post(url.clone()).basic_auth(user, Some(""));
        let request = request.header("Content-Type", "application/json").body(body);
        self.read(url, request, max_bytes).await
    }

    async fn read(&self, url: &Url, request: RequestBuilder, max_bytes: usize) -> Result<Received, String> {
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
        Ok(Received { status, retry_after: retry_after.map(Duration::from_secs), body: received })
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
        format!("{url}: {}", root_cause(error))
    }
}

fn builder(timeout: Duration) -> ClientBuilder {
    // Err: a provider is already installed. reqwest asks for one even without TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(timeout).redirect(Policy::none())
}

fn with_token(request: RequestBuilder, token: Option<&SecretString>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token.expose_secret()),
        None => request,
    }
}

/// The innermost error, such as "Connection refused": reqwest's own errors repeat the URL.
fn root_cause(mut error: &dyn Error) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
