//! The handlers of the forms: they replay dead letters, or, after a confirmation, discard them.
//!
//! In: a form with the `ids` of dead letters. Out: what became of each. A form that is sent again changes nothing again: its dead
//! letters are gone.

use super::layout::HtmlPage;
use super::{PageResult, PagesState, format};
use crate::admin::dead_letters::{DiscardOutcome, SelectedDeadLetters, discarded, replayed};
use crate::admin::extract::FormFields;
use crate::admin::problem::Problem;
use crate::store::Replay;
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

pub(super) async fn replay(State(pages): State<PagesState>, form: FormFields) -> PageResult {
    let results = replayed(&pages.admin, ids(&form)?).await?;
    let done = results.iter().filter(|result| result.outcome == Replay::Replayed).count();
    let title = format!("Replayed {} of {}", format::count(done as u64), format::count(results.len() as u64));
    let style = if done == results.len() { "good" } else { "wait" };
    Ok(HtmlPage::new(&title).at("/dead-letters").at_moment(pages.admin.clock.now()).render(html! {
        h1 { (title) }
        div class={ "banner " (style) } { p { "What was replayed is delivered by today's rules, after the pending events of its user." } }
        (outcomes(results.iter().map(|result| {
            let place = result.seq.map(|seq| format!(" as event {seq}")).unwrap_or_default();
            (result.id, format!("{}{place}", result.outcome))
        })))
        (back())
    }))
}

pub(super) async fn discard(State(pages): State<PagesState>, form: FormFields) -> PageResult {
    let ids = ids(&form)?;
    if form.all("confirmed").next() != Some("yes") {
        return Ok(confirmation(&pages, &ids));
    }
    let results = discarded(&pages.admin, ids).await?;
    let done = results.iter().filter(|result| result.outcome == DiscardOutcome::Discarded).count();
    let title = format!("Discarded {} of {}", format::count(done as u64), format::count(results.len() as u64));
    Ok(HtmlPage::new(&title).at("/dead-letters").at_moment(pages.admin.clock.now()).render(html! {
        h1 { (title) }
        (outcomes(results.iter().map(|result| {
            let outcome = match result.outcome {
                DiscardOutcome::Discarded => "discarded for good",
                DiscardOutcome::Missing => "no such dead letter",
            };
            (result.id, outcome.to_owned())
        })))
        (back())
    }))
}

/// Asks before anything is discarded.
fn confirmation(pages: &PagesState, ids: &[i64]) -> Html<String> {
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

fn outcomes(results: impl Iterator<Item = (i64, String)>) -> Markup {
    html! {
        div.card {
            table.stack {
                thead { tr { th scope="col" { "Dead letter" } th scope="col" { "Now" } } }
                tbody { @for (id, outcome) in results { tr { th scope="row" { (id) } td { (outcome) } } } }
            }
        }
    }
}

fn back() -> Markup {
    html! { p { a href="/dead-letters" { "Dead letters" } " · " a href="/" { "Overview" } } }
}

/// The dead letters that a form selects.
fn ids(form: &FormFields) -> Result<Vec<i64>, Problem> {
    let ids: Result<Vec<i64>, _> = form.all("ids").map(str::parse).collect();
    let ids = ids.map_err(|_| Problem::InvalidRequest("`ids` are numbers".to_owned()))?;
    if ids.is_empty() {
        return Err(Problem::InvalidRequest("No dead letter is selected: go back and tick some".to_owned()));
    }
    SelectedDeadLetters::of(ids).checked()
}
