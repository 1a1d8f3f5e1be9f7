//! The report: a row for each thing measured, printed as it comes and once more as a table in Markdown.
//!
//! In: a series for each build. Out: medians with their range, the ratios to the baseline, and whether this tree's build
//! reaches a goal. Deliberately absent: what is measured.

mod figure;

pub use figure::{Figure, Series};

use figure::number;
use std::fmt::Write as _;
use std::io::Write as _;

/// The goal of a row.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// A row of the table.
pub struct Row {
    what: String,
    unit: &'static str,
    builds: Vec<Series>,
    baseline: Option<Baseline>,
    goal: Option<Goal>,
}

/// What a row is compared with.
struct Baseline {
    name: String,
    /// Whether the ratio to it, instead of the figure, is compared with the goal.
    ratio_counts: bool,
}

impl Row {
    /// A series for each build, in `unit`.
    pub fn new(what: impl Into<String>, unit: &'static str, builds: Vec<Series>) -> Self {
        Self { what: what.into(), unit, builds, baseline: None, goal: None }
    }

    /// The ratio to the baseline is what counts.
    pub fn ratio_to(mut self, name: impl Into<String>) -> Self {
        self.baseline = Some(Baseline { name: name.into(), ratio_counts: true });
        self
    }

    /// The baseline is shown; the figure is what counts.
    pub fn with_baseline(mut self, name: impl Into<String>) -> Self {
        self.baseline = Some(Baseline { name: name.into(), ratio_counts: false });
        self
    }

    /// The goal of the ratio, or where the ratio does not count, of the figure.
    pub fn goal(mut self, goal: impl Into<Option<Goal>>) -> Self {
        self.goal = goal.into();
        self
    }

    /// The figure of a build and its ratio.
    fn of_build(&self, build: usize) -> [String; 2] {
        let Some(series) = self.builds.get(build) else { return Default::default() };
        let ratio = self.baseline.as_ref().map(|_| series.ratio().to_string()).unwrap_or_default();
        [format!("{} {}", Figure::of(&series.ours), self.unit).trim_end().to_owned(), ratio]
    }

    fn cells(&self, builds: usize) -> Vec<String> {
        let baseline = self.baseline.as_ref().zip(self.builds.first());
        let baseline =
            baseline.map(|(baseline, series)| format!("{}: {}", baseline.name, Figure::of(&series.baseline)));
        let mut cells = vec![self.what.clone()];
        cells.extend((0..builds).flat_map(|build| self.of_build(build)));
        cells.extend([baseline.unwrap_or_default(), self.verdict().unwrap_or_default()]);
        cells
    }

    fn verdict(&self) -> Option<String> {
        let series = self.builds.first()?;
        let by_ratio = self.baseline.as_ref().is_some_and(|baseline| baseline.ratio_counts);
        let value = if by_ratio { series.ratio() } else { Figure::of(&series.ours) }.median;
        let (reached, sign, goal) = match self.goal? {
            Goal::AtLeast(least) => (value >= least, "≥", least),
            Goal::AtMost(most) => (value <= most, "≤", most),
        };
        Some(format!("{sign} {}: {}", number(goal), if reached { "reached" } else { "not reached" }))
    }
}

/// All rows, by part.
pub struct Report {
    /// The names of the builds.
    builds: Vec<String>,
    rows: Vec<(&'static str, Row)>,
}

impl Report {
    pub fn new<'a>(builds: impl Iterator<Item = &'a str>) -> Self {
        Self { builds: builds.map(ToOwned::to_owned).collect(), rows: Vec::new() }
    }

    /// Adds a row, and prints it at once: a run takes long.
    pub fn add(&mut self, part: &'static str, row: Row) {
        let cells = row.cells(self.builds.len());
        let filled: Vec<&str> = cells.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
        print_line(&format!("  {part}: {}", filled.join(" | ")));
        self.rows.push((part, row));
    }

    /// All of it, as Markdown.
    pub fn table(&self) -> String {
        let builds = self.builds.iter().flat_map(|name| [name.as_str(), "ratio"]);
        let heads: Vec<&str> = ["", "what"].into_iter().chain(builds).chain(["beside it", "goal"]).collect();
        let mut table = format!("| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(heads.len()));
        let mut before = "";
        for (part, row) in &self.rows {
            let shown = if *part == before { "" } else { part };
            let cells: Vec<String> = std::iter::once(shown.to_owned()).chain(row.cells(self.builds.len())).collect();
            let _ = writeln!(table, "| {} |", cells.join(" | "));
            before = part;
        }
        table
    }
}

/// Writes a line to standard output. It does not fail if standard output is closed.
pub fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
