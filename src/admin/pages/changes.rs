//! The handlers of the forms: they replay dead letters, or, after a confirmation, discard them, and set aside the pending events of an
//! account that is gone.
//!
//! In: a form with the `ids` of dead letters, or the name of an account. Out: the result for each. A form that is sent twice changes
//! nothing the second time, because its dead letters are gone.

use super::layout::HtmlPage;
use super::{PageResult, PagesContext, format};
use crate::admin::backlog::{self, SetAsideRequest};
use crate::admin::dead_letters::{self, DiscardOutcome, DiscardResult, ReplayRequest, SelectedDeadLetters, check_ids};
use crate::admin::extract::{ApiJson, ApiPath, FormFields};
use crate::admin::problem::Problem;
use crate::store::{Replay, ReplayResult};
use axum::Json;
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

pub(super) async fn replay(State(pages): State<PagesContext>, form: FormFields) -> PageResult {
    let to = form.all("to").map(str::trim).find(|to| !to.is_empty()).map(str::to_owned);
    let request = ReplayRequest { ids: ids(&form)?, to };
    let Json(results) = dead_letters::replay(pages.api(), ApiJson(request)).await?;
    let done = results.iter().filter(|result| result.outcome == Replay::Replayed).count();
    let style = if done == results.len() { "good" } else { "wait" };
    let banner = html! {
        div class={ "banner " (style) } { p { "What was replayed is delivered by today's rules, after the pending events of its user." } }
    };
    let outcome = |result: &ReplayResult| {
        let place = result.seq.map(|seq| format!(" as event {seq}")).unwrap_or_default();
        (result.id, format!("{}{place}", result.outcome))
    };
    Ok(outcomes(&pages, ("Replayed", done), banner, results.iter().map(outcome).collect()))
}

pub(super) async fn discard(State(pages): State<PagesContext>, form: FormFields) -> PageResult {
    let ids = ids(&form)?;
    if form.all("confirmed").next() != Some("yes") {
        return Ok(confirmation(&pages, &ids));
    }
    let Json(results) = dead_letters::discard(pages.api(), ApiJson(SelectedDeadLetters { ids })).await?;
    let done = results.iter().filter(|result| result.outcome == DiscardOutcome::Discarded).count();
    let outcome = |result: &DiscardResult| match result.outcome {
        DiscardOutcome::Discarded => (result.id, "discarded for good".to_owned()),
        DiscardOutcome::Missing => (result.id, "no such dead letter".to_owned()),
    };
    Ok(outcomes(&pages, ("Discarded", done), html! {}, results.iter().map(outcome).collect()))
}

pub(super) async fn set_aside(
    State(pages): State<PagesContext>,
    ApiPath(account): ApiPath<String>,
    form: FormFields,
) -> PageResult {
    let is_confirmed = form.all("confirmed").next() == Some("yes");
    let done = if is_confirmed {
        let request = SetAsideRequest { account: account.clone() };
        Some(backlog::set_aside(pages.api(), ApiJson(request)).await?.0)
    } else {
        None
    };
    let title = match done {
        None => format!("Set the pending events of {account} aside?"),
        Some(done) => format!("Set {} aside", format::count(done.events)),
    };
    let rest = done.map_or(0, |done| done.pending);
    Ok(HtmlPage::new(&title).at_moment(pages.admin.clock.now()).render(html! {
        h1 { (title) }
        @if done.is_none() {
            div.banner.wait { p { "They become dead letters, because nobody delivers for the account. Then discard them, or replay them to another account." } }
        }
        @if rest > 0 { p { (format::count(rest)) " more are pending." } }
        @if done.is_none() || rest > 0 {
            form.bar method="post" action={ "/accounts/" (account) "/set-aside" } {
                input type="hidden" name="confirmed" value="yes";
                button.danger type="submit" { @if done.is_none() { "Set aside" } @else { "Set more aside" } }
                a.button href={ "/accounts/" (account) } { "Leave them pending" }
            }
        }
        @if done.is_some() {
            p { a href={ "/dead-letters?account=" (account) "&reason=account_gone" } { "Its dead letters, to discard them or to replay them to another account" } }
        }
    }))
}

/// Asks before anything is discarded.
fn confirmation(pages: &PagesContext, ids: &[i64]) -> Html<String> {
    let title = match ids {
        [id] => format!("Discard dead letter {id} for good?"),
        _ => format!("Discard {} dead letters for good?", format::count(ids.len() as u64)),
    };
    HtmlPage::new(&title).at("/dead-letters").at_moment(pages.admin.clock.now()).render(html! {
        h1 { (title) }
        div.banner.wait { p { "Their events are never delivered, and cannot be brought back." } }
        form.bar method="post" action="/dead-letters/discard" {
            @for id in ids { input type="hidden" name="ids" value=(id); }
            input type="hidden" name="confirmed" value="yes";
            button.danger type="submit" { "Discard for good" }
            a.button href="/dead-letters" { "Keep them" }
        }
    })
}

/// The page with the result for each dead letter, of which `done` were replayed or discarded.
fn outcomes(
    pages: &PagesContext,
    (verb, done): (&str, usize),
    banner: Markup,
    results: Vec<(i64, String)>,
) -> Html<String> {
    let title = format!("{verb} {} of {}", format::count(done as u64), format::count(results.len() as u64));
    HtmlPage::new(&title).at("/dead-letters").at_moment(pages.admin.clock.now()).render(html! {
        h1 { (title) }
        (banner)
        div.card {
            table.stack {
                thead { tr { th scope="col" { "Dead letter" } th scope="col" { "Now" } } }
                tbody { @for (id, outcome) in results { tr { th scope="row" { (id) } td { (outcome) } } } }
            }
        }
        p { a href="/dead-letters" { "Dead letters" } " · " a href="/" { "Overview" } }
    })
}

/// The dead letters that a form selects.
fn ids(form: &FormFields) -> Result<Vec<i64>, Problem> {
    let ids: Result<Vec<i64>, _> = form.all("ids").map(str::parse).collect();
    let ids = ids.map_err(|_| Problem::InvalidRequest("`ids` are numbers".to_owned()))?;
    if ids.is_empty() {
        return Err(Problem::InvalidRequest("No dead letter is selected: go back and tick some".to_owned()));
    }
    check_ids(&ids)?;
    Ok(ids)
}
