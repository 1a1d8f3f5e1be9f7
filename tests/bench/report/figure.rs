//! Figures: the measurements of all rounds, as median and range.

use std::fmt;

/// One thing measured in several rounds, of one build, and in the same rounds what there is to compare with.
#[derive(Clone, Debug, Default)]
pub struct Series {
    pub ours: Vec<f64>,
    pub baseline: Vec<f64>,
}

impl Series {
    /// A single measurement, or a count.
    pub fn once(ours: f64) -> Self {
        Self { ours: vec![ours], baseline: Vec::new() }
    }

    pub fn push(&mut self, ours: f64, baseline: f64) {
        self.ours.push(ours);
        self.baseline.push(baseline);
    }

    /// The medians of a build and of the baseline.
    pub fn medians(&self) -> [f64; 2] {
        [&self.ours, &self.baseline].map(|measured| Figure::of(measured).median)
    }

    /// The ratios of what was measured in the same round.
    pub fn ratio(&self) -> Figure {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.baseline).map(|(ours, baseline)| ours / baseline).collect();
        Figure::of(&ratios)
    }
}

/// Several measurements of one thing: the median, the least, the most.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub median: f64,
    low: f64,
    high: f64,
}

impl Figure {
    pub fn of(measured: &[f64]) -> Self {
        let mut sorted = measured.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self { median, low: at(0), high: at(sorted.len().saturating_sub(1)) }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let middle = number(self.median);
        let (low, high) = (number(self.low), number(self.high));
        if low == high { f.write_str(&middle) } else { write!(f, "{middle} ({low} – {high})") }
    }
}

/// Three significant digits; whole numbers with their thousands separated.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
            groups.join(",")
        }
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
