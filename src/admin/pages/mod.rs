//! The status page and the pages to which it leads: the data of the API for people, in HTML that the server renders.
//!
//! In: requests of a browser. Out: HTML, also for every problem. `layout` is the frame of every page; `overview`, `account`,
//! `dead_letters`, `dead_letter` and `lookup` are the pages, `changes` handles their forms; `parts` is shared by pages, `charts` draws,
//! `format` writes numbers and times. Invariants: a page needs the same [`Access`](super::Access) as the API, and calls the same functions;
//! `maud` escapes every value; the content security policy allows the style of the page itself and nothing else, so that an escaping
//! mistake could run no script; no page shows personal data but one event that is revealed by a `POST`, which needs the token and is
//! logged. Pages work without scripts, and show the same to a keyboard, to a screen reader, and on a phone. Deliberately absent: pages in
//! the OpenAPI description, which is for programs.

mod account;
mod changes;
mod charts;
mod dead_letter;
mod dead_letters;
mod format;
mod layout;
mod lookup;
mod overview;
mod parts;

use super::Admin;
use super::access::LOOKUP_PAGE;
use super::problem::{Problem, ProblemDetails};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use layout::HtmlPage;
use maud::html;
use std::sync::{Arc, LazyLock};

/// The context of the pages. Cheap to clone.
#[derive(Clone)]
pub(super) struct PagesContext {
    pub(super) admin: Arc<Admin>,
    /// Whether changes are possible: whether a token is set.
    pub(super) can_change: bool,
}

impl PagesContext {
    /// The state of the API's handlers, which the pages call.
    fn api(&self) -> State<Arc<Admin>> {
        State(Arc::clone(&self.admin))
    }
}

/// The answer of a handler.
type PageResult = Result<Html<String>, Problem>;

/// The seconds after which a page that shows the present state reloads.
const REFRESH_SECONDS: u32 = 5;

static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        layout::style_hash()
    )
});

/// The routes of the pages.
pub(super) fn routes(pages: PagesContext) -> Router {
    Router::new()
        .route("/", get(overview::show))
        .route("/accounts/{account}", get(account::show))
        .route("/accounts/{account}/set-aside", post(changes::set_aside))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/{id}", get(dead_letter::show))
        .route("/dead-letters/{id}/reveal", post(dead_letter::reveal))
        .route("/dead-letters/replay", post(changes::replay))
        .route("/dead-letters/discard", post(changes::discard))
        .route(LOOKUP_PAGE, get(lookup::ask).post(lookup::answer))
        .with_state(pages)
}

/// Shows a problem as a page, and adds the headers that every page has.
pub(super) async fn as_page(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<ProblemDetails>() {
        *response.body_mut() = problem_page(&problem).0.into();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let headers = response.headers_mut();
    // Err: the policy is not ASCII, which it is.
    if let Ok(policy) = HeaderValue::from_str(&CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // With none at all, a form would be sent with the origin `null`.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// A page that reloads by itself, if `refreshes`. A header, because a reader can stop it by a link; see [`layout`].
fn refreshed(page: Html<String>, refreshes: bool) -> Response {
    let mut response = page.into_response();
    if refreshes {
        response.headers_mut().insert(HeaderName::from_static("refresh"), HeaderValue::from(REFRESH_SECONDS));
    }
    response
}

fn problem_page(problem: &ProblemDetails) -> Html<String> {
    HtmlPage::new(&problem.title).render(html! {
        h1 { (problem.title) }
        div.banner.bad { p { (problem.detail) } }
        p { a href="/" { "To the overview" } }
    })
}
