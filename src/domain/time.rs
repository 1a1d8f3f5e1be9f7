//! Points in time, as the store keeps them: milliseconds since 1970, UTC.
//!
//! Deliberately absent: reading the clock ([`crate::clock`]); callers pass the time in.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment of a value that no event states, such as a default. Any fact replaces such a value.
    pub const OLDEST: Self = Self(i64::MIN);

    /// This moment plus `wait`; saturates at the end of time.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment minus `ago`; saturates at the beginning of time.
    #[must_use]
    pub fn before(self, ago: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this moment is; zero if it is earlier or the same.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The last moment that RFC 3339 can state: 9999-12-31T23:59:59Z, in milliseconds.
const LAST: u64 = 253_402_300_799_000;

impl fmt::Display for Timestamp {
    /// By RFC 3339, without fractions of a second. A moment before 1970 or after the year 9999, such as that after a duration that means
    /// "for ever", is shown as the nearest that can be stated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UNIX_EPOCH + Duration::from_millis(u64::try_from(self.0).unwrap_or(0).min(LAST));
        humantime::format_rfc3339_seconds(moment).fmt(f)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(moment: SystemTime) -> Self {
        let elapsed = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_can_be_shown() {
        for (moment, shown) in [
            (i64::MIN, "1970-01-01T00:00:00Z"),
            (-1, "1970-01-01T00:00:00Z"),
            (1_767_225_600_999, "2026-01-01T00:00:00Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59Z"),
            (253_402_300_800_000, "9999-12-31T23:59:59Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp(moment).to_string(), shown, "{moment}");
        }
    }
}
