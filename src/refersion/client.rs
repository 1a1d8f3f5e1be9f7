//! Calls over HTTP. The only file naming reqwest.
//!
//! In go calls that fit in one request, out comes a [`Reply`] for each: whatever happens, a call ends in one, within the
//! timeout.
//! Invariants: TLS or loopback (the configuration checks the URL); no redirects; no cookies; the secret key is a sensitive
//! header, and errors are told in our own words, without URLs or bodies.

use super::request;
use super::response::{self, KeyVerification};
use crate::delivery::{Call, Reply};
use crate::domain::{ApiKey, password};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Body, Method, Request};
use serde_json::Value;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use url::Url;

/// The way to Refersion, without anybody's key. Clones share their connections: so can any number of accounts, for a
/// connection is one call's at a time.
#[derive(Clone, Debug)]
pub struct ConnectionPool {
    http: reqwest::Client,
    /// What an operation's name is put behind.
    affiliate: Url,
    timeout: Duration,
}

/// One account at Refersion.
#[derive(Debug)]
pub struct Client {
    pool: ConnectionPool,
    headers: RwLock<HeaderMap>,
}

/// The HTTP client cannot be made, for instance because the system has no TLS certificates.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the HTTP client for Refersion: {0}")]
pub struct BuildError(String);

/// No answer of Refersion's is longer; what is longer is not read on.
const MAX_BODY_BYTES: usize = 1024 * 1024;

impl ConnectionPool {
    /// Makes a way to `base_url`, on which a call may take `timeout`, from connecting to the last byte of the answer; no
    /// connection is opened yet.
    pub fn new(base_url: &Url, timeout: Duration) -> Result<Self, BuildError> {
        // Err: already installed, by an earlier route.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("refersion-destination/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none());
        let http = if is_loopback(base_url) { http.no_proxy() } else { http };
        let http = http.build().map_err(|error| BuildError(chain(&error)))?;
        let mut affiliate = base_url.clone();
        push(&mut affiliate, "affiliate");
        Ok(Self { http, affiliate, timeout })
    }

    /// The client of the account with this key pair. How often it may be called is decided elsewhere.
    pub fn client(&self, api_key: &ApiKey) -> Result<Client, BuildError> {
        let headers = RwLock::new(headers(api_key)?);
        Ok(Client { pool: self.clone(), headers })
    }
}

impl Client {
    /// Makes every call from now on with this key pair.
    pub fn replace_key(&self, api_key: &ApiKey) -> Result<(), BuildError> {
        let headers = headers(api_key)?;
        *self.headers.write().unwrap_or_else(PoisonError::into_inner) = headers;
        Ok(())
    }

    /// Makes `call`, and in the same request `others` that are [like](Call::is_like) it, each about another affiliate. The
    /// replies are in the order of the calls, that to `call` first.
    pub async fn call(&self, call: &Call, others: &[&Call]) -> (Reply, Vec<Reply>) {
        let body = request::body(call, others, || password(&mut rand::rng()));
        let answer = self.send(call.operation(), &body).await;
        let now = SystemTime::now();
        let answer = answer.as_ref().map(|answer| (answer.borrow(), response::json(&answer.body)));
        let read = |call: &Call| match &answer {
            Ok((answer, said)) => response::reply_with_body(call, &body, answer, said.as_ref(), now),
            Err(Failure { what, sent: true }) => Reply::Lost { what: what.clone(), retry_after: None },
            Err(Failure { what, sent: false }) => Reply::Unavailable { what: what.clone(), retry_after: None },
        };
        (read(call), others.iter().map(|call| read(call)).collect())
    }

    /// Proves the key pair by `/affiliate/list`.
    pub async fn verify_key(&self) -> KeyVerification {
        match self.send("list", &request::key_verification()).await {
            Ok(answer) => response::verification(&answer.borrow(), SystemTime::now()),
            Err(failure) => KeyVerification::Unknown { reason: failure.what, retry_after: None },
        }
    }

    async fn send(&self, operation: &str, body: &Value) -> Result<Received, Failure> {
        let sent = self.pool.http.execute(self.request(operation, body)).await;
        let mut response = sent.map_err(|error| self.failure(operation, error))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let mut received = Received { status, retry_after, body: Vec::new() };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if received.body.len() + chunk.len() <= MAX_BODY_BYTES => {
                    received.body.extend_from_slice(&chunk);
                }
                Ok(_) => return Ok(received),
                // The status alone tells enough of a failure; of a success it does not.
                Err(_) if status >= 300 => return Ok(received),
                Err(error) => return Err(self.failure(operation, error)),
            }
        }
    }

    fn request(&self, operation: &str, body: &Value) -> Request {
        let mut url = self.pool.affiliate.clone();
        push(&mut url, operation);
        let mut request = Request::new(Method::POST, url);
        self.headers.read().unwrap_or_else(PoisonError::into_inner).clone_into(request.headers_mut());
        // A value is always JSON.
        *request.body_mut() = serde_json::to_vec(body).ok().map(Body::from);
        request
    }

    fn failure(&self, operation: &str, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        tracing::debug!(operation, error = chain(&error), "call failed");
        let sent = !error.is_connect() && !error.is_builder();
        let what = if error.is_connect() {
            "no connection to Refersion".to_owned()
        } else if error.is_timeout() {
            format!("Refersion did not answer {operation} within {}", humantime::format_duration(self.pool.timeout))
        } else {
            format!("the connection to Refersion broke during {operation}")
        };
        Failure { what, sent }
    }
}

struct Received {
    status: u16,
    retry_after: Option<String>,
    body: Vec<u8>,
}

impl Received {
    fn borrow(&self) -> response::RawResponse<'_> {
        response::RawResponse { status: self.status, retry_after: self.retry_after.as_deref(), body: &self.body }
    }
}

struct Failure {
    what: String,
    sent: bool,
}

fn headers(key: &ApiKey) -> Result<HeaderMap, BuildError> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| BuildError("a key does not fit a header".into()));
    let mut secret = value(key.expose_secret())?;
    secret.set_sensitive(true);
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::new();
    headers.insert("Refersion-Public-Key", value(key.public())?);
    headers.insert("Refersion-Secret-Key", secret);
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    Ok(headers)
}

/// Puts `part` behind the path of `url`.
fn push(url: &mut Url, part: &str) {
    // Err: a URL that cannot have a path, such as `mailto:`, which the configuration does not let through.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(part);
    }
}

/// An error with its causes, which reqwest keeps apart.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A simulated Refersion on this machine is never behind the proxy that the environment names.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
