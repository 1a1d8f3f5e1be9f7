//! The page of one account: its state, its oldest pending events, the last hour and day, reasons, its newest dead letters, and the results
//! of its newest events.

use super::layout::{HtmlPage, Refresh};
use super::parts::{self, View};
use super::{PagesContext, format, refreshed};
use crate::admin::events::events;
use crate::admin::extract::{ApiPath, ApiQuery};
use crate::admin::problem::Problem;
use crate::admin::{AccountState, AccountStatus, accounts, wording};
use crate::domain::{AccountName, Timestamp};
use crate::store::{BacklogFilter, DeadLetterFilter, EventFilter, PageStart};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

const DEAD_LETTERS_SHOWN: usize = 10;
const EVENTS_SHOWN: usize = 10;
const PENDING_SHOWN: usize = 5;

pub(super) async fn show(
    State(pages): State<PagesContext>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(view): ApiQuery<View>,
) -> Result<Response, Problem> {
    let (admin, now) = (&pages.admin, pages.admin.clock.now());
    let Json(details) = accounts::show(pages.api(), ApiPath(name.clone())).await?;
    let filter = DeadLetterFilter { account: Some(name.clone()), ..DeadLetterFilter::default() };
    let newest = admin.store.dead_letters(&filter, PageStart::Before(i64::MAX), DEAD_LETTERS_SHOWN).await?;
    let pending = BacklogFilter { account: AccountName::from(name.clone()), user: None, received_before: None };
    let oldest = admin.store.backlog(&pending, 0, PENDING_SHOWN).await?.events;
    let of_account = EventFilter { account: Some(name.clone()), ..EventFilter::default() };
    let events = events(admin, &of_account, i64::MAX, EVENTS_SHOWN).await?.events;
    let (title, path) = (format!("Account {name}"), format!("/accounts/{name}"));
    let other = view.other_refresh(&path);
    let refresh = Refresh { is_on: view.refreshes(), other: &other };
    let page = HtmlPage::new(&title).at_moment(now).refresh(refresh).render(html! {
        h1 { "Account " (name) " " (parts::state(&details.status)) }
        (banner(&details.status, now))
        (figures(&details.status, now))
        @if details.status.gone && pages.can_change {
            form.bar method="post" action={ (path) "/set-aside" } {
                button type="submit" { "Set its pending events aside…" }
            }
        }
        @if !oldest.is_empty() {
            section aria-labelledby="pending" {
                h2 id="pending" { "Oldest pending events" }
                div.card { (parts::pending_events(&oldest)) }
                p.soft { "All of them, and those of one user, are shown by " code { "backlog list" } " on the command line." }
            }
        }
        @if let Some(recent) = &details.recent {
            @if details.status.drain.is_none() {
                p.soft { "What follows is counted together for all accounts " (shared_with(&details.status)) "." }
            }
            (parts::activity(recent, &view, &path))
            (parts::reasons(recent))
        }
        section aria-labelledby="dead-letters" {
            h2 id="dead-letters" { "Newest dead letters" }
            div.card {
                @if newest.letters.is_empty() { p.pad.soft { "None." } }
                @else { (parts::dead_letters(&newest.letters, None)) }
            }
            @if !newest.letters.is_empty() {
                p { a href={ "/dead-letters?account=" (name) } { "All of this account, to replay or discard" } }
            }
        }
        section aria-labelledby="events" {
            h2 id="events" { "Newest events" }
            div.card {
                @if events.is_empty() { p.pad.soft { "None that is kept." } }
                @else { (parts::events(&events)) }
            }
            @if !events.is_empty() {
                p.soft { "All of them are shown by " code { "events" } " on the command line." }
            }
        }
    });
    Ok(refreshed(page, view.refreshes()))
}

/// The accounts that share their charts with this one.
fn shared_with(account: &AccountStatus) -> Markup {
    html! {
        @if account.configured { "that are configured behind the first " code { "OPS_METRICS_ACCOUNTS" } }
        @else { "whose API keys arrived with requests" }
    }
}

fn banner(account: &AccountStatus, now: Timestamp) -> Markup {
    let (style, state) = match account.state {
        AccountState::Running => return html! {},
        AccountState::Paused => ("wait", "is paused"),
        AccountState::Halted => ("bad", "is halted"),
        AccountState::NoWorker => ("off", "has no worker"),
    };
    html! { div class={ "banner " (style) } { p { "The account " (state) ": " (wording::why(account, now)) "." } } }
}

fn figures(account: &AccountStatus, now: Timestamp) -> Markup {
    let (empty, remark) =
        wording::will_be_empty(account.pending, account.drain, now, account.state != AccountState::Running);
    let rate = account.requests_per_second.map(format::rate);
    let rate = html! {
        @if let Some(rate) = rate { "at most " (rate) " begin in a second" }
        @else { "no limit of requests per second is known" }
    };
    let dead_letters = account.dead_letters.map_or_else(|| "–".to_owned(), format::count);
    parts::figures(&[
        ("Pending events", format::count(account.pending), html! { "accepted, and not delivered yet" }),
        ("Oldest of them", wording::oldest(account.oldest_pending_at, now), html! { "since it was received" }),
        ("Will be empty", empty, html! { (remark) }),
        ("Requests in flight", format!("{} of {}", account.in_flight, account.concurrency_limit), rate),
        ("Dead letters", dead_letters, html! { a href={ "/dead-letters?account=" (account.name) } { "show them" } }),
    ])
}
