//! The HTML page at `/`: the affiliates, newest first, and the last calls with their responses.
//!
//! In: the state of the sandbox. Out: one HTML document. Invariants: `maud` escapes every value that was sent, and the content
//! security policy forbids the browser to run scripts or to load anything, so that an escaping mistake could run no script. The page
//! reloads itself every two seconds by a `meta` element, without a script.

use super::{CallRecord, Sandbox, SandboxAffiliate, SandboxSettings, operations};
use crate::domain::{AffiliateStatus, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use std::fmt::{self, Display};

/// Allows the style in the page and nothing else.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                                                  form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("page.css");
const AFFILIATES_SHOWN: usize = 100;
const CALLS_SHOWN: usize = 30;

/// The page at this moment; `host` is the `Host` header of the request.
pub(super) fn render(sandbox: &Sandbox, host: &str) -> String {
    let now = super::now();
    let state = sandbox.state();
    let (affiliates, calls, pending) = (state.account.iter().len(), state.call_log.total(), state.faults.pending());
    let title = format!("Affiliates: {affiliates} · Refersion, simulated");
    let body = html! {
        header {
            div {
                h1 { "Refersion, simulated" }
                p.soft { "Nothing here is real, and nothing is kept." }
            }
            p.soft { "Base URL " code { "http://" (host) "/v2" } }
        }
        @if state.api_key_revoked {
            p { span.pill.bad { "Every key is rejected" } }
        }
        @if pending > 0 {
            p { span.pill.wait { "Faults pending: " (pending) } }
        }
        h2 { "Affiliates " small { (affiliates) } }
        div.card {
            @if affiliates == 0 {
                (no_affiliates(sandbox, host))
            } @else {
                (affiliate_table(state.account.iter().rev().take(AFFILIATES_SHOWN), sandbox.settings(), now))
            }
        }
        @if affiliates > AFFILIATES_SHOWN {
            p.soft { "The newest " (AFFILIATES_SHOWN) "; all are at " code { "/sandbox/affiliates" } "." }
        }
        h2 { "Calls " small { (calls) } }
        div.card {
            @if calls == 0 {
                div.empty.soft { "None yet. Each will be listed here with its response." }
            } @else {
                (call_table(state.call_log.iter().rev().take(CALLS_SHOWN), now))
            }
        }
    };
    document(&title, STYLE, html! { meta http-equiv="refresh" content="2"; }, body)
}

/// A page of a simulated service, with this style and these further elements of its head.
pub(super) fn document(title: &str, style: &str, head: Markup, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                (head)
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(style)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

fn no_affiliates(sandbox: &Sandbox, host: &str) -> Markup {
    let key = sandbox.settings().api_key.as_ref();
    // The secret half of a configured key is not shown: the reader fills it in.
    let (public, secret) = key.map_or(("pub_demo", "sec_demo"), |key| (key.public(), "YOUR-SECRET-KEY"));
    html! {
        div.empty {
            p {
                strong { "No affiliates yet." } " Send the service an " code { "identify" } " event: the user will appear here \
                as an affiliate. Or call this simulated Refersion yourself:"
            }
            pre {
                "curl -X POST http://" (host) "/v2/affiliate/new \\\n"
                "  -H 'Refersion-Public-Key: " (public) "' -H 'Refersion-Secret-Key: " (secret) "' \\\n"
                "  -H 'Content-Type: application/json' \\\n"
                "  -d '{\"first_name\": \"Ada\", \"last_name\": \"Lovelace\", \"email\": \"ada@example.com\", "
                "\"password\": \"Note-G-1843\", \"status\": \"ACTIVE\"}'"
            }
        }
    }
}

fn affiliate_table<'a>(
    affiliates: impl Iterator<Item = &'a SandboxAffiliate>,
    settings: &SandboxSettings,
    now: Timestamp,
) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th { "Affiliate" } th { "Status" } th { "Code and id" } th { "Company and place" }
                    th { "Offer" } th { "Custom fields" } th { "Created" }
                }
            }
            tbody { @for affiliate in affiliates { (affiliate_row(affiliate, settings, now)) } }
        }
    }
}

