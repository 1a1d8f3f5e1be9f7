//! Parts that several pages have: the state of an account, figures, the charts with their range, reasons, events, and dead letters.

use super::{charts, format};
use crate::admin::{AccountState, AccountStatus, wording};
use crate::series::{Activity, ReasonCount, TimeSeries, reason_in_words};
use crate::store::{DeadLetter, EventRecord, EventState, PendingEvent};
use maud::{Markup, html};
use serde::Deserialize;

/// A reader's choices for a page that shows the present state.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct View {
    #[serde(default)]
    range: Range,
    #[serde(default)]
    refresh: Switch,
}

/// The time that the charts show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Range {
    #[default]
    Hour,
    Day,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Switch {
    #[default]
    On,
    Off,
}

impl View {
    pub(super) fn refreshes(&self) -> bool {
        self.refresh == Switch::On
    }

    /// The address of this page with the other setting of automatic reloading.
    pub(super) fn other_refresh(&self, path: &str) -> String {
        let other = if self.refreshes() { Switch::Off } else { Switch::On };
        address(path, self.range, other)
    }
}

fn address(path: &str, range: Range, refresh: Switch) -> String {
    let range = (range == Range::Day).then_some("range=day");
    let refresh = (refresh == Switch::Off).then_some("refresh=off");
    let query: Vec<&str> = range.into_iter().chain(refresh).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// The section with the charts of the page at `path`.
pub(super) fn activity(activity: &Activity, view: &View, path: &str) -> Markup {
    let (series, name) = match view.range {
        Range::Hour => (&activity.hour, "The last hour, by minute"),
        Range::Day => (&activity.day, "The last day, by quarter of an hour"),
    };
    let link = |range, name| {
        html! {
            @if view.range == range { a href=(address(path, range, view.refresh)) aria-current="true" { (name) } }
            @else { a href=(address(path, range, view.refresh)) { (name) } }
        }
    };
    html! {
        section aria-labelledby="recent" {
            h2 id="recent" { (name) }
            nav aria-label="Time shown" { ul { li { (link(Range::Hour, "Last hour")) } li { (link(Range::Day, "Last day")) } } }
            p.soft { "Counted in this process since " (format::moment(activity.since)) " UTC." }
            (charts::charts(series))
            (sums(activity))
        }
    }
}

/// The sums of the charts, for the hour and the day.
fn sums(activity: &Activity) -> Markup {
    type CountsOf = fn(&TimeSeries) -> &Vec<u64>;
    let rows: [(&str, CountsOf); 7] = [
        ("Accepted: stored", |series| &series.accepted),
        ("Delivered", |series| &series.delivered),
        ("Ignored: nothing to do", |series| &series.ignored),
        ("Failed: dead letters", |series| &series.failed),
        ("Refused: not stored", |series| &series.refused),
        ("Attempts to be retried", |series| &series.retried),
        ("Calls to Refersion", |series| &series.calls),
    ];
    let sum = |counts: &Vec<u64>| format::count(counts.iter().sum());
    html! {
        div.card.sums {
            table {
                caption { "Sums" }
                thead { tr { th scope="col" { "Events and calls" } th.number scope="col" { "Last hour" } th.number scope="col" { "Last day" } } }
                tbody {
                    @for (name, counts) in rows {
                        tr {
                            th scope="row" { (name) }
                            td.number { (sum(counts(&activity.hour))) }
                            td.number { (sum(counts(&activity.day))) }
                        }
                    }
                }
            }
        }
    }
}

/// The reasons why events were refused or ignored.
pub(super) fn reasons(activity: &Activity) -> Markup {
    html! {
        section aria-labelledby="reasons" {
            h2 id="reasons" { "Refused and ignored events, by reason" }
            div.card { (reason_table("Refused: answered with an error, and not stored", &activity.refused)) }
            div.card.next { (reason_table("Ignored: there was nothing to do", &activity.ignored)) }
        }
    }
}

fn reason_table(caption: &str, reasons: &[ReasonCount]) -> Markup {
    html! {
        @if reasons.is_empty() {
            p.pad { strong { (caption) } br; span.soft { "None in the last day." } }
        } @else {
            table.stack {
                caption { (caption) }
                thead { tr { th scope="col" { "Reason" } th.number scope="col" { "Last hour" } th.number scope="col" { "Last day" } } }
                tbody {
                    @for reason in reasons {
                        tr {
                            th scope="row" { (reason.text) br; code.soft { (reason.reason) } }
                            td.number data-label="Last hour" { (format::count(reason.hour)) }
                            td.number data-label="Last day" { (format::count(reason.day)) }
                        }
                    }
                }
            }
        }
    }
}

/// Key figures: name, value, and a remark.
pub(super) fn figures(figures: &[(&str, String, Markup)]) -> Markup {
    html! {
        dl.figures {
            @for (name, value, remark) in figures {
                div { dt { (name) } dd { span.value { (value) } br; small { (remark) } } }
            }
        }
    }
}

/// The state of an account, as a word.
pub(super) fn state(account: &AccountStatus) -> Markup {
    let style = match account.state {
        AccountState::Running => "good",
        AccountState::Paused => "wait",
        AccountState::Halted => "bad",
        AccountState::NoWorker => "off",
    };
    html! { span class={ "pill " (style) } { (wording::state(account.state)) } }
}

/// A list of dead letters. `select`: with a box for each, ticked or not, for the form of this id.
pub(super) fn dead_letters(letters: &[DeadLetter], select: Option<(&str, bool)>) -> Markup {
    html! {
        table.stack {
            thead {
                tr {
                    @if select.is_some() { th scope="col" { "Select" } }
                    th scope="col" { "Dead letter" } th scope="col" { "Reason" } th scope="col" { "Account" }
                    th scope="col" { "Since (UTC)" } th.number scope="col" { "Failures" }
                }
            }
            tbody {
                @for letter in letters {
                    tr {
                        @if let Some((form, is_ticked)) = select {
                            td {
                                input type="checkbox" name="ids" value=(letter.id) form=(form) checked[is_ticked]
                                    aria-label={ "Select dead letter " (letter.id) };
                            }
                        }
                        th scope="row" { a href={ "/dead-letters/" (letter.id) } { (letter.id) } }
                        td data-label="Reason" {
                            (letter.reason) @if letter.erased { " (body erased)" }
                            br; span.soft { code { (letter.code) } " · " (reason_in_words(&letter.code)) }
                        }
                        td data-label="Account" { (letter.account) }
                        td.tight data-label="Since (UTC)" { (format::moment(letter.died_at)) }
                        td.number data-label="Failures" { (letter.failures) }
                    }
                }
            }
        }
    }
}

/// Pending events, each in a row.
pub(super) fn pending_events(events: &[PendingEvent]) -> Markup {
    html! {
        table.stack {
            thead { tr { th scope="col" { "Event" } th scope="col" { "Received (UTC)" } th.number scope="col" { "Failures" } } }
            tbody {
                @for event in events {
                    tr {
                        th scope="row" { code { (event.event) } }
                        td.tight data-label="Received (UTC)" { (format::moment(event.received_at)) }
                        td.number data-label="Failures" { (event.failures) }
                    }
                }
            }
        }
    }
}

/// A table of the results of events.
pub(super) fn events(events: &[EventRecord]) -> Markup {
    html! {
        table.stack {
            thead { tr { th scope="col" { "Event" } th scope="col" { "Received (UTC)" } th scope="col" { "Became" } } }
            tbody { @for event in events { (event_row(event)) } }
        }
    }
}

fn event_row(event: &EventRecord) -> Markup {
    let outcome = event.outcome.as_deref().unwrap_or_default();
    html! {
        tr {
            th scope="row" { code { (event.event) } }
            td.tight data-label="Received (UTC)" { (format::moment(event.received_at)) }
            td {
                @match event.state {
                    EventState::Pending => { "pending" }
                    EventState::Settled => { (reason_in_words(outcome)) br; code.soft { (outcome) } }
                    EventState::Answered => {
                        (event.status.as_str()) ": " (reason_in_words(outcome)) br; code.soft { (outcome) }
                    }
                    EventState::DeadLetter => {
                        a href={ "/dead-letters/" (event.seq) } { "Dead letter " (event.seq) } ": "
                        (event.reason.as_deref().unwrap_or(outcome)) br; code.soft { (outcome) }
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
    fn a_page_keeps_its_view_in_its_address() {
        for (range, refresh, expected) in [
            (Range::Hour, Switch::On, "/a"),
            (Range::Day, Switch::On, "/a?range=day"),
            (Range::Day, Switch::Off, "/a?range=day&refresh=off"),
        ] {
            assert_eq!(address("/a", range, refresh), expected);
        }
    }
}
