//! Access control of the operators' listener: the requests that need the token.
//!
//! | request | needs |
//! | --- | --- |
//! | `GET /healthz`, `/readyz`, `/metrics` | nothing: their routes do not come here (`admin/mod.rs`) |
//! | reads and lookups, on a loopback listener, for a `Host` that is this machine, and a lookup with no other site as its origin | nothing |
//! | reads and lookups, else | the token |
//! | whatever changes something, or shows an event | the token, and no other site as its origin |
//!
//! In: the head of a request, and the address of its peer. Out: the request passes, or a problem. The token is presented as `Authorization:
//! Bearer TOKEN`, or as the password of Basic credentials, so that a browser asks for it. Invariants: if a token is set, every presented
//! token is checked, also for a request that needs none; the token is compared in constant time, and never printed; without a token nothing
//! can be changed. The `Host` is checked because another site can let its name resolve to this machine, and its page can then read what a
//! loopback listener shows. Cross-site requests (CSRF) are recognised as Go's `CrossOriginProtection` does: by `Sec-Fetch-Site`, and where
//! a browser is too old for it by `Origin`. A lookup reads; it is a `POST` so that no address is in a URL. Deliberately absent: users and
//! roles.

use super::problem::Problem;
use super::wrong_tokens::WrongTokens;
use crate::segment::CREDENTIALS_BASE64;
use crate::telemetry::LogThrottle;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// Decides who may use the API.
#[derive(Debug)]
pub struct Access {
    token: Option<SecretString>,
    loopback: bool,
    wrong: Mutex<WrongTokens>,
    log_throttle: LogThrottle,
}

/// The path of lookups in the API.
pub(super) const LOOKUP: &str = "/api/v1/lookup";
/// The path of the page that looks up.
pub(super) const LOOKUP_PAGE: &str = "/lookup";

impl Access {
    /// Operators present `token`. The listener is bound to `listen`.
    pub fn new(token: Option<SecretString>, listen: SocketAddr) -> Self {
        let loopback = listen.ip().to_canonical().is_loopback();
        Self { token, loopback, wrong: Mutex::default(), log_throttle: LogThrottle::new() }
    }

    /// Whether something can be changed at all.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    fn check(
        &self,
        (method, path): (&Method, &str),
        headers: &HeaderMap,
        peer: IpAddr,
        now: Instant,
    ) -> Result<(), Problem> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if !reads && is_cross_site(headers) {
            return Err(Problem::CrossSite);
        }
        let looks_up = *method == Method::POST && [LOOKUP, LOOKUP_PAGE].contains(&path);
        let free = (reads || looks_up) && self.loopback && is_for_this_machine(headers);
        let Some(token) = &self.token else {
            return if free { Ok(()) } else { Err(Problem::TokenNotSet { loopback: self.loopback }) };
        };
        let mut authorizations = headers.get_all(AUTHORIZATION).into_iter().peekable();
        if authorizations.peek().is_none() {
            return if free { Ok(()) } else { Err(Problem::TokenMissing) };
        }
        let mut wrong = self.wrong.lock();
        if wrong.is_slowed(peer, now) {
            return Err(Problem::TooManyWrongTokens);
        }
        let is_right = |value: &HeaderValue| {
            presented_token(value.as_bytes())
                .is_some_and(|presented| bool::from(token.expose_secret().as_bytes().ct_eq(&presented)))
        };
        if authorizations.all(is_right) {
            return Ok(());
        }
        wrong.count(peer, now);
        drop(wrong);
        if self.log_throttle.may_log(now) {
            tracing::warn!(%peer, "a wrong token was presented to the operators' listener (further ones are not logged for 10 s)");
        }
        Err(Problem::TokenWrong)
    }
}

