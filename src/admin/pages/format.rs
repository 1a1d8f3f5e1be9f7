//! The format of numbers and moments on the pages. Texts that they share with the command line are in [`crate::admin::wording`].

pub(super) use crate::admin::wording::{clock, count, latency, rate};

use crate::domain::Timestamp;
use maud::{Markup, html};

/// A number for the axis of a chart: `1.5k`.
pub(super) fn short(number: f64) -> String {
    let (number, unit) = match number {
        1_000_000.0.. => (number / 1_000_000.0, "M"),
        1_000.0.. => (number / 1_000.0, "k"),
        _ => (number, ""),
    };
    format!("{}{unit}", (number * 10.0).round() / 10.0)
}

/// A moment: `2026-03-01 09:41:07`.
pub(super) fn moment(moment: Timestamp) -> Markup {
    let exact = moment.to_string();
    html! { time datetime=(exact) { (exact.replace('T', " ").trim_end_matches('Z')) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_an_axis_are_short() {
        for (number, expected) in [(0.0, "0"), (2.5, "2.5"), (1_500.0, "1.5k"), (20_000.0, "20k"), (5e6, "5M")] {
            assert_eq!(short(number), expected);
        }
    }

    #[test]
    fn moments_are_in_utc() {
        let shown = moment(Timestamp(1_709_286_067_123)).into_string();
        assert_eq!(shown, r#"<time datetime="2024-03-01T09:41:07Z">2024-03-01 09:41:07</time>"#);
    }
}
