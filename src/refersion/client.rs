//! Calls over HTTP. The only file naming reqwest.
//!
//! In goes a [`Call`], out comes a [`Reply`]: whatever happens, a call ends in one, within the timeout.
//! Invariants: TLS or loopback (the configuration checks the URL); no redirects; no cookies; the secret key is a sensitive
//! header, and errors are told in our own words, without URLs or bodies.

use super::reply::{self, Proof};
use super::throttle::Throttle;
use super::wire;
use crate::delivery::{Call, Reply};
use crate::domain::{ApiKey, password};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use std::time::{Duration, SystemTime};
use url::Url;

/// How to reach Refersion.
#[derive(Debug)]
pub struct Settings {
    /// `https://api.refersion.com/v2`, without a trailing slash.
    pub base_url: Url,
    /// The key pair.
    pub api_key: ApiKey,
    /// The longest a call may take, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// The ceiling of calls per second.
    pub max_requests_per_second: Option<f64>,
}

/// One account at Refersion.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    timeout: Duration,
    throttle: Throttle,
}

/// The HTTP client cannot be made, for instance because the system has no TLS certificates.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the HTTP client for Refersion: {0}")]
pub struct BuildError(String);

/// No answer of Refersion's is longer; what is longer is not read on.
const MAX_ANSWER: usize = 1024 * 1024;

impl Client {
    /// Makes a client; no connection is opened yet.
    pub fn new(settings: Settings) -> Result<Self, BuildError> {
        // Err: already installed, by an earlier client.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .default_headers(headers(&settings.api_key)?)
            .user_agent(concat!("refersion-destination/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout)
            .redirect(reqwest::redirect::Policy::none());
        let http = if is_loopback(&settings.base_url) { http.no_proxy() } else { http };
        let http = http.build().map_err(|error| BuildError(chain(&error)))?;
        let base = settings.base_url.as_str().trim_end_matches('/').to_owned();
        let throttle = Throttle::new(settings.max_requests_per_second);
        Ok(Self { http, base, timeout: settings.timeout, throttle })
    }

    /// Makes one call.
    pub async fn call(&self, call: &Call) -> Reply {
        let body = wire::body(call, || password(&mut rand::rng()));
        match self.send(call.operation(), &body).await {
            Ok(answer) => reply::read(call, &body, &answer.borrow(), SystemTime::now()),
            Err(failure) if failure.sent => Reply::Lost { what: failure.what, retry_after: None },
            Err(failure) => Reply::Unavailable { what: failure.what, retry_after: None },
        }
    }

    /// Proves the key pair by `/affiliate/list`.
    pub async fn prove(&self) -> Proof {
        match self.send("list", &wire::proof()).await {
            Ok(answer) => reply::prove(&answer.borrow(), SystemTime::now()),
            Err(failure) => Proof::Unknown(failure.what, None),
        }
    }

    async fn send(&self, operation: &str, body: &serde_json::Value) -> Result<Received, Failure> {
        self.throttle.turn().await;
        let url = format!("{}/affiliate/{operation}", self.base);
        let sent = self.http.post(url).body(body.to_string()).send().await;
        let mut response = sent.map_err(|error| self.failure(operation, error))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let mut received = Received { status, retry_after, body: Vec::new() };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if received.body.len() + chunk.len() <= MAX_ANSWER => {
                    received.body.extend_from_slice(&chunk);
                }
                Ok(_) => return Ok(received),
                // The status alone tells enough of a failure; of a success it does not.
                Err(_) if status >= 300 => return Ok(received),
                Err(error) => return Err(self.failure(operation, error)),
            }
        }
    }

    fn failure(&self, operation: &str, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        tracing::debug!(operation, error = chain(&error), "call failed");
        let sent = !error.is_connect() && !error.is_builder();
        let what = if error.is_connect() {
            "no connection to Refersion".to_owned()
        } else if error.is_timeout() {
            format!("Refersion did not answer {operation} within {}", humantime::format_duration(self.timeout))
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
    fn borrow(&self) -> reply::Answer<'_> {
        reply::Answer { status: self.status, retry_after: self.retry_after.as_deref(), body: &self.body }
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
