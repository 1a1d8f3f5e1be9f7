//! The lookup page: the results of a user's events, found by an identifier of the user or of the event.
//!
//! In: a form, sent by `POST` so that no address is in a URL. Out: affiliates and events. Invariant: the page does not repeat the
//! identifier, so no picture of it holds an address.

use super::layout::HtmlPage;
use super::{PageResult, PagesContext, format, parts};
use crate::admin::access::LOOKUP_PAGE;
use crate::admin::extract::{ApiJson, FormFields, MAX_ITEMS};
use crate::admin::lookup::{LookupRequest, LookupResult, look_up};
use crate::store::{FoundAffiliate, FoundBy, FoundTraits, SentAttribute};
use axum::Json;
use axum::extract::State;
use maud::{Markup, html};

/// The fields of the form: name, label, and hint.
const FIELDS: [(&str, &str, &str); 5] = [
    ("email", "E-mail address", "of the user"),
    ("user_id", "userId", "of the user, at Segment"),
    ("message_id", "messageId", "of one event; of a delete, name its user, too"),
    ("code", "Affiliate code", "at Refersion"),
    ("account", "Account", "the first configured one if empty"),
];

pub(super) async fn ask() -> PageResult {
    Ok(HtmlPage::new("Lookup").at(LOOKUP_PAGE).render(html! {
        h1 { "Lookup" }
        p { "What became of a user's events? Fill in what you know. Nothing of it is stored or logged: its hashes are compared." }
        div.card { (form()) }
    }))
}

pub(super) async fn answer(State(pages): State<PagesContext>, form_fields: FormFields) -> PageResult {
    let field = |name: &str| {
        let value = form_fields.all(name).next().map(str::trim).unwrap_or_default();
        Some(value.to_owned()).filter(|value| !value.is_empty())
    };
    let request = LookupRequest {
        account: field("account"),
        user_id: field("user_id"),
        email: field("email"),
        message_id: field("message_id"),
        code: field("code"),
        before: None,
        limit: Some(MAX_ITEMS),
    };
    let Json(result) = look_up(pages.api(), ApiJson(request)).await?;
    Ok(HtmlPage::new("Lookup").at(LOOKUP_PAGE).at_moment(pages.admin.clock.now()).render(html! {
        h1 { @if result.known { "Found" } @else { "Nothing is known" } }
        @if !result.known { p { "There is no affiliate, nothing is remembered, and no event is kept." } }
        @if let Some(event) = &result.event { p { "The event's name in logs, traces and dead letters is " code { (event) } "." } }
        @if let Some(at) = result.found.deleted_at { div.banner.wait { p { "The user was deleted as of " (format::moment(at)) " UTC." } } }
        @for affiliate in &result.found.affiliates { (affiliate_section(affiliate)) }
        @for traits in &result.found.remembered { (remembered_section(traits)) }
        (events(&result))
        p { a href=(LOOKUP_PAGE) { "Look up another one" } }
    }))
}

fn form() -> Markup {
    html! {
        form.bar method="post" action=(LOOKUP_PAGE) autocomplete="off" {
            @for (name, label, hint) in FIELDS {
                div.field {
                    label for=(name) { (label) small { " (" (hint) ")" } }
                    input type="text" id=(name) name=(name) autocomplete="off" spellcheck="false";
                }
            }
            button.primary type="submit" { "Look up" }
        }
    }
}

fn affiliate_section(found: &FoundAffiliate) -> Markup {
    let owner = match (found.user_ids, found.found_by.contains(&FoundBy::UserId)) {
        (0, _) => "no userId",
        (_, true) => "this userId",
        (_, false) => "a userId",
    };
    let id = format!("affiliate-{}", found.code);
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { "Affiliate " (found.code) }
            div.card {
                dl.facts {
                    dt { "Id" } dd { @if let Some(id) = found.id { (id) } @else { "not known" } }
                    dt { "Origin" } dd { @if found.created_here { "created by this service" } @else { "existed before" } }
                    dt { "Owner" } dd { (owner) }
                    dt { "Leading to it" } dd { "userIds: " (found.user_ids) ", e-mail addresses: " (found.emails) }
                    @if found.email_conflict { dt { "E-mail" } dd { "its new e-mail belongs to another affiliate" } }
                    dt { "Last sent" } dd { (sent(&found.sent)) }
                }
            }
        }
    }
}

fn remembered_section(found: &FoundTraits) -> Markup {
    html! {
        section aria-label="No affiliate yet" {
            h2 { "No affiliate yet" }
            div.card {
                dl.facts {
                    dt { "Remembered" }
                    dd {
                        @for (index, name) in found.attributes.iter().enumerate() { @if index > 0 { br; } code { (name) } }
                    }
                    dt { "Until" } dd { (format::moment(found.expires_at)) " UTC, unless further events come" }
                }
            }
        }
    }
}

/// Names of attributes, and since when their values were true; no values.
fn sent(sent: &[SentAttribute]) -> Markup {
    html! {
        @if sent.is_empty() { "nothing" }
        @for (index, sent) in sent.iter().enumerate() {
            @if index > 0 { br; }
            code { (sent.attribute) } @if let Some(at) = sent.at { span.soft { " as of " (format::moment(at)) " UTC" } }
        }
    }
}

fn events(result: &LookupResult) -> Markup {
    let events = &result.found.events;
    html! {
        section aria-labelledby="events" {
            h2 id="events" { "Events" }
            div.card {
                @if events.is_empty() { p.pad.soft { "None that is kept." } }
                @else { (parts::events(events)) }
            }
            @if result.found.next.is_some() {
                p.soft { "Older ones are shown by " code { "lookup" } " on the command line." }
            }
        }
    }
}
