//! The headers of the pages, and the cookie.
//!
//! Invariants: only the page's own style applies, and nothing is loaded; the page is in no frame and in no cache; a form is sent to this
//! service, which may redirect to Segment. Segment's login may be at another host, and browsers apply `form-action` to every redirect, so
//! any https address is allowed. The cookie is sent only to this host, is invisible to scripts, and is not sent with a form of another site
//! (`SameSite=Lax`). It is sent when Segment redirects the browser back.

use super::super::response::PageStatus;
use super::{Connect, pages};
use crate::connect::LIFETIME;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use maud::Markup;
use url::Url;

impl Connect {
    /// A page. `cookie`: the new cookie; none leaves the browser's cookie as it is.
    pub(super) fn page(&self, status: PageStatus, page: Markup, cookie: Option<&str>) -> Response {
        let mut response = (status.code(), Body::from(page.into_string())).into_response();
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, html);
        self.protect(&mut response, cookie);
        response
    }

    /// The redirect to Segment's consent page.
    pub(super) fn redirect(&self, url: &Url, cookie: &str) -> Response {
        let mut response = PageStatus::ToSegment.code().into_response();
        // Err: a URL is ASCII.
        response.headers_mut().extend(HeaderValue::from_str(url.as_str()).ok().map(|url| (LOCATION, url)));
        self.protect(&mut response, Some(cookie));
        response
    }

    /// The name of the cookie. With https it begins with `__Host-`, so no other host and no plain http can set it.
    pub(super) fn cookie_name(&self) -> &'static str {
        if self.is_https() { "__Host-connect" } else { "connect" }
    }

    fn is_https(&self) -> bool {
        self.redirect_url.scheme() == "https"
    }

    fn protect(&self, response: &mut Response, cookie: Option<&str>) {
        let headers = response.headers_mut();
        let policy = format!(
            "default-src 'none'; style-src '{}'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' https: {}",
            pages::STYLE_HASH.as_str(),
            if self.auth_base_url.scheme() == "https" {
                String::new()
            } else {
                self.auth_base_url.origin().ascii_serialization()
            },
        );
        let secure = if self.is_https() { "; Secure" } else { "" };
        let cookie = cookie.map(|cookie| {
            let (name, seconds) = (self.cookie_name(), LIFETIME.as_secs());
            format!("{name}={cookie}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
        });
        // Err: all of these are ASCII.
        headers.extend(HeaderValue::from_str(policy.trim_end()).ok().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
        headers
            .extend(cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()).map(|cookie| (SET_COOKIE, cookie)));
        for (name, value) in
            [(REFERRER_POLICY, "no-referrer"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "no-store")]
        {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
