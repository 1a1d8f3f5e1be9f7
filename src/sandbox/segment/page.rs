//! The pages of the simulated Segment: its workspace, the consent page, and the error page of a request for access.
//!
//! Invariants: `maud` escapes every value, and the policy forbids scripts and anything that is loaded; only the public half of an API key
//! is shown.

use super::oauth::Parameters;
use super::state::{SegmentDestination, SegmentState};
use super::{SegmentSandbox, SegmentSettings};
use crate::sandbox::page;
use maud::{Markup, html};

/// Allows the style in the page. Forms may lead anywhere, because consent leads back to the app.
pub(super) const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("page.css");

/// The workspace.
pub(super) fn workspace(segment: &SegmentSandbox) -> String {
    let (settings, state) = (segment.settings(), segment.state());
    let apps = state.redirect_urls.iter().filter_map(|url| url.strip_suffix("/callback"));
    document(
        "Segment, simulated",
        html! {
            h1 { "Segment, simulated" }
            p.soft { "Nothing here is real, and nothing is kept." }
            p { "Workspace " strong { (settings.workspace) } ": "
                @if state.install.is_some() { "the app Refersion is installed." } @else { "no app is installed." } }
            table {
                thead { tr { th { "Source" } th { "Destination Refersion" } } }
                tbody { @for source in &settings.sources { (source_row(settings, &state, source)) } }
            }
            @for app in apps { p { a href=(app) { "Connect a source: " (app) } } }
        },
    )
}

fn source_row(settings: &SegmentSettings, state: &SegmentState, source: &str) -> Markup {
    let name = format!("workspaces/{}/sources/{source}/destinations/", settings.workspace);
    let destination = state.destinations.values().find(|destination| destination.name.starts_with(&name));
    html! {
        tr {
            td { (source) }
            td {
                @match destination {
                    Some(SegmentDestination { enabled, api_key, .. }) => {
                        @if *enabled { span.good { "on" } } @else { span.off { "off" } }
                        ", key " code { (api_key.split('.').next().unwrap_or_default()) ".…" }
                    },
                    None => { span.off { "none" } },
                }
            }
        }
    }
}

/// The consent page.
pub(super) fn consent(settings: &SegmentSettings, request: &Parameters) -> String {
    document(
        "Allow Refersion? · Segment, simulated",
        html! {
            p.soft { "Segment, simulated" }
            h1 { "Allow Refersion to manage its destination?" }
            p { "The app asks for " code { (settings.scope) } ": to create, change and delete that one destination on one source." }
            form method="post" action="/authorize" {
                @for (name, value) in request { input type="hidden" name=(name) value=(value); }
                fieldset {
                    legend { "Choose a source of the workspace " strong { (settings.workspace) } }
                    @for (number, source) in settings.sources.iter().enumerate() {
                        label { input type="radio" name="source" value=(source) checked[number == 0]; " " (source) }
                    }
                }
                button name="decision" value="allow" { "Allow" }
                button.plain name="decision" value="deny" { "Deny" }
            }
        },
    )
}

/// The error page of a request for access that cannot lead back to the app.
pub(super) fn mistake(why: &str) -> String {
    document(
        "Segment, simulated: an error",
        html! {
            p.soft { "Segment, simulated" }
            h1 { "This request cannot be answered" }
            p { (why) }
        },
    )
}

fn document(title: &str, content: Markup) -> String {
    page::document(title, STYLE, html! {}, html! { main { (content) } })
}
