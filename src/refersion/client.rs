//! The HTTP client for Refersion's API. The only file of this module that names reqwest.
//!
//! In: calls that fit in one request. Out: a [`Reply`] for each, within `REFERSION_TIMEOUT` (`10s`), whatever happens. Invariants: TLS,
//! unless the base URL is http (the configuration decides which may be); no redirects; no cookies; the secret half of the API key is a
//! sensitive header; error messages have no URLs and no bodies. Deliberately absent: retries and rate limits.

use super::request;
use super::response;
use super::send_guard::{GuardedBody, SendGuard};
use crate::delivery::{ApiKeyVerification, Call, ListPage, Reply, TransientFailure};
use crate::domain::{ApiKey, is_loopback, password};
use arc_swap::ArcSwap;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Body, Method, Request};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use url::Url;

/// The connection pool: connections to Refersion that are kept alive between requests. Clones and all accounts share them, since no
/// connection is bound to an API key.
#[derive(Clone, Debug)]
pub struct ConnectionPool {
    http: reqwest::Client,
    /// `/affiliate` of the base URL; the operation's name is appended.
    affiliate: Url,
    timeout: Duration,
}

/// The API client of one Refersion account.
#[derive(Debug)]
pub struct Client(ArcSwap<AccountConnection>);

/// The headers and the pool for the calls of an account.
#[derive(Clone, Debug)]
struct AccountConnection {
    pool: ConnectionPool,
    headers: HeaderMap,
}

/// The HTTP client cannot be built, for instance because the system has no TLS certificates.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the HTTP client for Refersion: {0}")]
pub struct ClientBuildError(String);

/// The hint if the client needs TLS and the system has no certificates, as in an empty container image.
const CERTIFICATES_HINT: &str = "calls to Refersion need the certificates of certificate authorities: install the package \
                                 ca-certificates, or set SSL_CERT_FILE to a file that holds them";

/// The operation that verifies an API key and lists affiliates.
const LIST: &str = "list";

/// The longest response body that is read, in bytes; the rest is dropped. Refersion's are far shorter.
const MAX_BODY_BYTES: usize = 1024 * 1024;

impl ConnectionPool {
    /// Connections to `base_url`. A call may take `timeout`, from connecting to the last byte of the response. Opens no connection yet.
    pub fn new(base_url: &Url, timeout: Duration) -> Result<Self, ClientBuildError> {
        // Err: already installed, by an earlier pool.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("refersion-destination/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none());
        // A simulated Refersion is called without the proxy of the environment.
        let http = if is_loopback(base_url) { http.no_proxy() } else { http };
        // Without TLS no certificates are loaded, so a system without certificates can be used.
        let http = if base_url.scheme() == "http" { http.tls_certs_only([]) } else { http };
        let http = http.build().map_err(|error| ClientBuildError(format!("{}; {CERTIFICATES_HINT}", chain(&error))))?;
        let mut affiliate = base_url.clone();
        append(&mut affiliate, "affiliate");
        Ok(Self { http, affiliate, timeout })
    }

    /// The client of the account with this API key.
    pub fn client(&self, api_key: &ApiKey) -> Result<Client, ClientBuildError> {
        let connection = AccountConnection { pool: self.clone(), headers: headers(api_key)? };
        Ok(Client(ArcSwap::from_pointee(connection)))
    }
}

impl Client {
    /// Makes all further calls with this API key.
    pub fn replace_api_key(&self, api_key: &ApiKey) -> Result<(), ClientBuildError> {
        let connection = AccountConnection { pool: self.0.load().pool.clone(), headers: headers(api_key)? };
        self.0.store(Arc::new(connection));
        Ok(())
    }

    /// Makes all further calls with the connection and the API key of `other`.
    pub fn replace(&self, other: Self) {
        self.0.store(other.0.into_inner());
    }

    /// Makes `call`, and in the same request the `others`, which are [like](Call::is_like) it and about other affiliates.
    /// Returns the reply to `call`, and those to the `others` in their order. None: `guard` did not let it be sent.
    pub async fn call(&self, call: &Call, others: &[&Call], guard: &SendGuard) -> Option<(Reply, Vec<Reply>)> {
        let body = request::body(call, others, || password(&mut rand::rng()));
        let received = self.send(call.operation(), &body, guard).await;
        if guard.has_prevented() {
            return None;
        }
        let now = SystemTime::now();
        let parsed = received.as_ref().map(|received| (received.as_raw(), response::json(&received.body)));
        let read = |call: &Call| match &parsed {
            Ok((raw, json)) => response::reply_with_body(call, &body, raw, json.as_ref(), now),
            Err(error) if error.may_be_sent => Reply::Lost(TransientFailure::new(&*error.message)),
            Err(error) => Reply::Unavailable(TransientFailure::new(&*error.message)),
        };
        Some((read(call), others.iter().map(|call| read(call)).collect()))
    }

