//! The page of one dead letter: the reason, the attempts, the calls that its event would make today; and, after *reveal*, the event.

use super::dead_letters::no_token;
use super::layout::HtmlPage;
use super::{PageResult, PagesContext, format};
use crate::admin::dead_letters::{self, calls_of_today, revealed};
use crate::admin::extract::ApiPath;
use crate::dry_run::Detail;
use crate::segment::RawJson;
use crate::series::reason_in_words;
use crate::store::DeadLetter;
use axum::Json;
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

pub(super) async fn show(State(pages): State<PagesContext>, ApiPath(id): ApiPath<i64>) -> PageResult {
    let Json(details) = dead_letters::show(pages.api(), ApiPath(id)).await?;
    let letter = &details.letter;
    Ok(page(
        &pages,
        letter,
        details.today.as_deref(),
        html! {
            @if letter.erased { p.pad.soft { "It was erased." } }
            @else if pages.can_change {
                div.pad {
                    p { "The event holds personal data, so it is shown on demand only. Showing it is logged." }
                    form method="post" action={ "/dead-letters/" (id) "/reveal" } { button type="submit" { "Reveal the event" } }
                }
            } @else { div.pad { (no_token()) } }
        },
    ))
}

/// Shows the event, too.
pub(super) async fn reveal(State(pages): State<PagesContext>, ApiPath(id): ApiPath<i64>) -> PageResult {
    let letter = revealed(&pages.admin, id).await?;
    let Some(body) = &letter.body else {
        return Ok(page(&pages, &letter, None, html! { p.pad.soft { "It was erased." } }));
    };
    let today = calls_of_today(&pages.admin, &letter, Detail::WithValues);
    let shown = RawJson::parse(body).map_or_else(|_| body.clone(), |event| indented(event, 0));
    Ok(page(&pages, &letter, today.as_deref(), html! { pre tabindex="0" { (shown) } }))
}

fn page(pages: &PagesContext, letter: &DeadLetter, today: Option<&[String]>, event: Markup) -> Html<String> {
    let title = format!("Dead letter {}", letter.id);
    HtmlPage::new(&title).at("").at_moment(pages.admin.clock.now()).render(html! {
        p { a href="/dead-letters" { "Dead letters" } }
        h1 { (title) }
        div.card { (facts(letter)) }
        @if pages.can_change { (actions(letter)) }
        section aria-labelledby="attempts" {
            h2 id="attempts" { "Attempts" }
            div.card { (attempts(letter)) }
        }
        section aria-labelledby="today" {
            h2 id="today" { "What the event would do today" }
            div.card {
                @match today {
                    Some(lines) => { pre tabindex="0" { (lines.join("\n")) } }
                    None => { p.pad.soft { "No call: the event was erased." } }
                }
            }
        }
        section aria-labelledby="event" {
            h2 id="event" { "The event" }
            div.card { (event) }
        }
    })
}

/// The most levels of an event that are indented; deeper ones are shown in one line.
const MAX_LEVELS: usize = 32;

/// A value with a line for each member and element. Numbers and texts are shown as they were received, and members in their order; of a
/// repeated name only the last value, which is the one that counts.
fn indented(value: RawJson<'_>, level: usize) -> String {
    let items: Vec<String> = if level == MAX_LEVELS {
        Vec::new()
    } else if let Some(object) = value.as_object() {
        let member = |(name, value)| format!("{}: {}", serde_json::json!(name), indented(value, level + 1));
        object.into_members().map(member).collect()
    } else {
        let elements = value.as_array().unwrap_or_default();
        elements.into_iter().map(|element| indented(element, level + 1)).collect()
    };
    if items.is_empty() {
        return value.source().to_owned();
    }
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    let inner = format!("\n{}", "  ".repeat(level + 1));
    format!("{open}{inner}{}\n{}{close}", items.join(&format!(",{inner}")), "  ".repeat(level))
}

fn facts(letter: &DeadLetter) -> Markup {
    html! {
        dl.facts {
            dt { "Reason" }
            dd { strong { (letter.reason) } br; span.soft { code { (letter.code) } " · " (reason_in_words(&letter.code)) } }
            dt { "Account" } dd { a href={ "/accounts/" (letter.account) } { (letter.account) } }
            dt { "Event" } dd { code { (letter.event) } }
            dt { "Received" } dd { (format::moment(letter.received_at)) " UTC" }
            dt { "Dead letter since" } dd { (format::moment(letter.died_at)) " UTC" }
            dt { "Failures before" } dd { (letter.failures) }
        }
    }
}

fn actions(letter: &DeadLetter) -> Markup {
    html! {
        form.bar method="post" action="/dead-letters/replay" {
            input type="hidden" name="ids" value=(letter.id);
            @if !letter.erased { button.primary type="submit" { "Replay" } }
            button.danger type="submit" formaction="/dead-letters/discard" { "Discard…" }
        }
    }
}

fn attempts(letter: &DeadLetter) -> Markup {
    html! {
        @if letter.history.is_empty() { p.pad.soft { "None is recorded." } }
        @else {
            table.stack {
                thead { tr { th scope="col" { "When (UTC)" } th scope="col" { "What happened" } } }
                tbody {
                    @for attempt in &letter.history {
                        tr { td.tight { (format::moment(attempt.at)) } td { (attempt.what) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_with_its_numbers_and_texts_as_they_were_received() {
        let deep = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
        let shown = |text: &str| indented(RawJson::parse(text).expect("JSON"), 0);
        for (event, expected) in [
            (
                r#"{"userId":12345678901234567890123,"b":450.00,"a":"\u00e9"}"#,
                "{\n  \"userId\": 12345678901234567890123,\n  \"b\": 450.00,\n  \"a\": \"\\u00e9\"\n}",
            ),
            (
                r#"{"a b\"c":[1,{"d":[]},{}]}"#,
                "{\n  \"a b\\\"c\": [\n    1,\n    {\n      \"d\": []\n    },\n    {}\n  ]\n}",
            ),
            (r#"{"a":1,"b":2,"a":3}"#, "{\n  \"a\": 3,\n  \"b\": 2\n}"),
            ("5", "5"),
        ] {
            assert_eq!(shown(event), expected);
        }
        assert_eq!(shown(&deep).matches('[').count(), 1_000);
    }
}
