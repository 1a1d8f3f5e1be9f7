//! OAuth 2.0 of the simulated Segment: the request for access, the merchant's decision, and tokens.
//!
//! In: the parameters of a request. Out: the URL to which the browser goes, or a JSON answer. A request of an unknown client or with a
//! redirect URL that is not registered, letter by letter, is answered by an error page; the redirect reports every other mistake.

use super::super::call::SandboxResponse;
use super::SegmentSettings;
use super::state::{Code, SegmentState, secret};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use url::Url;

pub(super) type Parameters = HashMap<String, String>;

/// The name of the one install.
const INSTALL: &str = "installs/7";
/// How long a token lives, in seconds.
const TOKEN_LIFETIME: u64 = 3_599;

/// Checks the request for access. `None`: the merchant is to decide; else the URL to which the browser goes back. Err: the reason why it
/// cannot go back.
pub(super) fn check_request(
    settings: &SegmentSettings,
    state: &SegmentState,
    request: &Parameters,
) -> Result<Option<Url>, &'static str> {
    let value = |name: &str| request.get(name).map_or("", String::as_str);
    if value("client_id") != settings.client_id {
        return Err("There is no app with this client id.");
    }
    if !state.redirect_urls.iter().any(|url| url == value("redirect_uri")) {
        return Err("The redirect URL is none of those that are registered for the app.");
    }
    Ok(match (value("response_type"), value("scope")) {
        ("code", scope) if scope == settings.scope => None,
        ("code", _) => Some(back(request, "invalid_scope", "The scope is not the one of the app.")?),
        _ => Some(back(request, "unsupported_response_type", "Only code is supported.")?),
    })
}

/// Carries out the merchant's decision; returns the URL to which the browser goes back.
pub(super) fn decide(
    settings: &SegmentSettings,
    state: &mut SegmentState,
    request: &Parameters,
) -> Result<Url, &'static str> {
    if let Some(url) = check_request(settings, state, request)? {
        return Ok(url);
    }
    let source = request.get("source").filter(|source| settings.sources.contains(source));
    let (Some(source), Some("allow")) = (source, request.get("decision").map(String::as_str)) else {
        return back(request, "access_denied", "The resource owner denied the request.");
    };
    if settings.conflict_in_redirect && state.install.is_some() {
        state.install_on(source);
        return back(request, "request_conflict", "install already exists");
    }
    let redirect_url = request.get("redirect_uri").cloned().unwrap_or_default();
    let mut url = Url::parse(&redirect_url).map_err(|_| "The redirect URL is no URL.")?;
    let code = secret();
    url.query_pairs_mut().append_pair("code", &code);
    let issued = Instant::now();
    state.codes.insert(code, Code { redirect_url, source: source.clone(), issued });
    Ok(with_state(url, request))
}

fn back(request: &Parameters, error: &str, description: &str) -> Result<Url, &'static str> {
    let url = request.get("redirect_uri").and_then(|url| Url::parse(url).ok());
    let mut url = url.ok_or("The redirect URL is no URL.")?;
    url.query_pairs_mut().append_pair("error", error).append_pair("error_description", description);
    url.query_pairs_mut().append_pair("error_hint", "This Segment is simulated.");
    Ok(with_state(url, request))
}

fn with_state(mut url: Url, request: &Parameters) -> Url {
    if let Some(state) = request.get("state") {
        url.query_pairs_mut().append_pair("state", state);
    }
    url
}

/// `POST /oauth2/token`.
pub(super) fn exchange(
    settings: &SegmentSettings,
    state: &mut SegmentState,
    headers: &HeaderMap,
    form: &Parameters,
) -> Result<Value, SandboxResponse> {
    check_client(settings, headers)?;
    let value = |name: &str| form.get(name).map_or("", String::as_str);
    if value("grant_type") != "authorization_code" {
        return Err(rejected(400, "unsupported_grant_type", "Only authorization_code is supported"));
    }
    let Some(code) = state.codes.get(value("code")) else {
        return Err(rejected(400, "invalid_grant", "The code is unknown or was used"));
    };
    if code.redirect_url != value("redirect_uri") {
        return Err(rejected(400, "invalid_request", "The request is missing a required parameter"));
    }
    let is_alive = |code: &Code| code.issued.elapsed() < settings.code_lifetime;
    let Some(code) = state.codes.remove(value("code")).filter(is_alive) else {
        return Err(rejected(400, "invalid_grant", "The code has expired"));
    };
    let installed = state.install.is_some();
    state.install_on(&code.source);
    if installed {
        return Err(SandboxResponse::json(409, json!({"error": "install already exists"})));
    }
    Ok(token(settings, state))
}

/// `GET /v1beta/{install}/token`.
pub(super) fn install_token(
    settings: &SegmentSettings,
    state: &mut SegmentState,
    headers: &HeaderMap,
    install: &str,
) -> Result<Value, SandboxResponse> {
    check_client(settings, headers)?;
    if install != INSTALL || state.install.is_none() {
        return Err(SandboxResponse::json(404, json!({"error": "not found"})));
    }
    Ok(token(settings, state))
}

fn token(settings: &SegmentSettings, state: &mut SegmentState) -> Value {
    let token = secret();
    state.tokens.insert(token.clone(), Instant::now());
    let workspace = format!("workspaces/{}", settings.workspace);
    let sources = state.install.iter().flatten().map(|source| format!("{workspace}/sources/{source}"));
    json!({
        "access_token": token,
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME,
        "scope": settings.scope,
        "app_name": "apps/2",
        "install_name": INSTALL,
        "workspace_names": [workspace],
        "source_names": sources.collect::<Vec<_>>(),
    })
}

/// Whether the token in the headers may be used.
pub(super) fn has_token(state: &SegmentState, headers: &HeaderMap) -> bool {
    let token = authorization(headers).and_then(|value| value.strip_prefix("Bearer "));
    let issued = token.and_then(|token| state.tokens.get(token));
    issued.is_some_and(|issued| issued.elapsed() < Duration::from_secs(TOKEN_LIFETIME))
}

fn check_client(settings: &SegmentSettings, headers: &HeaderMap) -> Result<(), SandboxResponse> {
    let expected = STANDARD.encode(format!("{}:{}", settings.client_id, settings.client_secret));
    match authorization(headers).and_then(|value| value.strip_prefix("Basic ")) {
        Some(given) if given == expected => Ok(()),
        _ => Err(rejected(401, "invalid_client", "Client authentication failed")),
    }
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

fn rejected(status: u16, error: &str, description: &str) -> SandboxResponse {
    SandboxResponse::json(status, json!({"error": error, "error_description": description}))
}