/// Passes a request on, or answers with a problem. No cache may keep an answer.
pub(super) async fn authorize(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // Unspecified: the listener passes no addresses. Then all peers are slowed down together.
    let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(address)| address.ip());
    let mut response =
        match access.check((request.method(), request.uri().path()), request.headers(), peer, Instant::now()) {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The token in a value of `Authorization`; `None` if the value has another form.
fn presented_token(value: &[u8]) -> Option<Vec<u8>> {
    let value = value.trim_ascii();
    let at = value.iter().position(u8::is_ascii_whitespace)?;
    let (scheme, credentials) = (&value[..at], value[at..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(credentials.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let decoded = CREDENTIALS_BASE64.decode(credentials).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

/// Whether a browser sends this request on behalf of another site.
fn is_cross_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let origin = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    !matches!((origin, host), (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host))
}

/// Whether the request names this machine as its host, and not a name that somebody lets resolve to it. One without `Host` is not
/// of a browser.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TOKEN: &str = "a-token-of-operators";
    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn access(token: Option<&str>, listen: &str) -> Access {
        Access::new(token.map(SecretString::from), listen.parse().expect("an address"))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let parsed =
            |(name, value): &(&'static str, &str)| (name.parse().expect("a name"), value.parse().expect("a value"));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(parsed) {
            let _: bool = headers.append::<axum::http::HeaderName>(name, value);
        }
        headers
    }

    fn basic(user_and_password: &str) -> String {
        format!("Basic {}", CREDENTIALS_BASE64.encode(user_and_password))
    }

    /// `ok`, or the code of the problem's type.
    fn check(access: &Access, method: &Method, pairs: &[(&'static str, &str)]) -> &'static str {
        check_path(access, (method, "/api/v1/status"), pairs)
    }

    fn check_path(access: &Access, operation: (&Method, &str), pairs: &[(&'static str, &str)]) -> &'static str {
        match access.check(operation, &headers(pairs), PEER, Instant::now()) {
            Ok(()) => "ok",
            Err(problem) => problem.row().1,
        }
    }

    #[test]
    fn reading_is_free_on_loopback_and_everything_else_needs_the_token() {
        let right = format!("Bearer {TOKEN}");
        let right = ("authorization", right.as_str());
        let local = ("host", "127.0.0.1:9090");
        for (token, listen, read, change, read_with_token, change_with_token) in [
            (Some(TOKEN), "127.0.0.1:9090", "ok", "token-missing", "ok", "ok"),
            (Some(TOKEN), "[::1]:9090", "ok", "token-missing", "ok", "ok"),
            (Some(TOKEN), "0.0.0.0:9090", "token-missing", "token-missing", "ok", "ok"),
            (Some(TOKEN), "[::]:9090", "token-missing", "token-missing", "ok", "ok"),
            (None, "127.0.0.1:9090", "ok", "token-not-set", "ok", "token-not-set"),
            (None, "10.0.0.1:9090", "token-not-set", "token-not-set", "token-not-set", "token-not-set"),
        ] {
            let access = access(token, listen);
            assert_eq!(check(&access, &Method::GET, &[local]), read, "{listen}");
            assert_eq!(check(&access, &Method::HEAD, &[local]), read, "{listen}");
            assert_eq!(check(&access, &Method::GET, &[local, right]), read_with_token, "{listen}");
            for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH, Method::OPTIONS] {
                assert_eq!(check(&access, &method, &[local]), change, "{method} {listen}");
                assert_eq!(check(&access, &method, &[local, right]), change_with_token, "{method} {listen}");
            }
        }
    }

    #[test]
    fn the_token_is_a_bearer_token_or_the_password_of_basic_credentials() {
        let of = |value: &str| check(&access(Some(TOKEN), "0.0.0.0:1"), &Method::POST, &[("authorization", value)]);
        for right in [
            format!("Bearer {TOKEN}"),
            format!("bearer   {TOKEN} "),
            basic(&format!(":{TOKEN}")),
            basic(&format!("anybody:{TOKEN}")),
            basic(&format!("anybody:{TOKEN}")).trim_end_matches('=').replace("Basic", "BASIC"),
        ] {
            assert_eq!(of(&right), "ok", "{right}");
        }
        for wrong in [
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Bearer {TOKEN}x"),
            format!("Bearer {}", &TOKEN[1..]),
            format!("Bearer {}", TOKEN.to_uppercase()),
            format!("Digest {TOKEN}"),
            TOKEN.to_owned(),
            basic(TOKEN),
            basic(&format!("{TOKEN}:")),
            basic(&format!("a:b:{TOKEN}")),
            format!("Basic {TOKEN}"),
            String::new(),
        ] {
            assert_eq!(of(&wrong), "token-wrong", "{wrong}");
        }
        let access = access(Some(TOKEN), "127.0.0.1:1");
        let right = format!("Bearer {TOKEN}");
        let both = [("authorization", right.as_str()), ("authorization", "Bearer x")];
        assert_eq!(check(&access, &Method::POST, &both), "token-wrong", "all of several have to be right");
        assert_eq!(
            check(&access, &Method::GET, &[("authorization", "Bearer x")]),
            "token-wrong",
            "also where none is needed"
        );
    }

    #[test]
    fn reading_is_free_only_for_the_names_of_this_machine() {
        let access = access(Some(TOKEN), "127.0.0.1:9090");
        for (host, expected) in [
            ("localhost", "ok"),
            ("LocalHost:9090", "ok"),
            ("127.0.0.1", "ok"),
            ("127.8.0.1:9090", "ok"),
            ("[::1]:9090", "ok"),
            ("attacker.example:9090", "token-missing"),
            ("127.0.0.1.attacker.example", "token-missing"),
            ("localhost.attacker.example", "token-missing"),
            ("10.0.0.1", "token-missing"),
            ("", "token-missing"),
            ("a b", "token-missing"),
        ] {
            assert_eq!(check(&access, &Method::GET, &[("host", host)]), expected, "{host}");
        }
        assert_eq!(check(&access, &Method::GET, &[]), "ok", "no browser leaves it out");
    }

    #[test]
    fn a_lookup_reads_and_no_other_site_may_ask_for_it() {
        let (loopback, anywhere) = (access(Some(TOKEN), "127.0.0.1:9090"), access(Some(TOKEN), "0.0.0.0:9090"));
        let local = ("host", "127.0.0.1:9090");
        for path in [LOOKUP, LOOKUP_PAGE] {
            let post = (&Method::POST, path);
            assert_eq!(check_path(&loopback, post, &[local]), "ok");
            assert_eq!(check_path(&loopback, post, &[local, ("origin", "https://attacker.example")]), "cross-site");
            assert_eq!(check_path(&loopback, post, &[("host", "attacker.example")]), "token-missing");
            assert_eq!(check_path(&loopback, (&Method::DELETE, path), &[local]), "token-missing");
            assert_eq!(check_path(&anywhere, post, &[local]), "token-missing");
            assert_eq!(check_path(&access(None, "127.0.0.1:9090"), post, &[local]), "ok");
        }
    }

    #[test]
    fn a_change_on_behalf_of_another_site_is_refused_even_with_the_token() {
        let access = access(Some(TOKEN), "127.0.0.1:9090");
        let right = format!("Bearer {TOKEN}");
        let (right, host) = (("authorization", right.as_str()), ("host", "ops.example:9090"));
        for (more, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], "ok"),
            (&[("sec-fetch-site", "none")], "ok"),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://ops.example")], "ok"),
            (&[("sec-fetch-site", "cross-site")], "cross-site"),
            (&[("sec-fetch-site", "same-site")], "cross-site"),
            (&[("sec-fetch-site", "")], "cross-site"),
            (&[("origin", "http://ops.example:9090")], "ok"),
            (&[("origin", "https://OPS.example:9090")], "ok"),
            (&[("origin", "http://ops.example")], "cross-site"),
            (&[("origin", "http://other.example:9090")], "cross-site"),
            (&[("origin", "null")], "cross-site"),
            (&[], "ok"),
        ] {
            let all = [&[right, host], more].concat();
            assert_eq!(check(&access, &Method::POST, &all), expected, "{more:?}");
            assert_eq!(check(&access, &Method::GET, &all), "ok", "reading: {more:?}");
        }
    }

    #[test]
    fn the_right_token_is_not_looked_at_after_five_wrong_ones() {
        let access = access(Some(TOKEN), "127.0.0.1:9090");
        let now = Instant::now();
        let check = |authorization: &str, peer: &str, ms: u64| {
            let headers = headers(&[("authorization", authorization)]);
            let peer = peer.parse().expect("an address");
            let checked = access.check((&Method::GET, "/"), &headers, peer, now + Duration::from_millis(ms));
            checked.err().map_or("ok", |problem| problem.row().1)
        };
        let right = format!("Bearer {TOKEN}");
        assert_eq!([0; 5].map(|ms| check("Bearer wrong", "10.0.0.1", ms)), ["token-wrong"; 5]);
        assert_eq!(check("Bearer wrong", "10.0.0.1", 1), "too-many-wrong-tokens");
        assert_eq!(check(&right, "10.0.0.1", 1), "too-many-wrong-tokens");
        assert_eq!(check(&right, "10.0.0.2", 1), "ok");
        assert_eq!(check(&right, "10.0.0.1", 1_000), "ok");
    }

    #[test]
    fn the_token_is_not_printed() {
        assert!(!format!("{:?}", access(Some(TOKEN), "127.0.0.1:1")).contains(TOKEN));
    }
}