fn affiliate_row(affiliate: &SandboxAffiliate, settings: &SandboxSettings, now: Timestamp) -> Markup {
    let style = match affiliate.status {
        AffiliateStatus::Active => "good",
        AffiliateStatus::Pending => "wait",
        AffiliateStatus::Denied => "bad",
        AffiliateStatus::Disabled => "off",
    };
    let place = ["city", "country"].map(|name| affiliate.field(name)).into_iter().filter(|text| !text.is_empty());
    let place = place.collect::<Vec<_>>().join(", ");
    html! {
        tr {
            td {
                strong { (affiliate.field("first_name")) " " (affiliate.field("last_name")) }
                br; (affiliate.email())
            }
            td.tight { span class={ "pill " (style) } { (affiliate.status) } }
            td.tight { code { (affiliate.code) } br; span.soft { (affiliate.id) } }
            td { (affiliate.field("company")) br; span.soft { (place) } }
            td.tight { (operations::offer_id(affiliate, settings)) }
            td {
                @for (id, value) in &affiliate.custom_fields {
                    span.soft { (id) } " " (value) br;
                }
            }
            td.tight.soft { (Ago(affiliate.created, now)) }
        }
    }
}

fn call_table<'a>(calls: impl Iterator<Item = &'a CallRecord>, now: Timestamp) -> Markup {
    html! {
        table {
            thead { tr { th { "Call" } th { "Status" } th { "Request" } th { "Response" } } }
            tbody { @for call in calls { (call_row(call, now)) } }
        }
    }
}

fn call_row(call: &CallRecord, now: Timestamp) -> Markup {
    let shown = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
    html! {
        tr {
            td.tight {
                strong { (call.operation) }
                br; span.soft { "#" (call.number) ", " (Ago(call.at, now)) }
            }
            td.tight {
                @match call.status {
                    Some(200) => { span.pill.good { "200" } }
                    Some(status) => { span.pill.bad { (status) } }
                    None => { span.pill.bad { "no response" } }
                }
                @if let Some(fault) = call.fault { br; span.soft { (fault) } }
            }
            td { code { (shown(&call.body)) } }
            td { code { (shown(&call.response)) } }
        }
    }
}

/// The time from the first moment to the second one, rounded down.
struct Ago(Timestamp, Timestamp);

impl Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.since(self.0).as_secs() {
            0..2 => f.write_str("just now"),
            seconds @ 2..60 => write!(f, "{seconds} s ago"),
            seconds @ 60..3600 => write!(f, "{} min ago", seconds / 60),
            seconds => write!(f, "{} h ago", seconds / 3600),
        }
    }
}

impl maud::Render for Ago {
    fn render(&self) -> Markup {
        html! { (self.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AffiliateCode, AffiliateId};

    #[test]
    fn values_from_outside_are_shown_as_text() {
        for (value, shown) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' &amp;", "&quot; onload='x' &amp;amp;"),
            ("Jürgen O’Neil", "Jürgen O’Neil"),
        ] {
            let fields = ["first_name", "last_name", "email", "company", "city", "country"];
            let affiliate = SandboxAffiliate {
                id: AffiliateId(1),
                code: AffiliateCode("a".to_owned()),
                status: AffiliateStatus::Active,
                created: Timestamp(0),
                fields: fields.map(|name| (name.to_owned(), value.to_owned())).into(),
                custom_fields: [(value.to_owned(), value.to_owned())].into(),
            };
            let row = affiliate_row(&affiliate, &SandboxSettings::default(), Timestamp(0)).into_string();
            assert_eq!(row.matches(shown).count(), fields.len() + 2, "{row}");
            assert_eq!(row.matches(value).count(), row.matches(shown).count() * usize::from(value == shown), "{row}");
        }
    }

    #[test]
    fn ages_are_rounded_down() {
        for (seconds, shown) in [(0, "just now"), (59, "59 s ago"), (60, "1 min ago"), (7300, "2 h ago")] {
            assert_eq!(Ago(Timestamp(0), Timestamp(seconds * 1000)).to_string(), shown);
        }
    }
}
