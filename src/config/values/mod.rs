//! The parsers of values: from a TOML value or a text to a checked, typed value.
//!
//! The error of a parser is `found …, expected …`. Files and the environment are read in the same way: `16`, `"16"` and
//! `REFERSION_CONCURRENCY=16` are the same number. A URL that may contain credentials is not shown.

mod choices;
mod network;
mod secrets;

pub(super) use choices::{audience_status, boolean, choice, log_filter};
pub(super) use network::{base_url, listen, redirect_url, store_url};
pub(super) use secrets::{api_key, client_secret, seal_keys, shared_secrets, token};

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Value;

/// The highest concurrency; more is assumed to be a typo.
const MAX_CONCURRENCY: u64 = 1024;
/// The bounds of `STORE_LEASE`.
const MIN_LEASE: Duration = Duration::from_secs(2);
const MAX_LEASE: Duration = Duration::from_secs(300);
/// The most memory for event ids; more than a terabyte is assumed to be a typo.
const MAX_MEMORY_MB: u64 = 1024 * 1024;

/// A checked value, or `found …, expected …`.
pub(super) type Parsed<T> = Result<T, String>;

/// A value as written, for a problem. Must not be used for secrets.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        scalar => scalar_text(scalar).unwrap_or_default(),
    }
}

/// The text of a value that is no list and no table.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(moment) => Some(moment.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}

/// The items of a TOML list, or of a text with commas or line ends between them; blanks are trimmed, empty items dropped.
fn list(value: &Value) -> Option<Vec<String>> {
    let items = match value {
        Value::Array(items) => items.iter().map(scalar_text).collect::<Option<Vec<_>>>()?,
        Value::Table(_) => return None,
        scalar => scalar_text(scalar)?.split([',', '\n']).map(|item| item.trim().to_owned()).collect(),
    };
    Some(items.into_iter().filter(|item| !item.is_empty()).collect())
}

fn refuse<T>(value: &Value, allowed: impl Display) -> Parsed<T> {
    Err(format!("found {}, expected {allowed}", found(value)))
}

/// A text that is not blank.
pub(super) fn text(value: &Value) -> Parsed<String> {
    match scalar_text(value) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => refuse(value, "a text that is not empty"),
    }
}

/// The scope of an app at Segment: one destination.
pub(super) fn scope(value: &Value) -> Parsed<String> {
    let slug = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match scalar_text(value) {
        Some(text) if text.strip_prefix("destination/").is_some_and(|rest| !rest.is_empty() && slug(rest)) => Ok(text),
        _ => refuse(value, "`destination/` and the slug of one destination, such as \"destination/refersion\""),
    }
}

/// Any number of texts.
pub(super) fn texts(value: &Value) -> Parsed<Vec<String>> {
    list(value).map_or_else(|| refuse(value, "a list of texts"), Ok)
}

/// An id at Refersion, as a text of digits.
pub(super) fn id(value: &Value) -> Parsed<String> {
    match scalar_text(value) {
        Some(text) if is_id(&text) => Ok(text),
        _ => refuse(value, "an id of Refersion's: digits, such as \"1234\""),
    }
}

/// Whether this text can be an id at Refersion.
pub(super) fn is_id(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

/// A whole number within bounds.
fn whole(value: &Value, allowed: RangeInclusive<u64>) -> Parsed<u64> {
    match scalar_text(value).and_then(|text| text.parse().ok()) {
        Some(number) if allowed.contains(&number) => Ok(number),
        _ if *allowed.end() == u64::MAX => refuse(value, format!("a whole number of at least {}", allowed.start())),
        _ => refuse(value, format!("a whole number from {} to {}", allowed.start(), allowed.end())),
    }
}

/// A whole number of at least one.
pub(super) fn at_least_one(value: &Value) -> Parsed<u64> {
    whole(value, 1..=u64::MAX)
}

/// A whole number of at least one, as the size of a collection.
pub(super) fn count_from_one(value: &Value) -> Parsed<usize> {
    at_least_one(value).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// An amount of memory, written in MB and returned in bytes.
pub(super) fn megabytes(value: &Value) -> Parsed<usize> {
    let megabytes = whole(value, 1..=MAX_MEMORY_MB)?;
    Ok(usize::try_from(megabytes << 20).unwrap_or(usize::MAX))
}

/// A number above zero, with or without a fraction.
pub(super) fn above_zero(value: &Value) -> Parsed<f64> {
    match scalar_text(value).and_then(|text| text.parse::<f64>().ok()) {
        Some(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => refuse(value, "a number above 0, such as 5 or 0.5"),
    }
}

/// A duration with units; zero is refused.
pub(super) fn duration(value: &Value) -> Parsed<Duration> {
    match duration_or_zero(value)? {
        Duration::ZERO => refuse(value, "a duration longer than zero, such as \"10s\" or \"5m\""),
        duration => Ok(duration),
    }
}

/// A duration with units, above zero; `off`: none.
pub(super) fn duration_or_off(value: &Value) -> Parsed<Option<Duration>> {
    if scalar_text(value).is_some_and(|text| text.eq_ignore_ascii_case("off")) {
        return Ok(None);
    }
    match duration_or_zero(value) {
        Ok(duration) if !duration.is_zero() => Ok(Some(duration)),
        _ => refuse(value, "off, or a duration in ms, s, m, h or d that is longer than zero, such as \"30d\""),
    }
}

/// How long a process may be without a heartbeat. With less than the minimum, a busy process would count as dead.
pub(super) fn lease(value: &Value) -> Parsed<Duration> {
    match duration_or_zero(value)? {
        lease if (MIN_LEASE..=MAX_LEASE).contains(&lease) => Ok(lease),
        _ => refuse(value, "a duration from 2s to 5m"),
    }
}

/// A duration with units; zero is allowed. Longer units are refused: `5M` would be five months.
pub(super) fn duration_or_zero(value: &Value) -> Parsed<Duration> {
    let text = scalar_text(value).unwrap_or_default();
    let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty()).peekable();
    if units.peek().is_none() {
        return refuse(value, "a duration with a unit, such as \"10s\" or \"5m\"");
    }
    match humantime::parse_duration(&text) {
        Ok(duration) if units.all(|unit| ["ms", "s", "m", "h", "d"].contains(&unit)) => Ok(duration),
        _ => refuse(value, "a duration in ms, s, m, h or d, such as \"10s\" or \"5m\""),
    }
}

/// The most requests in flight.
pub(super) fn concurrency(value: &Value) -> Parsed<NonZeroUsize> {
    let number = whole(value, 1..=MAX_CONCURRENCY)?;
    Ok(usize::try_from(number).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN))
}
