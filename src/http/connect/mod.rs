//! The pages by which a merchant connects a source of their Segment workspace: "Enable with Segment".
//!
//! In: the requests of a browser. Out: HTML pages, and one redirect: to Segment's consent page. `finish` has the steps after the merchant's
//! consent, `pages` the pages, `answer` their headers and the cookie; the state machine is [`crate::connect`]. Invariants: Refersion must
//! accept a Refersion key before the key is used; the key is in no URL, no log and no page, and no page reveals its URL to another site
//! (`Referrer-Policy`); a form takes effect only in the browser that showed it; the steps after the consent run to their end, even if the
//! browser disconnects. Deliberately absent: a session on the server, scripts, and anything that is loaded from elsewhere.

mod answer;
mod finish;
mod pages;

use super::body;
use super::response::{ApiResponse, PageStatus};
use super::{AdmissionError, only, refuse};
use crate::clock::Clock;
use crate::connect::{ConnectFailure, ExpectedRequest, Flow, Nonce};
use crate::domain::{AccountName, ApiKey, SealKey, SealNonce};
use crate::segment_api::OauthApp;
use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, COOKIE};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;
use url::{Url, form_urlencoded};

/// The check whether the service can deliver with a Refersion key.
#[async_trait]
pub trait ApiKeyCheck: Send + Sync {
    /// The account of this key, after Refersion has accepted the key.
    async fn check(&self, key: &ApiKey) -> Result<AccountName, ApiKeyProblem>;
}

/// Why a merchant cannot connect with a Refersion key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyProblem {
    /// The text has not the form of a key.
    Malformed,
    /// Refersion rejects the key.
    Rejected,
    /// Refersion did not answer in time whether it accepts the key.
    Unverified,
    /// Refersion accepts the key, but this service is configured for other keys.
    NotServed,
}

/// The parts that the pages need.
pub struct Connect {
    /// The app at Segment.
    pub app: OauthApp,
    /// The URL to which Segment sends the merchant back; its path ends with `/connect/callback`.
    pub redirect_url: Url,
    /// The base URL of Segment's consent page: https, or http to a loopback address.
    pub auth_base_url: Url,
    /// The seal keys of the cookie: the first seals, all of them open. At least one.
    pub seal_keys: Vec<SealKey>,
    /// Checks Refersion keys.
    pub api_key_check: Arc<dyn ApiKeyCheck>,
    /// The current time.
    pub clock: Clock,
}

/// The largest form, in bytes. A key has about 50.
const MAX_FORM_BYTES: usize = 8 * 1024;

pub(super) fn routes(connect: Arc<Connect>) -> Router {
    Router::new()
        .route("/connect", only("GET, HEAD, POST", get(show).post(submit)))
        .route("/connect/again", only("POST", post(again)))
        .route("/connect/callback", only("GET", get(callback)))
        .with_state(connect)
}

/// Show the page that connects a source
///
/// Explains what happens, and asks for the merchant's Refersion key. Not found unless `[connect]` is set.
#[utoipa::path(get, path = "/connect", tag = "connect", operation_id = "connect_page",
    responses((status = 200, description = "The page", content_type = "text/html"), (status = 404, description = "Not set up")))]
pub(super) async fn show(State(connect): State<Arc<Connect>>, headers: HeaderMap) -> Response {
    let (now, cookie) = (connect.clock.now(), connect.cookie(&headers));
    // If a second tab is opened, the form of the first stays valid.
    let begun = cookie.and_then(|cookie| Flow::unseal_cookie(cookie, &connect.seal_keys, now));
    let flow = begun.filter(|flow| flow.expected == ExpectedRequest::Key).unwrap_or_else(|| Flow::begin(nonce(), now));
    connect.form(flow, None)
}

/// Enter the Refersion key
///
/// The key is verified with Refersion; then the browser is sent to Segment's consent page.
#[utoipa::path(post, path = "/connect", tag = "connect", operation_id = "connect_with_key",
    request_body(content = ref("#/components/schemas/ConnectForm"), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "To Segment's consent page"),
        (status = 400, description = "The form is shown again, or cannot be used", content_type = "text/html"),
        (status = 503, description = "Refersion cannot be asked", content_type = "text/html")))]
pub(super) async fn submit(State(connect): State<Arc<Connect>>, request: Request) -> Response {
    let opened = connect.read_form(request, ExpectedRequest::Key).await;
    let (mut flow, form) = match opened {
        Ok(opened) => opened,
        Err(failure) => return connect.failure(failure, None),
    };
    let Ok(key) = ApiKey::parse(form.value("api_key").unwrap_or_default().trim()) else {
        return connect.form(flow, Some(ApiKeyProblem::Malformed));
    };
    match connect.api_key_check.check(&key).await {
        Ok(_) => {
            flow.key = Some(key);
            connect.to_segment(flow)
        }
        Err(problem) => connect.form(flow, Some(problem)),
    }
}

/// Connect another source, or try again
///
/// With the key that the same browser entered before.
#[utoipa::path(post, path = "/connect/again", tag = "connect", operation_id = "connect_again",
    request_body(content = ref("#/components/schemas/AgainForm"), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "To Segment's consent page"),
        (status = 400, description = "The form cannot be used", content_type = "text/html")))]