    /// Asks for a page of Refersion's list of affiliates, from 1. None: `guard` did not let it be sent.
    pub async fn list(&self, page: u32, guard: &SendGuard) -> Option<Result<ListPage, TransientFailure>> {
        let received = self.send(LIST, &request::list_page(page), guard).await;
        (!guard.has_prevented()).then(|| match received {
            Ok(received) => response::list_page(&received.as_raw(), SystemTime::now()),
            Err(error) => Err(TransientFailure::new(error.message)),
        })
    }

    /// Verifies the API key by `/affiliate/list`.
    pub async fn verify_api_key(&self) -> ApiKeyVerification {
        self.verify_api_key_with_date().await.0
    }

    /// Like [`verify_api_key`](Self::verify_api_key), with the `Date` header of the response, if it has one.
    pub async fn verify_api_key_with_date(&self) -> (ApiKeyVerification, Option<SystemTime>) {
        match self.send(LIST, &request::api_key_verification(), &SendGuard::none()).await {
            Ok(received) => {
                let date = received.date.as_ref().and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
                (response::verification(&received.as_raw(), SystemTime::now()), date)
            }
            Err(error) => (ApiKeyVerification::Unknown(TransientFailure::new(error.message)), None),
        }
    }

    async fn send(&self, operation: &str, body: &Value, guard: &SendGuard) -> Result<ReceivedResponse, TransportError> {
        let connection = self.0.load_full();
        let sent = connection.pool.http.execute(connection.request(operation, body, guard)).await;
        let mut response = sent.map_err(|error| connection.transport_error(operation, error))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let date = response.headers().get(DATE).cloned();
        let mut received = ReceivedResponse { status, retry_after, date, body: Vec::new() };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if received.body.len() + chunk.len() <= MAX_BODY_BYTES => {
                    received.body.extend_from_slice(&chunk);
                }
                Ok(_) => return Ok(received),
                // For a status that is no success the body is not needed.
                Err(_) if status >= 300 => return Ok(received),
                Err(error) => return Err(connection.transport_error(operation, error)),
            }
        }
    }
}

impl AccountConnection {
    fn request(&self, operation: &str, body: &Value, guard: &SendGuard) -> Request {
        let mut url = self.pool.affiliate.clone();
        append(&mut url, operation);
        let mut request = Request::new(Method::POST, url);
        self.headers.clone_into(request.headers_mut());
        // A value is always JSON.
        *request.body_mut() =
            serde_json::to_vec(body).ok().map(|bytes| Body::wrap(GuardedBody::new(bytes, guard.clone())));
        request
    }

    fn transport_error(&self, operation: &str, error: reqwest::Error) -> TransportError {
        let error = error.without_url();
        tracing::debug!(operation, error = chain(&error), "call failed");
        let may_be_sent = !error.is_connect() && !error.is_builder();
        let message = if error.is_connect() {
            format!("no connection to Refersion: {}", root_cause(&error))
        } else if error.is_timeout() {
            format!("Refersion did not answer {operation} within {}", humantime::format_duration(self.pool.timeout))
        } else {
            format!("the connection to Refersion broke during {operation}")
        };
        TransportError { message, may_be_sent }
    }
}

struct ReceivedResponse {
    status: u16,
    retry_after: Option<String>,
    date: Option<HeaderValue>,
    body: Vec<u8>,
}

impl ReceivedResponse {
    fn as_raw(&self) -> response::RawResponse<'_> {
        response::RawResponse { status: self.status, retry_after: self.retry_after.as_deref(), body: &self.body }
    }
}

/// A call without a response.
struct TransportError {
    message: String,
    /// Whether the request may have reached Refersion.
    may_be_sent: bool,
}

fn headers(key: &ApiKey) -> Result<HeaderMap, ClientBuildError> {
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|_| ClientBuildError("a key does not fit a header".into()));
    let mut secret = value(key.expose_secret())?;
    secret.set_sensitive(true);
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::new();
    headers.insert("Refersion-Public-Key", value(key.public())?);
    headers.insert("Refersion-Secret-Key", secret);
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    // Without this header, an answer may have any encoding (RFC 9110), and none is decoded here.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(headers)
}

/// Appends `part` to the path of `url`.
fn append(url: &mut Url, part: &str) {
    // Err: a URL that cannot have a path, such as `mailto:`, which the configuration does not let through.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(part);
    }
}

/// The error and its causes, which reqwest does not print by itself.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The innermost error, such as `Connection refused (os error 111)`, or what is wrong with a certificate.
pub(crate) fn root_cause(mut error: &dyn std::error::Error) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
