//! What was measured: figures with their spread, told as they come and once more as a table.

use std::fmt;
use std::io::Write as _;

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

    /// The ratios of what was measured in the same round.
    pub fn ratio(ours: &[f64], others: &[f64]) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(others).map(|(ours, other)| ours / other).collect();
        Self::of(&ratios)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let middle = number(self.median);
        let (low, high) = (number(self.low), number(self.high));
        if low == high { f.write_str(&middle) } else { write!(f, "{middle} ({low} – {high})") }
    }
}

/// Three digits that count, no more.
fn number(value: f64) -> String {
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

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    AtLeast(f64),
    AtMost(f64),
}

/// A line of the table.
pub struct Row {
    what: String,
    figure: String,
    ratio: Option<(Figure, String)>,
    judged: f64,
    reach: Option<Reach>,
}

impl Row {
    /// A figure in its unit.
    pub fn new(what: impl Into<String>, figure: Figure, unit: &str) -> Self {
        let text = format!("{figure} {unit}");
        Self { what: what.into(), figure: text.trim_end().to_owned(), ratio: None, judged: figure.median, reach: None }
    }

    /// How it stands to what was measured beside it; from here on that is what is judged.
    pub fn against(mut self, ratio: Figure, whom: impl Into<String>) -> Self {
        self.judged = ratio.median;
        self.ratio = Some((ratio, whom.into()));
        self
    }

    /// What is to be reached by the ratio, or where there is none by the figure.
    pub fn reach(mut self, reach: Reach) -> Self {
        self.reach = Some(reach);
        self
    }

    fn cells(&self) -> [String; 4] {
        let ratio = self.ratio.as_ref().map(|(ratio, whom)| format!("{ratio} of {whom}")).unwrap_or_default();
        let reach = match self.reach {
            None => String::new(),
            Some(Reach::AtLeast(least)) => verdict(self.judged >= least, "≥", least),
            Some(Reach::AtMost(most)) => verdict(self.judged <= most, "≤", most),
        };
        [self.what.clone(), self.figure.clone(), ratio, reach]
    }
}

fn verdict(reached: bool, sign: &str, goal: f64) -> String {
    format!("{sign} {}: {}", number(goal), if reached { "reached" } else { "not reached" })
}

/// All lines, by part.
#[derive(Default)]
pub struct Report {
    rows: Vec<(&'static str, Row)>,
}

impl Report {
    /// Adds a line, and tells it at once: a run takes long.
    pub fn add(&mut self, part: &'static str, row: Row) {
        let cells = row.cells();
        let told: Vec<&str> = cells.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
        say(&format!("  {part}: {}", told.join(" | ")));
        self.rows.push((part, row));
    }

    /// All of it, as Markdown.
    pub fn table(&self) -> String {
        let mut table = "| | what | figure | ratio | reach |\n| --- | --- | --- | --- | --- |\n".to_owned();
        let mut before = "";
        for (part, row) in &self.rows {
            let shown = if *part == before { String::new() } else { (*part).to_owned() };
            for cell in std::iter::once(shown).chain(row.cells()) {
                let blank = if cell.is_empty() { "" } else { " " };
                table.extend(["| ", cell.as_str(), blank]);
            }
            table.push_str("|\n");
            before = part;
        }
        table
    }
}

/// Writes a line to standard output. A reader that has gone is no reason to fail.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
