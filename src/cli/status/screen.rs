//! The output of `status`.
//!
//! In: the answers of the API. Out: lines, in the words of the status page.

use super::ACCOUNTS_SHOWN;
use crate::admin::wording::{self, count, duration, is_held_up, latency, oldest, state, why, will_be_empty};
use crate::admin::{AccountState, AccountStatus, ServiceStatus};
use crate::domain::Timestamp;
use crate::series::{Activity, ReasonCount, TimeSeries};
use comfy_table::{CellAlignment, Table, presets};
use console::style;
use std::cmp::Reverse;

/// The most reasons of each kind that are shown.
const REASONS_SHOWN: usize = 5;
/// The columns beside the minutes: name and sums.
const BESIDE_MINUTES: usize = 57;
/// The blocks of a chart, from the lowest to the highest.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Everything, for a terminal or a file of this many columns.
pub(super) fn lines(status: &ServiceStatus, accounts: &[AccountStatus], width: usize) -> Vec<String> {
    let accounts = in_need_first(accounts);
    let mut lines = head(status, &accounts);
    lines.push(String::new());
    lines.extend(account_table(&accounts, status.now));
    lines.push(String::new());
    lines.extend(activity_table(&status.recent, width));
    lines.extend(reasons("REFUSED", &status.recent.refused));
    lines.extend(reasons("IGNORED", &status.recent.ignored));
    lines
}

/// The order of the status page.
fn in_need_first(accounts: &[AccountStatus]) -> Vec<&AccountStatus> {
    let mut accounts: Vec<&AccountStatus> = accounts.iter().collect();
    accounts.sort_by_key(|account| (account.state.rank(account.pending), Reverse(account.pending)));
    accounts
}

/// The state of the service, and its faults.
fn head(status: &ServiceStatus, accounts: &[&AccountStatus]) -> Vec<String> {
    let ready = if status.ready { style("ready").green() } else { style("not ready").red() };
    let up = duration(status.now.since(status.started_at));
    let held_up = is_held_up(accounts.iter().copied());
    let (empty, because) = will_be_empty(status.pending, Some(status.drain), status.now, held_up);
    let mut lines = vec![
        format!("refersion-destination {}, {}: {}; up {up}", status.version, ready, status.message),
        format!(
            "pending {}, the oldest for {}; dead letters {}",
            count(status.pending),
            oldest(status.oldest_pending_at, status.now),
            count(status.dead_letters),
        ),
        format!("empty {empty}: {because}"),
    ];
    let in_state = |wanted| accounts.iter().copied().filter(move |account| account.state == wanted);
    lines.extend(named("halted", in_state(AccountState::Halted), status.now).map(|line| style(line).red().to_string()));
    let paused = named("paused", in_state(AccountState::Paused), status.now);
    let gone = named("gone", accounts.iter().copied().filter(|account| account.gone), status.now);
    lines.extend(paused.chain(gone).map(|line| style(line).yellow().to_string()));
    lines
}

/// A line for each of the first accounts in this state, and one with the number of the others, which the table may have.
fn named<'a>(
    state: &str,
    accounts: impl Iterator<Item = &'a AccountStatus> + Clone,
    now: Timestamp,
) -> impl Iterator<Item = String> {
    let all = accounts.clone().count();
    let (named, others) = wording::named(state, accounts, all);
    let line = move |account: &AccountStatus| format!("account {} is {state}: {}", account.name, why(account, now));
    named.into_iter().map(line).chain(others)
}

fn account_table(accounts: &[&AccountStatus], now: Timestamp) -> Vec<String> {
    let rows = accounts.iter().take(ACCOUNTS_SHOWN).map(|account| {
        let (empty, _) = will_be_empty(account.pending, account.drain, now, account.state != AccountState::Running);
        [
            account.name.clone(),
            state(account.state).to_owned(),
            count(account.pending),
            oldest(account.oldest_pending_at, now),
            empty,
            format!("{} of {}", account.in_flight, account.concurrency_limit),
            account.dead_letters.map_or_else(|| "–".to_owned(), count),
        ]
    });
    let mut lines = table(["ACCOUNT", "STATE", "PENDING", "OLDEST", "EMPTY", "IN FLIGHT", "DEAD LETTERS"], rows);
    if accounts.len() > ACCOUNTS_SHOWN {
        lines.push(format!("and {} more", accounts.len() - ACCOUNTS_SHOWN));
    }
    lines
}

