//! The list of dead letters: filtered, newest first, page by page; several can be selected to be replayed or discarded.
//!
//! The page does not reload by itself, because a selection would be lost.

use super::layout::HtmlPage;
use super::{PageResult, PagesContext, format, parts};
use crate::admin::dead_letters;
use crate::admin::extract::ApiQuery;
use crate::admin::problem::Problem;
use crate::delivery::OutcomeCode;
use crate::domain::Timestamp;
use crate::series::reason_in_words;
use crate::store::PageStart;
use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use std::time::Duration;

/// The dead letters of a page.
const PAGE_SIZE: usize = 100;
const FORM: &str = "selected";
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A choice of the filter by age: the word in the address, its label, and the age.
const SINCE: [(&str, &str, Duration); 3] = [
    ("hour", "the last hour", HOUR),
    ("day", "the last day", HOUR.saturating_mul(24)),
    ("week", "the last week", HOUR.saturating_mul(24 * 7)),
];

/// The query of the page. An empty text is no filter, because a form sends it for a field without a choice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLettersPageQuery {
    #[serde(default)]
    account: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    since: String,
    /// Only those with an id below this one.
    before: Option<i64>,
    /// `all`: with every box ticked.
    #[serde(default)]
    select: String,
}

pub(super) async fn list(
    State(pages): State<PagesContext>,
    ApiQuery(query): ApiQuery<DeadLettersPageQuery>,
) -> PageResult {
    let (admin, now) = (&pages.admin, pages.admin.clock.now());
    let filter =
        dead_letters::filter(admin, given(&query.account), given(&query.reason).map(str::to_owned), query.since(now)?);
    let start = PageStart::Before(query.before.unwrap_or(i64::MAX));
    let page = admin.store.dead_letters(&filter.await?, start, PAGE_SIZE).await?;
    let all = admin.store.status().dead;
    Ok(HtmlPage::new("Dead letters").at("/dead-letters").at_moment(now).render(html! {
        h1 { "Dead letters" }
        p { "Events that Refersion rejected for good, or that failed for too long. There are " (format::count(all)) "." }
        div.card { (filter_form(&query)) }
        @if page.letters.is_empty() {
            p { "No dead letter fits." }
        } @else {
            (selection(&query, pages.can_change, page.letters.iter().any(|letter| letter.code == OutcomeCode::AccountGone.as_str())))
            div.card { (parts::dead_letters(&page.letters, pages.can_change.then_some((FORM, query.select == "all")))) }
        }
        @if let Some(next) = page.next {
            p { a href=(query.address(Some(next), false)) { "Older ones" } }
        }
    }))
}

fn filter_form(query: &DeadLettersPageQuery) -> Markup {
    html! {
        form.bar action="/dead-letters" {
            div.field { label for="account" { "Account" } input type="text" id="account" name="account" value=(query.account) autocomplete="off"; }
            div.field {
                label for="reason" { "Reason" }
                select id="reason" name="reason" {
                    option value="" { "any" }
                    @for code in OutcomeCode::failures().map(OutcomeCode::as_str) {
                        option value=(code) selected[code == query.reason] { (reason_in_words(code)) }
                    }
                }
            }
            div.field {
                label for="since" { "Since" }
                select id="since" name="since" {
                    option value="" { "any time" }
                    @for (word, name, _) in SINCE { option value=(word) selected[word == query.since] { (name) } }
                }
            }
            button type="submit" { "Filter" }
            a href="/dead-letters" { "No filter" }
        }
    }
}

/// The form that the boxes of the list belong to. `of_gone`: a dead letter is of an account that is gone, so it can go to another one.
fn selection(query: &DeadLettersPageQuery, can_change: bool, of_gone: bool) -> Markup {
    html! {
        @if can_change {
            form.bar id=(FORM) method="post" action="/dead-letters/replay" {
                @if of_gone {
                    div.field { label for="to" { "Replay to account" } input type="text" id="to" name="to" autocomplete="off"; }
                }
                button.primary type="submit" { "Replay the selected" }
                button.danger type="submit" formaction="/dead-letters/discard" { "Discard the selected…" }
                @if query.select == "all" { a href=(query.address(query.before, false)) { "Select none" } }
                @else { a href=(query.address(query.before, true)) { "Select all on this page" } }
            }
        } @else {
            (no_token())
        }
    }
}

/// The reason why no change is possible.
pub(super) fn no_token() -> Markup {
    html! { p.soft { "To replay, discard or reveal, set " code { "OPS_TOKEN" } " and restart the service." } }
}

impl DeadLettersPageQuery {
    fn since(&self, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let Some(word) = given(&self.since) else { return Ok(None) };
        let found = SINCE.iter().find(|(known, ..)| *known == word);
        let (.., ago) =
            found.ok_or_else(|| Problem::InvalidRequest("`since` is none of hour, day, week".to_owned()))?;
        Ok(Some(now.before(*ago)))
    }

    /// The address of the page with this filter, beginning at another place, with every box ticked or none.
    fn address(&self, before: Option<i64>, select_all: bool) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("account", &self.account), ("reason", &self.reason), ("since", &self.since)] {
            if let Some(value) = given(value) {
                query.append_pair(name, value);
            }
        }
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        if select_all {
            query.append_pair("select", "all");
        }
        format!("/dead-letters?{}", query.finish())
    }
}

fn given(value: &str) -> Option<&str> {
    Some(value.trim()).filter(|value| !value.is_empty())
}
