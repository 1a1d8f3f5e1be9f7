//! A count of texts that repeat (reasons, notes), with the first lines of a file at which each occurred.
//!
//! Invariant: memory does not grow with the file: at most [`MAX_TEXTS`] texts, and [`MAX_LINES`] lines of each.

use indicatif::HumanCount;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most different texts that are counted by themselves; all further ones are counted together.
const MAX_TEXTS: usize = 100;
/// The name under which further texts are counted.
const OTHERS: &str = "others";
/// The most line numbers that are kept of a text.
const MAX_LINES: usize = 3;

/// The number of occurrences of each text, with the first lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// The number of texts that were counted.
    pub(super) total: u64,
    texts: BTreeMap<String, Occurrences>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Occurrences {
    count: u64,
    lines: Vec<u64>,
}

impl Tally {
    /// Counts `text`, which occurred at `line`. A place within the line is left out, so that equal texts are counted together.
    pub(super) fn add(&mut self, text: &str, line: u64) {
        self.total += 1;
        let text = text.split_once(" at line ").map_or(text, |(text, _)| text);
        let is_full = self.texts.len() >= MAX_TEXTS && !self.texts.contains_key(text);
        let occurrences = self.texts.entry(if is_full { OTHERS } else { text }.to_owned()).or_default();
        occurrences.count += 1;
        if occurrences.lines.len() < MAX_LINES {
            occurrences.lines.push(line);
        }
    }

    /// A line for each text, the commonest first.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut texts: Vec<_> = self.texts.iter().collect();
        texts.sort_by_key(|(_, occurrences)| std::cmp::Reverse(occurrences.count)); // of equal counts in alphabetical order
        let line = |(text, Occurrences { count, lines }): (&String, &Occurrences)| {
            let noun = if *count == 1 { "line" } else { "lines" };
            let more = if *count > lines.len() as u64 { ", …" } else { "" };
            let lines = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("{:>14}  {text} ({noun} {lines}{more})", HumanCount(*count).to_string())
        };
        texts.into_iter().map(line).collect()
    }
}

/// A line with a count and its label, above the lines of a [`Tally`].
pub(super) fn count_line(count: u64, what: &str) -> String {
    format!("{:>9}  {what}", HumanCount(count).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_texts_are_counted_by_themselves_and_only_so_many_lines_are_kept() {
        let mut tally = Tally::default();
        for n in 0..1_000 {
            tally.add(&format!("text {} at line {n}", n % 500), n);
        }
        assert_eq!((tally.total, tally.texts.len()), (1_000, MAX_TEXTS + 1));
        assert_eq!(tally.lines()[0], "           800  others (lines 100, 101, 102, …)");
        assert!(tally.texts.values().all(|text| text.lines.len() <= MAX_LINES));
    }
}