/// A row for each series: the sums, and as many of the last minutes as there is room for, drawn one by one.
fn activity_table(recent: &Activity, width: usize) -> Vec<String> {
    type CountsOf = fn(&TimeSeries) -> &Vec<u64>;
    type Latency = fn(&TimeSeries) -> &Vec<Option<f64>>;
    let minutes = width.saturating_sub(BESIDE_MINUTES).clamp(10, 60);
    let counts: [(&str, CountsOf); 7] = [
        ("accepted", |series| &series.accepted),
        ("delivered", |series| &series.delivered),
        ("ignored", |series| &series.ignored),
        ("dead letters", |series| &series.failed),
        ("refused", |series| &series.refused),
        ("attempts to be retried", |series| &series.retried),
        ("calls to Refersion", |series| &series.calls),
    ];
    let sum = |counts: &[u64]| count(counts.iter().sum());
    let counted = counts.map(|(name, of)| {
        let drawn = of(&recent.hour).iter().map(|count| Some(float(*count)));
        [name.to_owned(), sum(of(&recent.hour)), sum(of(&recent.day)), sparkline(drawn, minutes)]
    });
    let highest = |values: &[Option<f64>]| values.iter().flatten().copied().reduce(f64::max);
    let latencies: [(&str, Latency); 2] = [
        ("time of a call, median (highest)", |series| &series.latency_p50),
        ("time of a call, 99 % (highest)", |series| &series.latency_p99),
    ];
    let timed = latencies.map(|(name, of)| {
        let shown = |series| highest(of(series)).map_or_else(|| "–".to_owned(), latency);
        [name.to_owned(), shown(&recent.hour), shown(&recent.day), sparkline(of(&recent.hour).iter().copied(), minutes)]
    });
    let drawn = format!("LAST {minutes} MIN");
    table(["", "LAST HOUR", "LAST DAY", &drawn], counted.into_iter().chain(timed))
}

fn reasons(title: &str, reasons: &[ReasonCount]) -> Vec<String> {
    if reasons.is_empty() {
        return Vec::new();
    }
    let rows = reasons.iter().take(REASONS_SHOWN);
    let rows = rows.map(|reason| [count(reason.hour), count(reason.day), reason.text.clone()]);
    std::iter::once(String::new()).chain(table(["LAST HOUR", "LAST DAY", title], rows)).collect()
}

/// A table without lines. Numbers are right-aligned: all columns except the first and drawn ones.
fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header).add_rows(rows);
    for (column, name) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        if ["PENDING", "OLDEST", "IN FLIGHT", "DEAD LETTERS", "LAST HOUR", "LAST DAY"].contains(&name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The last `count` values as a line of blocks; a blank where there is none.
fn sparkline(values: impl Iterator<Item = Option<f64>>, count: usize) -> String {
    let values: Vec<Option<f64>> = values.collect();
    let values = &values[values.len().saturating_sub(count)..];
    let highest = values.iter().flatten().copied().fold(0.0, f64::max);
    let block = |value: &Option<f64>| match value {
        Some(value) if *value > 0.0 => {
            // Each level stands for an eighth.
            let level = (1..LEVELS.len()).take_while(|level| float(*level as u64) / 8.0 < value / highest).count();
            LEVELS[level]
        }
        _ => ' ',
    };
    values.iter().map(block).collect()
}

/// Above four billion, a line shows four billion.
fn float(number: u64) -> f64 {
    u32::try_from(number).unwrap_or(u32::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn accounts_in_need_are_above_those_with_more_pending_events() {
        let account = |name: &str, state: &str, pending: u64| {
            let status = json!({
                "name": name, "configured": state != "no_worker", "gone": state == "no_worker" && pending > 0, "state": state,
                "pending": pending, "in_flight": 0, "concurrency_limit": 8,
            });
            serde_json::from_value::<AccountStatus>(status).expect("an account")
        };
        let accounts = [
            account("busy", "running", 900),
            account("idle", "no_worker", 0),
            account("gone-1", "no_worker", 1),
            account("gone-2", "no_worker", 2),
            account("paused", "paused", 0),
            account("halted", "halted", 0),
        ];
        let names: Vec<&str> = in_need_first(&accounts).iter().map(|account| account.name.as_str()).collect();
        assert_eq!(names, ["halted", "paused", "gone-2", "gone-1", "busy", "idle"]);
    }

    #[test]
    fn a_line_of_blocks_shows_how_much_each_value_is_of_the_highest() {
        for (values, expected) in [
            (&[][..], ""),
            (&[Some(0.0), None], "  "),
            (&[Some(8.0), Some(4.0), Some(1.0), Some(0.1), None, Some(0.0)], "█▄▁▁  "),
            (&[Some(1e12)], "█"),
        ] {
            assert_eq!(sparkline(values.iter().copied(), 60), expected);
        }
        assert_eq!(sparkline([8.0, 2.0, 1.0].map(Some).into_iter(), 2), "█▄", "the latest ones");
    }

    #[test]
    fn numbers_of_a_table_end_in_one_column() {
        let rows = [["a".to_owned(), "5".to_owned()], ["bcd".to_owned(), "1,000".to_owned()]];
        assert_eq!(table(["X", "PENDING"], rows.into_iter()), ["X    PENDING", "a          5", "bcd    1,000"]);
    }
}