pub(super) async fn again(State(connect): State<Arc<Connect>>, request: Request) -> Response {
    match connect.read_form(request, ExpectedRequest::Another).await {
        Ok((flow, _)) if flow.key.is_some() => connect.to_segment(flow),
        Ok(_) => connect.failure(ConnectFailure::OtherBrowser, None),
        Err(failure) => connect.failure(failure, None),
    }
}

/// Come back from Segment
///
/// Exchanges the code, and creates or changes the Refersion destination on the source that the merchant chose.
#[utoipa::path(get, path = "/connect/callback", tag = "connect", operation_id = "connect_callback",
    params(
        ("state" = String, Query, description = "As it was sent to Segment"),
        ("code" = Option<String>, Query, description = "The authorization code"),
        ("error" = Option<String>, Query, description = "Why there is none")),
    responses(
        (status = 200, description = "The source is connected", content_type = "text/html"),
        (status = 400, description = "The callback cannot be used, or Segment rejected", content_type = "text/html"),
        (status = 403, description = "The merchant or Segment rejected", content_type = "text/html"),
        (status = 409, description = "The app is installed already", content_type = "text/html"),
        (status = 500, description = "This service is not set up correctly", content_type = "text/html"),
        (status = 503, description = "Segment cannot be reached", content_type = "text/html")))]
pub(super) async fn callback(State(connect): State<Arc<Connect>>, request: Request) -> Response {
    // The first request uses the code up, so HEAD must not.
    if request.method() != Method::GET {
        return refuse(request, ApiResponse::MethodNotAllowed("GET")).await.into_response();
    }
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let (cookie, state) = (connect.cookie(request.headers()), query.value("state"));
    let flow = match Flow::unseal(cookie, state, ExpectedRequest::Consent, &connect.seal_keys, connect.clock.now()) {
        Ok(flow) => flow,
        Err(failure) => return connect.failure(failure, None),
    };
    let finishing = Arc::clone(&connect);
    // A separate task: the code is used up, so the rest must be done even if the browser disconnects.
    let finished = tokio::spawn(async move { finishing.finish(flow, &query).await });
    // Err: the task panicked, which is a bug.
    finished.await.unwrap_or_else(|_| ApiResponse::InternalError.into_response())
}

impl Connect {
    /// Redirects to Segment's consent page.
    fn to_segment(&self, flow: Flow) -> Response {
        let sealed = self.seal(&flow.at(ExpectedRequest::Consent, nonce(), self.clock.now()));
        self.redirect(&self.app.consent_url(&sealed.state), &sealed.cookie)
    }

    /// The form for the key, with the problem of the former input.
    fn form(&self, flow: Flow, problem: Option<ApiKeyProblem>) -> Response {
        let sealed = self.seal(&flow);
        let page = pages::api_key_form(&self.path("connect"), &sealed.state, problem);
        self.page(PageStatus::of_key(problem), page, Some(&sealed.cookie))
    }

    /// The page of a failure. With the flow of the browser, it offers another try without entering the key again.
    fn failure(&self, failure: ConnectFailure, flow: Option<Flow>) -> Response {
        if failure.is_misconfiguration() {
            let [_, remedy] = failure.paragraphs();
            tracing::error!("a merchant could not connect: {remedy}");
        }
        let sealed = flow.map(|flow| self.seal(&flow.at(ExpectedRequest::Another, nonce(), self.clock.now())));
        let state = sealed.as_ref().map(|sealed| sealed.state.as_str());
        let page = pages::failure(failure, &self.path("connect"), &self.path("connect/again"), state);
        self.page(PageStatus::Failed(failure), page, sealed.as_ref().map(|sealed| sealed.cookie.as_str()))
    }

    fn seal(&self, flow: &Flow) -> crate::connect::SealedFlow {
        let nonces: [SealNonce; 2] = rand::random();
        match self.seal_keys.first() {
            Some(key) => flow.seal(key, nonces),
            None => unreachable!("the configuration requires a seal key with [connect]"),
        }
    }

    /// Reads a form, and the flow that it belongs to.
    async fn read_form(&self, request: Request, expected: ExpectedRequest) -> Result<(Flow, Fields), ConnectFailure> {
        let (head, mut body) = request.into_parts();
        let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_form = media_type.starts_with("application/x-www-form-urlencoded");
        let raw = match body::read(MAX_FORM_BYTES, &head.headers, &mut body).await {
            Ok(raw) => raw,
            Err(error) => {
                body::discard_after(&error, &head.headers, &mut body).await;
                return Err(ConnectFailure::NotOurs);
            }
        };
        if !is_form || raw.gzip {
            return Err(ConnectFailure::NotOurs);
        }
        let form = Fields::parse(&raw.bytes);
        let (cookie, now) = (self.cookie(&head.headers), self.clock.now());
        let flow = Flow::unseal(cookie, form.value("state"), expected, &self.seal_keys, now)?;
        Ok((flow, form))
    }

    /// The value of this service's cookie.
    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie_name()).map(|(_, value)| value)
    }

    /// The path of a page, as the browser sees it: a proxy may add a prefix.
    fn path(&self, page: &str) -> String {
        let before = self.redirect_url.path().strip_suffix("connect/callback").unwrap_or("/");
        format!("{before}{page}")
    }
}

/// The fields of a form or of a query.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first field of this name.
    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn nonce() -> Nonce {
    rand::random()
}

impl From<AdmissionError> for ApiKeyProblem {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::KeyRejected => Self::Rejected,
            AdmissionError::KeyUnverified | AdmissionError::KeyNotStored | AdmissionError::Draining => Self::Unverified,
        }
    }
}
