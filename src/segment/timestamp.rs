//! The `timestamp` of an event: since when its facts are true, corrected by Segment for the sender's clock.
//!
//! In: a JSON value. Out: a point in time, or nothing if it is unreadable. It reads ISO 8601 as senders write it: with any offset, without
//! one (UTC), with a blank instead of `T`, with up to nine decimals, and a date alone; and as data warehouses export it, with ` UTC` or ` Z`
//! at its end or a blank before the offset. A moment that programs print for an absent one is unreadable ([`FIRST`]). Deliberately absent:
//! numbers, which may be seconds or milliseconds, and other formats of programming languages.

use super::json::RawJson;
use crate::domain::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::borrow::Cow;

/// The earliest moment that an event may state: 1970-01-02. Before it are the moments that programs print for an absent one, in any time
/// zone: the beginning of the year 1 (Go, .NET) and of 1970 (Unix).
const FIRST: Timestamp = Timestamp(24 * 60 * 60 * 1000);

/// The point in time in `value`.
pub(super) fn timestamp(value: RawJson<'_>) -> Option<Timestamp> {
    let text = value.source().strip_prefix('"')?.strip_suffix('"')?;
    // Decoded only if need be: .NET writes the `+` of an offset as an escape.
    let stated = moment(text).or_else(|| moment(&value.as_string()?));
    stated.filter(|moment| *moment >= FIRST)
}

fn moment(text: &str) -> Option<Timestamp> {
    let text = &*as_iso_8601(text.trim());
    let with_offset = text.parse::<jiff::Timestamp>().ok();
    let moment =
        with_offset.or_else(|| Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()))?;
    Some(Timestamp(moment.as_millisecond()))
}

/// The text without a blank before its offset, and without ` UTC` or ` Z` at its end, which stands for no offset or repeats `+0000`.
fn as_iso_8601(text: &str) -> Cow<'_, str> {
    let text = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" Z")).unwrap_or(text);
    match text.rsplit_once(' ') {
        Some((moment, offset)) if offset.starts_with(['+', '-']) => Cow::Owned([moment, offset].concat()),
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_in_every_form_of_iso_8601() {
        for (text, milliseconds) in [
            ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("2026-01-01T00:00:00.000Z", 1_767_225_600_000),
            ("2026-01-01T00:00:00.123456Z", 1_767_225_600_123),
            ("2026-01-01T00:00:00.123456789Z", 1_767_225_600_123),
            (" 2026-01-01t00:00:00z ", 1_767_225_600_000),
            ("2026-01-01T02:00:00+02:00", 1_767_225_600_000),
            ("2025-12-31T19:00:00-0500", 1_767_225_600_000),
            ("2026-01-01 02:00:00+02:00", 1_767_225_600_000),
            ("2026-01-01T00:00:00", 1_767_225_600_000),
            ("2026-01-01 00:00:00.5", 1_767_225_600_500),
            ("2026-01-01", 1_767_225_600_000),
            ("2026-01-01 00:00:00 UTC", 1_767_225_600_000),
            ("2026-01-01 00:00:00.123 UTC", 1_767_225_600_123),
            ("2026-01-01 00:00:00.123 Z", 1_767_225_600_123),
            ("2026-01-01 02:00:00+02", 1_767_225_600_000),
            ("2026-01-01 02:00:00.000 +0200", 1_767_225_600_000),
            ("2025-12-31 19:00:00 -05:00", 1_767_225_600_000),
            ("2026-01-01 00:00:00.123456789 +0000 UTC", 1_767_225_600_123),
            (r"2026-01-01T02:00:00.0000000\u002B02:00", 1_767_225_600_000),
            ("1970-01-02T00:00:00Z", 86_400_000),
        ] {
            let json = format!("\"{text}\"");
            let value = RawJson::parse(&json).expect("JSON");
            assert_eq!(timestamp(value), Some(Timestamp(milliseconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_unreadable() {
        for json in [
            r#""2020-05-09 23:54:49.209808489 +0000 UTC m=+70366.298768264""#,
            r#""2026-02-30T00:00:00Z""#,
            r#""01/02/2026""#,
            r#""UTC""#,
            r#""2026-01-01 02:00:00 CEST""#,
            r#""2026-01-01 00:00:00Z UTC +01:00""#,
            r#""1767225600""#,
            r#""soon""#,
            r#""0001-01-01T00:00:00Z""#,
            r#""0001-01-01T00:00:00""#,
            r#""1970-01-01T00:00:00Z""#,
            r#""1970-01-01T14:00:00""#,
            r#""1969-12-31T12:00:00""#,
            r#""9999-12-31T23:59:59.9999999""#,
            r#""""#,
            "1767225600000",
            "null",
            "{}",
        ] {
            assert_eq!(timestamp(RawJson::parse(json).expect("JSON")), None, "{json}");
        }
    }
}
