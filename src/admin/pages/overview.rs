//! The overview page: whether all is well, how many events are pending and when they will be delivered, each account, the last hour and
//! day, reasons, and the newest dead letters.

use super::layout::{HtmlPage, Refresh};
use super::parts::{self, View};
use super::{PagesContext, format, refreshed};
use crate::admin::accounts;
use crate::admin::extract::ApiQuery;
use crate::admin::problem::Problem;
use crate::admin::status::{self, ServiceStatus};
use crate::admin::wording::named;
use crate::admin::{AccountState, AccountStatus, wording};
use crate::domain::Timestamp;
use crate::store::{DeadLetter, DeadLetterFilter, PageStart};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

/// The most accounts that are shown: those in need first.
const ACCOUNTS_SHOWN: usize = 50;
const DEAD_LETTERS_SHOWN: usize = 10;

pub(super) async fn show(
    State(pages): State<PagesContext>,
    ApiQuery(view): ApiQuery<View>,
) -> Result<Response, Problem> {
    let admin = &pages.admin;
    let Json(status) = status::status(pages.api()).await?;
    let (accounts, more) = accounts::in_need_first(admin, ACCOUNTS_SHOWN).await?;
    let newest =
        admin.store.dead_letters(&DeadLetterFilter::default(), PageStart::Before(i64::MAX), DEAD_LETTERS_SHOWN).await?;
    let title = if status.ready { "Overview" } else { "Not ready" };
    let other = view.other_refresh("/");
    let refresh = Refresh { is_on: view.refreshes(), other: &other };
    let page = HtmlPage::new(title).at("/").at_moment(status.now).refresh(refresh).render(html! {
        h1 { "Overview" }
        (banner(&status, &accounts))
        (figures(&status, &accounts))
        (account_section(&accounts, more, status.now))
        (parts::activity(&status.recent, &view, "/"))
        (parts::reasons(&status.recent))
        (dead_letter_section(&newest.letters, status.dead_letters))
    });
    Ok(refreshed(page, view.refreshes()))
}

/// Whether all is well; if not, the fault and its effect on events. `accounts` are those of the table, where one that is not named here may
/// be missing, too. Of the accounts that are gone, only these are counted.
fn banner(status: &ServiceStatus, accounts: &[AccountStatus]) -> Markup {
    let in_state = |state| accounts.iter().filter(move |account| account.state == state);
    let gone = || accounts.iter().filter(|account| account.gone);
    let (halted, others_halted) = named("halted", in_state(AccountState::Halted), status.accounts.halted);
    let (paused, others_paused) = named("paused", in_state(AccountState::Paused), status.accounts.paused);
    let (named_gone, others_gone) = named("gone", gone(), gone().count());
    html! {
        @if !status.ready {
            div.banner.bad { p { "Not ready: " (status.message) } }
        }
        @for account in halted {
            div.banner.bad { p { "Account " (account.name) " is halted: " (wording::why(account, status.now)) "." } }
        }
        (others("bad", others_halted))
        @for account in paused {
            div.banner.wait { p { "Account " (account.name) " is paused: " (wording::why(account, status.now)) "." } }
        }
        (others("wait", others_paused))
        @for account in &named_gone {
            div.banner.wait {
                p {
                    "Account " a href={ "/accounts/" (account.name) } { (account.name) } " is gone: " (wording::why(account, status.now)) "."
                }
            }
        }
        (others("wait", others_gone))
        @if status.ready && status.accounts.halted + status.accounts.paused == 0 && named_gone.is_empty() {
            @if status.dead_letters == 0 {
                div.banner.good { p { "All is well: events are accepted and delivered." } }
            } @else {
                div.banner.wait {
                    p { "Events are accepted and delivered. Dead letters wait for somebody to replay or discard them: " (format::count(status.dead_letters)) "." }
                }
            }
        }
    }
}

fn others(style: &str, in_words: Option<String>) -> Markup {
    html! { @if let Some(in_words) = in_words { div class={ "banner " (style) } { p { (in_words) "." } } } }
}

fn figures(status: &ServiceStatus, accounts: &[AccountStatus]) -> Markup {
    let held_up = wording::is_held_up(accounts);
    let (empty, remark) = wording::will_be_empty(status.pending, Some(status.drain), status.now, held_up);
    let sum = |counts: &[u64]| format::count(counts.iter().sum());
    let hour = &status.recent.hour;
    parts::figures(&[
        ("Pending events", format::count(status.pending), html! { "accepted, and not delivered yet" }),
        ("Oldest of them", wording::oldest(status.oldest_pending_at, status.now), html! { "since it was received" }),
        ("Will be empty", empty, html! { (remark) }),
        ("Dead letters", format::count(status.dead_letters), html! { a href="/dead-letters" { "show them" } }),
        ("Accepted", sum(&hour.accepted), html! { "in the last hour" }),
        ("Delivered", sum(&hour.delivered), html! { "in the last hour" }),
    ])
}

fn account_section(accounts: &[AccountStatus], more: usize, now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="accounts" {
            h2 id="accounts" { "Accounts" }
            div.card {
                @if accounts.is_empty() { p.pad.soft { "None yet: an account appears with the first event under its key." } }
                @else { (account_table(accounts, now)) }
            }
            @if more > 0 { p.soft { (format::count(more as u64)) " more are at " code { "/api/v1/accounts" } "." } }
        }
    }
}

fn account_table(accounts: &[AccountStatus], now: Timestamp) -> Markup {
    html! {
        table.stack {
            thead {
                tr {
                    th scope="col" { "Account" } th scope="col" { "State" } th.number scope="col" { "Pending" }
                    th.number scope="col" { "Oldest" } th scope="col" { "Empty" } th.number scope="col" { "In flight" }
                    th.number scope="col" { "Dead letters" }
                }
            }
            tbody {
                @for account in accounts {
                    @let held_up = account.state != AccountState::Running;
                    tr {
                        th scope="row" { a href={ "/accounts/" (account.name) } { (account.name) } }
                        td { (parts::state(account)) @let why = wording::why(account, now); @if !why.is_empty() { br; small { (why) } } }
                        td.number data-label="Pending" { (format::count(account.pending)) }
                        td.number data-label="Oldest" { (wording::oldest(account.oldest_pending_at, now)) }
                        td.tight data-label="Empty" { (wording::will_be_empty(account.pending, account.drain, now, held_up).0) }
                        td.number data-label="In flight" { (account.in_flight) " of " (account.concurrency_limit) }
                        td.number data-label="Dead letters" { (account.dead_letters.map_or_else(|| "–".to_owned(), format::count)) }
                    }
                }
            }
        }
    }
}

fn dead_letter_section(letters: &[DeadLetter], all: u64) -> Markup {
    html! {
        section aria-labelledby="dead-letters" {
            h2 id="dead-letters" { "Newest dead letters" }
            div.card {
                @if letters.is_empty() { p.pad.soft { "None: no event was rejected for good, or failed for too long." } }
                @else { (parts::dead_letters(letters, None)) }
            }
            @if !letters.is_empty() { p { a href="/dead-letters" { "All " (format::count(all)) ", to replay or discard" } } }
        }
    }
}
