//! The texts about the present state for operators: the same on the status page and in `status`.
//!
//! In: data of the API. Out: short texts. Moments are in UTC: the server does not know where the reader is.

use super::{AccountState, AccountStatus};
use crate::domain::Timestamp;
use crate::scheduling::Cause;
use crate::series::BacklogTrend;
use indicatif::HumanCount;
use std::time::Duration;

/// The most accounts of one state that are named one by one: an outage of Refersion pauses all of them.
const NAMED: usize = 5;

/// The first of these accounts, which are in one state: at most five. And in words, how many of `all` in this state are not among
/// them; `None` if none.
pub fn named<T>(state: &str, accounts: impl Iterator<Item = T>, all: usize) -> (Vec<T>, Option<String>) {
    let named: Vec<T> = accounts.take(NAMED).collect();
    let others = all.saturating_sub(named.len());
    let more = if named.is_empty() { "" } else { " more" };
    let are = if others == 1 { "account is" } else { "accounts are" };
    let in_words = (others > 0).then(|| format!("{}{more} {are} {state}", count(others as u64)));
    (named, in_words)
}

/// A number with a comma between thousands.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A rate: whole numbers, and a digit below ten.
pub fn rate(per_second: f64) -> String {
    if per_second.abs() < 10.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// A short time, such as that of a call.
pub fn latency(seconds: f64) -> String {
    match seconds {
        10.0.. => format!("{seconds:.0} s"),
        1.0.. => format!("{seconds:.1} s"),
        0.01.. => format!("{:.0} ms", seconds * 1000.0),
        _ => format!("{:.1} ms", seconds * 1000.0),
    }
}

/// A time in its largest units, rounded down: `3 min`.
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// The time of the day: `09:41`.
pub fn clock(moment: Timestamp) -> String {
    let minutes = moment.0.div_euclid(60_000).rem_euclid(24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The time for which the oldest pending event waits.
pub fn oldest(oldest_pending_at: Option<Timestamp>, now: Timestamp) -> String {
    oldest_pending_at.map_or_else(|| "–".to_owned(), |received_at| duration(now.since(received_at)))
}

/// The ETA of a backlog ("Will be empty: in 4 min"): the moment at which its `pending` events will be delivered, and the reason. `held_up`:
/// deliveries pause or are halted.
pub fn will_be_empty(pending: u64, trend: Option<BacklogTrend>, now: Timestamp, held_up: bool) -> (String, String) {
    let trend = trend.unwrap_or_default();
    let speed = trend.per_second.map(|per_second| rate(per_second.abs())).unwrap_or_default();
    let (when, why) = match (trend.empty_in_seconds, trend.per_second) {
        _ if pending == 0 => ("now", "nothing is pending".to_owned()),
        _ if held_up => ("unknown", "deliveries pause or are halted".to_owned()),
        (Some(seconds), Some(_)) => {
            let time = Duration::from_secs(seconds);
            let why = format!("at {speed} events a second, at {} UTC", clock(now.after(time)));
            return (format!("in {}", duration(time)), why);
        }
        (_, Some(per_second)) if per_second < 0.0 => ("not yet", format!("it grows by {speed} events a second")),
        (_, Some(_)) => ("not yet", "as many arrive as are delivered".to_owned()),
        (_, None) => ("unknown", "not measured yet".to_owned()),
    };
    (when.to_owned(), why)
}

/// The state of an account in a word.
pub fn state(state: AccountState) -> &'static str {
    match state {
        AccountState::Running => "running",
        AccountState::Paused => "paused",
        AccountState::Halted => "halted",
        AccountState::NoWorker => "no worker",
    }
}

/// The reason why an account is not running, and the time until it runs; empty if it runs.
pub fn why(account: &AccountStatus, now: Timestamp) -> String {
    let until = |what: &str| {
        let until = account.until.filter(|until| *until > now);
        until
            .map(|until| format!("; {what} {} UTC, in {}", clock(until), duration(until.since(now))))
            .unwrap_or_default()
    };
    let cause = match account.cause {
        Some(Cause::RateLimited) => "Refersion answers that there are too many calls",
        Some(Cause::Outage) => "Refersion does not answer, or fails",
        Some(Cause::Unauthorized) | None => "Refersion does not take calls now",
    };
    match account.state {
        AccountState::Running => String::new(),
        AccountState::Paused => format!("{cause}{}", until("until")),
        AccountState::Halted => {
            let correct = if account.configured { ": correct it, and reload" } else { "" };
            let again = until("asked again at");
            format!("Refersion rejects the API key. Events are kept and delivered once the key works{correct}{again}")
        }
        AccountState::NoWorker if account.gone => format!(
            "it is not configured. Its pending events ({}) wait until it is, or are set aside",
            count(account.pending)
        ),
        AccountState::NoWorker => "no event of it arrived here since the start".to_owned(),
    }
}

/// Whether deliveries of all accounts that have pending events pause or are halted.
pub fn is_held_up<'a>(accounts: impl IntoIterator<Item = &'a AccountStatus>) -> bool {
    let mut waiting = accounts.into_iter().filter(|account| account.pending > 0).peekable();
    waiting.peek().is_some() && waiting.all(|account| account.state != AccountState::Running)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(count(number), expected);
        }
        for (seconds, expected) in [(0.0021, "2.1 ms"), (0.12, "120 ms"), (2.04, "2.0 s"), (31.0, "31 s")] {
            assert_eq!(latency(seconds), expected);
        }
        for (seconds, expected) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_700, "1 h 1 min"), (172_800, "2 days"), (900_000, "10 days")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(clock(Timestamp(9 * 3_600_000 + 41 * 60_000 + 59_999)), "09:41");
        assert_eq!(clock(Timestamp(-60_000)), "23:59");
    }

    #[test]
    fn accounts_that_are_not_named_are_counted() {
        for (shown, all, first, others) in [
            (0, 0, 0, None),
            (5, 5, 5, None),
            (6, 6, 5, Some("1 more account is paused")),
            (7, 7, 5, Some("2 more accounts are paused")),
            (3, 1_008, 3, Some("1,005 more accounts are paused")),
            (0, 1, 0, Some("1 account is paused")),
            (0, 8, 0, Some("8 accounts are paused")),
            (4, 3, 4, None),
        ] {
            let expected = ((0..first).collect(), others.map(str::to_owned));
            assert_eq!(named("paused", 0..shown, all), expected, "{shown} of {all}");
        }
    }

    #[test]
    fn the_time_until_the_backlog_is_empty_is_stated_in_words() {
        let measured = |per_second, empty_in_seconds| Some(BacklogTrend { per_second, empty_in_seconds });
        for (pending, measured, held_up, value, remark) in [
            (0, None, false, "now", "nothing is pending"),
            (0, measured(Some(-1.0), None), true, "now", "nothing is pending"),
            (9, measured(Some(3.0), Some(3)), true, "unknown", "deliveries pause or are halted"),
            (900, measured(Some(5.0), Some(180)), false, "in 3 min", "at 5.0 events a second, at 00:03 UTC"),
            (9, measured(Some(-20.0), None), false, "not yet", "it grows by 20 events a second"),
            (9, measured(Some(0.0), None), false, "not yet", "as many arrive as are delivered"),
            (9, measured(None, Some(0)), false, "unknown", "not measured yet"),
            (9, None, false, "unknown", "not measured yet"),
        ] {
            let (shown, why) = will_be_empty(pending, measured, Timestamp(0), held_up);
            assert_eq!((&*shown, &*why), (value, remark));
        }
    }
}
