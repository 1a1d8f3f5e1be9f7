//! The frame of every page: head, navigation, content, and the moment of its data.
//!
//! In: a title and the content. Out: an HTML document. Invariants: the only style is the one in the page, which the content security policy
//! knows by its hash; the icon is in the page, too. A page that reloads by itself shows this and can be stopped, because a reader with a
//! screen reader or a magnifier would lose the place.

use super::REFRESH_SECONDS;
use super::format;
use crate::admin::access::LOOKUP_PAGE;
use crate::domain::Timestamp;
use axum::response::Html;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("style.css");
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' \
                    height='16' rx='4' fill='%231d4fc4'/%3E%3Cpath d='M3 8h7M7 4l4 4-4 4' stroke='%23fff' stroke-width='2' \
                    fill='none'/%3E%3C/svg%3E";

/// The pages of the navigation: path and name.
const NAVIGATION: [(&str, &str); 3] = [("/", "Overview"), ("/dead-letters", "Dead letters"), (LOOKUP_PAGE, "Lookup")];

/// The hash by which the content security policy allows the style.
pub(super) fn style_hash() -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(STYLE)))
}

/// A page that is about to be rendered.
pub(super) struct HtmlPage<'a> {
    title: &'a str,
    path: &'a str,
    now: Option<Timestamp>,
    refresh: Option<Refresh<'a>>,
}

/// Whether a page reloads by itself, and the link that changes this.
#[derive(Clone, Copy)]
pub(super) struct Refresh<'a> {
    pub(super) is_on: bool,
    /// The address of the page with the other setting.
    pub(super) other: &'a str,
}

impl<'a> HtmlPage<'a> {
    pub(super) fn new(title: &'a str) -> Self {
        Self { title, path: "", now: None, refresh: None }
    }

    /// The page's entry in the navigation.
    pub(super) fn at(self, path: &'a str) -> Self {
        Self { path, ..self }
    }

    /// The moment of its data.
    pub(super) fn at_moment(self, now: Timestamp) -> Self {
        Self { now: Some(now), ..self }
    }

    pub(super) fn refresh(self, refresh: Refresh<'a>) -> Self {
        Self { refresh: Some(refresh), ..self }
    }

    /// The document with this content.
    pub(super) fn render(self, content: Markup) -> Html<String> {
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · refersion-destination" }
                    link rel="icon" href=(ICON);
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href="#content" { "To the content" }
                    header.top {
                        a.brand href="/" { "refersion-destination" }
                        nav aria-label="Pages" { ul { @for (path, name) in NAVIGATION { li { (self.link(path, name)) } } } }
                    }
                    main id="content" tabindex="-1" { (content) }
                    (self.footer())
                }
            }
        };
        Html(document.into_string())
    }

    fn link(&self, path: &str, name: &str) -> Markup {
        html! {
            @if path == self.path { a href=(path) aria-current="page" { (name) } }
            @else { a href=(path) { (name) } }
        }
    }

    fn footer(&self) -> Markup {
        html! {
            footer {
                ul {
                    @if let Some(now) = self.now { li { "As of " (format::moment(now)) " UTC" } }
                    @if let Some(Refresh { is_on, other }) = self.refresh {
                        li {
                            @if is_on { "Loaded again every " (REFRESH_SECONDS) " s: " a href=(other) { "stop" } }
                            @else { "Not loaded again by itself: " a href=(other) { "every " (REFRESH_SECONDS) " s" } }
                        }
                    }
                    li { "Release " (env!("CARGO_PKG_VERSION")) }
                    li { a href="/openapi.json" { "API" } }
                    li { a href="/metrics" { "Metrics" } }
                }
            }
        }
    }
}
