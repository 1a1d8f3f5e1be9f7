//! The HTTP routes of the simulated Segment.
//!
//! | request | response |
//! | --- | --- |
//! | `GET /` | the workspace, its sources and their destinations, for people |
//! | `GET /oauth2/auth` | a redirect to the consent page or back to the app, or a page that names the mistake |
//! | `GET /authorize`, `POST /authorize` | the consent page; back to the app with the merchant's decision |
//! | `POST /oauth2/token`, `GET /v1beta/installs/{id}/token` | a token |
//! | `/v1beta/workspaces/…` | the Config API |
//! | `/public/…` | the Public API |

use super::super::http::deliver;
use super::public_api::{self, PublicRequest};
use super::state::SegmentCall;
use super::{SegmentSandbox, config_api, oauth, page};
use crate::sandbox::faulty_connection::ConnectionControl;
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use oauth::Parameters;
use serde_json::json;
use url::{Url, form_urlencoded};

const MAX_BODY: usize = 1024 * 1024;

pub(super) fn router(segment: SegmentSandbox) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/oauth2/auth", get(authorize))
        .route("/authorize", get(consent).post(decide))
        .route("/oauth2/token", post(token))
        .route("/v1beta/{*path}", any(config_api))
        .route("/public/", any(public_api))
        .route("/public/{*path}", any(public_api))
        .with_state(segment)
}

async fn show(State(segment): State<SegmentSandbox>) -> Response {
    html(StatusCode::OK, page::workspace(&segment))
}

/// Segment's own redirect to its consent page.
async fn authorize(State(segment): State<SegmentSandbox>, Query(request): Query<Parameters>) -> Response {
    let checked = oauth::check_request(segment.settings(), &segment.state(), &request);
    let response = if let Some(back) = checked.transpose() {
        to_app(back)
    } else {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&request).finish();
        to(&format!("/authorize?{query}"))
    };
    segment.state().record(SegmentCall::Authorize, Some(response.status().as_u16()));
    response
}

async fn consent(State(segment): State<SegmentSandbox>, Query(request): Query<Parameters>) -> Response {
    let checked = oauth::check_request(segment.settings(), &segment.state(), &request);
    checked.transpose().map_or_else(|| html(StatusCode::OK, page::consent(segment.settings(), &request)), to_app)
}

async fn decide(State(segment): State<SegmentSandbox>, form: Bytes) -> Response {
    let request: Parameters = form_urlencoded::parse(&form).into_owned().collect();
    let decided = oauth::decide(segment.settings(), &mut segment.state(), &request);
    let response = to_app(decided);
    segment.state().record(SegmentCall::Consent, Some(response.status().as_u16()));
    response
}

/// Sends the browser back to the app, or shows why that is impossible.
fn to_app(back: Result<Url, &str>) -> Response {
    match back {
        Ok(url) => to(url.as_str()),
        Err(why) => html(StatusCode::BAD_REQUEST, page::mistake(why)),
    }
}

async fn token(State(segment): State<SegmentSandbox>, request: Request) -> Response {
    let (connection, headers, bytes) = parts(request).await;
    let form: Parameters = form_urlencoded::parse(&bytes).into_owned().collect();
    let outcome =
        segment.handle(SegmentCall::Token, |settings, state| oauth::exchange(settings, state, &headers, &form));
    deliver(outcome, connection).await
}

async fn config_api(State(segment): State<SegmentSandbox>, Path(path): Path<String>, request: Request) -> Response {
    let method = request.method().clone();
    let (connection, headers, bytes) = parts(request).await;
    let install = path.strip_suffix("/token").filter(|_| method == Method::GET);
    let call = match (&method, install) {
        (_, Some(_)) => SegmentCall::InstallToken,
        (&Method::GET, _) => SegmentCall::ReadDestination,
        (&Method::POST, _) => SegmentCall::CreateDestination,
        (&Method::PATCH, _) => SegmentCall::UpdateDestination,
        (&Method::DELETE, _) => SegmentCall::DeleteDestination,
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    let outcome = segment.handle(call, |settings, state| match install {
        Some(install) => oauth::install_token(settings, state, &headers, install),
        None => config_api::perform(settings, state, call, &path, &headers, &bytes),
    });
    deliver(outcome, connection).await
}

async fn public_api(State(segment): State<SegmentSandbox>, request: Request) -> Response {
    let (method, url) = (request.method().clone(), request.uri().clone());
    let (connection, headers, body) = parts(request).await;
    let call = if method == Method::GET { SegmentCall::PublicRead } else { SegmentCall::PublicChange };
    let path = url.path().trim_start_matches("/public");
    let query = url.query().unwrap_or_default();
    let request = PublicRequest { method: &method, path, query, headers: &headers, body: &body };
    let outcome = segment.handle(call, |settings, state| {
        public_api::perform(settings, &mut state.public, &request).map(|data| json!({"data": data}))
    });
    deliver(outcome, connection).await
}

async fn parts(request: Request) -> (Option<ConnectionControl>, HeaderMap, Bytes) {
    let connection = request.extensions().get::<ConnectInfo<ConnectionControl>>();
    let connection = connection.map(|ConnectInfo(connection)| connection.clone());
    let (head, body) = request.into_parts();
    // Err: the body is too large. The API takes no such body.
    let bytes = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    (connection, head.headers, bytes)
}

fn to(url: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    // Err: it is made of a URL, which is ASCII.
    response.headers_mut().extend(HeaderValue::from_str(url).ok().map(|url| (header::LOCATION, url)));
    response
}

fn html(status: StatusCode, page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, page).into_response()
}
