//! The HTTP client of the command line, for a service of our own on this machine or next to it.
//!
//! In: a URL and what to send. Out: the status and the body of the response, or an error as text. Invariants: `http` only, no
//! redirects, no proxy from the environment, a timeout for the whole request, and a limit on the body. TLS certificates are not
//! loaded, so a health check starts fast and works in an image without certificates.

use crate::domain::ApiKey;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use url::Url;

/// A client whose requests have a common timeout.
pub(super) struct HttpClient {
    http: Client,
    timeout: Duration,
}

impl HttpClient {
    /// `timeout` counts from connecting to the last byte of the response.
    pub(super) fn new(timeout: Duration) -> Result<Self, String> {
        // Err: a provider is already installed. reqwest asks for one even without TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(timeout).redirect(Policy::none()).no_proxy().tls_certs_only([]);
        let http = http.build().map_err(|error| format!("cannot make the HTTP client: {}", root_cause(&error)))?;
        Ok(Self { http, timeout })
    }

    /// The status of the response to `GET url`. Its body is not read.
    pub(super) async fn get_status(&self, url: &Url) -> Result<u16, String> {
        Ok(self.send(url, self.http.get(url.clone())).await?.status().as_u16())
    }

    /// Posts JSON with the credentials of `key`. Out: the status and the body, at most `max_bytes` long.
    pub(super) async fn post(
        &self,
        url: &Url,
        key: &ApiKey,
        body: &Value,
        max_bytes: usize,
    ) -> Result<(u16, Vec<u8>), String> {
        let user = format!("{}.{}", key.public(), key.expose_secret());
        let request = self.http.post(url.clone()).basic_auth(user, Some(""));
        let request = request.header("Content-Type", "application/json").body(body.to_string());
        let mut response = self.send(url, request).await?;
        let mut received = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.message(url, &error))? {
            if received.len() + chunk.len() > max_bytes {
                return Err(format!("{url}: the response is longer than {max_bytes} bytes"));
            }
            received.extend_from_slice(&chunk);
        }
        Ok((response.status().as_u16(), received))
    }

    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<reqwest::Response, String> {
        if url.scheme() != "http" {
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

/// The innermost error, such as "Connection refused": reqwest's own errors repeat the URL.
fn root_cause(mut error: &dyn Error) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
