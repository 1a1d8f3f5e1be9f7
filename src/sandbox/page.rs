//! The page at `/`: the affiliates as they appear, and the calls that made them.
//!
//! Whatever was sent is shown as text: every value goes through [`Text`], and the page forbids the browser to run or to load
//! anything, so that even a slip here could run no script. It loads itself again every two seconds, without one.

use super::{CallRecord, Sandbox, SandboxAffiliate};
use crate::domain::{AffiliateStatus, Timestamp};
use serde_json::Value;
use std::fmt::{self, Display, Write};

/// Only the style that stands in the page.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                                                  form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("page.css");
const AFFILIATES_SHOWN: usize = 100;
const CALLS_SHOWN: usize = 30;

/// A value from outside, harmless between tags and inside quoted attributes.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// The page as it looks now; `host` is how the visitor reached it.
pub(super) fn render(sandbox: &Sandbox, host: &str) -> String {
    let now = super::now();
    let mut page = String::new();
    // Writing into a `String` does not fail.
    write_page(&mut page, sandbox, host, now).ok();
    page
}

fn write_page(page: &mut String, sandbox: &Sandbox, host: &str, now: Timestamp) -> fmt::Result {
    let state = sandbox.state();
    let (affiliates, calls, waiting) = (state.account.iter().len(), state.call_log.total(), state.faults.pending());
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Affiliates: {affiliates} · Refersion, simulated</title><style>{STYLE}</style></head><body>\
         <header><div><h1>Refersion, simulated</h1><p class=\"soft\">Nothing here is real, and nothing is kept.</p></div>\
         <p class=\"soft\">Base URL <code>http://{}/v2</code></p></header>",
        Text(host)
    )?;
    if state.key_revoked {
        page.push_str("<p><span class=\"pill bad\">Every key is refused</span></p>");
    }
    if waiting > 0 {
        write!(page, "<p><span class=\"pill wait\">FaultInjector waiting: {waiting}</span></p>")?;
    }
    write!(page, "<h2>Affiliates <small>{affiliates}</small></h2><div class=\"card\">")?;
    if affiliates == 0 {
        write_empty(page, sandbox, host)?;
    } else {
        page.push_str(
            "<table><thead><tr><th>Affiliate</th><th>Status</th><th>Code and id</th><th>Company and place</th>\
             <th>Custom fields</th><th>Created</th></tr></thead><tbody>",
        );
        state.account.iter().rev().take(AFFILIATES_SHOWN).try_for_each(|one| write_affiliate(page, one, now))?;
        page.push_str("</tbody></table>");
    }
    page.push_str("</div>");
    if affiliates > AFFILIATES_SHOWN {
        write!(
            page,
            "<p class=\"soft\">The newest {AFFILIATES_SHOWN}; all are at <code>/sandbox/affiliates</code>.</p>"
        )?;
    }
    write!(page, "<h2>Calls <small>{calls}</small></h2><div class=\"card\">")?;
    if calls == 0 {
        page.push_str("<div class=\"empty soft\">None yet. Each will be listed here with its answer.</div>");
    } else {
        page.push_str(
            "<table><thead><tr><th>Call</th><th>Answer</th><th>Sent</th><th>Answered</th></tr></thead><tbody>",
        );
        state.call_log.iter().rev().take(CALLS_SHOWN).try_for_each(|call| write_call(page, call, now))?;
        page.push_str("</tbody></table>");
    }
    page.push_str("</div></body></html>");
    Ok(())
}

fn write_empty(page: &mut String, sandbox: &Sandbox, host: &str) -> fmt::Result {
    let key = sandbox.settings().api_key.as_ref();
    // The secret half of a real setting is for the reader to fill in.
    let (public, secret) = key.map_or(("pub_demo", "sec_demo"), |key| (key.public(), "YOUR-SECRET-KEY"));
    write!(
        page,
        "<div class=\"empty\"><p><strong>No affiliates yet.</strong> Send the service an <code>identify</code> event: the \
         user will appear here as an affiliate. Or ask this Refersion yourself:</p><pre>\
         curl -X POST http://{}/v2/affiliate/new \\\n\
         \x20 -H 'Refersion-Public-Key: {}' -H 'Refersion-Secret-Key: {secret}' \\\n\
         \x20 -H 'Content-Type: application/json' \\\n\
         \x20 -d '{{\"first_name\": \"Ada\", \"last_name\": \"Lovelace\", \"email\": \"ada@example.com\", \
         \"password\": \"Note-G-1843\", \"status\": \"ACTIVE\"}}'</pre></div>",
        Text(host),
        Text(public)
    )
}

fn write_affiliate(page: &mut String, affiliate: &SandboxAffiliate, now: Timestamp) -> fmt::Result {
    let tone = match affiliate.status {
        AffiliateStatus::Active => "good",
        AffiliateStatus::Pending => "wait",
        AffiliateStatus::Denied => "bad",
        AffiliateStatus::Disabled => "off",
    };
    write!(
        page,
        "<tr><td><strong>{} {}</strong><br>{}</td><td class=\"tight\"><span class=\"pill {tone}\">{}</span></td>\
         <td class=\"tight\"><code>{}</code><br><span class=\"soft\">{}</span></td><td>",
        Text(affiliate.field("first_name")),
        Text(affiliate.field("last_name")),
        Text(affiliate.email()),
        affiliate.status,
        affiliate.code,
        affiliate.id,
    )?;
    let place = ["city", "country"].map(|name| affiliate.field(name)).into_iter().filter(|text| !text.is_empty());
    let place = place.collect::<Vec<_>>().join(", ");
    write!(page, "{}<br><span class=\"soft\">{}</span></td><td>", Text(affiliate.field("company")), Text(&place))?;
    for (id, value) in &affiliate.custom_fields {
        write!(page, "<span class=\"soft\">{}</span> {}<br>", Text(id), Text(value))?;
    }
    write!(page, "</td><td class=\"tight soft\">{}</td></tr>", Ago(affiliate.created, now))
}

fn write_call(page: &mut String, call: &CallRecord, now: Timestamp) -> fmt::Result {
    write!(
        page,
        "<tr><td class=\"tight\"><strong>{}</strong><br><span class=\"soft\">#{}, {}</span></td><td class=\"tight\">",
        call.operation,
        call.number,
        Ago(call.at, now)
    )?;
    match call.status {
        Some(200) => page.push_str("<span class=\"pill good\">200</span>"),
        Some(status) => write!(page, "<span class=\"pill bad\">{status}</span>")?,
        None => page.push_str("<span class=\"pill bad\">no answer</span>"),
    }
    if let Some(fault) = call.fault {
        write!(page, "<br><span class=\"soft\">{fault}</span>")?;
    }
    let shown = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
    let (sent, answered) = (shown(&call.body), shown(&call.response));
    write!(page, "</td><td><code>{}</code></td><td><code>{}</code></td></tr>", Text(&sent), Text(&answered))
}

/// How long before `1` the moment `0` was.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_from_outside_are_shown_as_text() {
        for (value, shown) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("Jürgen O’Neil", "Jürgen O’Neil"),
        ] {
            assert_eq!(Text(value).to_string(), shown);
        }
    }

    #[test]
    fn ages_are_told_roughly() {
        for (seconds, told) in [(0, "just now"), (59, "59 s ago"), (60, "1 min ago"), (7300, "2 h ago")] {
            assert_eq!(Ago(Timestamp(0), Timestamp(seconds * 1000)).to_string(), told);
        }
    }
}
