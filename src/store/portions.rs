//! Going through a table in portions, in the same way for every engine, so that no statement occupies a connection for long.
//!
//! Deliberately absent: the SQL statements, which an engine has.

use super::LookupQuery;

/// The rows of the log that one portion of a compaction examines.
pub const PORTION_ROWS: i64 = 2_000;

/// The most portions without anything to remove, and outside of the window, that one compaction examines where rows are due first.
const MAX_EMPTY_PORTIONS: u32 = 40;

/// The same for the rows behind those within the window.
const MAX_EMPTY_BEHIND: u32 = 4;

/// Rows of the log, from the first seq to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqRange {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

/// What was done in a portion.
#[derive(Clone, Copy, Debug)]
pub struct Portion<P> {
    /// Whether there was nothing to do.
    pub was_empty: bool,
    /// Whether a run that ends after this portion is continued there by the next one. Otherwise that one begins at the start, because
    /// there will be something to do before there is here.
    pub is_resumed: bool,
    /// The next position; none at the end.
    pub next: Option<P>,
}

impl Portion<i64> {
    /// A portion of the log, of which the last row has this seq and may be within the window; none at the end.
    pub fn new(was_empty: bool, last: Option<(i64, bool)>) -> Self {
        let is_resumed = last.is_some_and(|(_, is_in_window)| !is_in_window);
        Self { was_empty, is_resumed, next: last.map(|(seq, _)| seq) }
    }
}

/// Runs `portion` again and again, each time from the position that it has returned: until the end, after which the next run begins at
/// `start`, or until `most_empty` portions had nothing to do, or one that is not resumed. If `portion` returns `Ok(None)`, it could not run
/// now, and the next run continues at the same position. Returns the position at which it ended, if the next run begins at the start
/// nevertheless.
pub async fn advance<P: Copy, F, E>(
    position: &mut P,
    start: P,
    most_empty: u32,
    portion: impl Fn(P) -> F,
) -> Result<Option<P>, E>
where
    F: Future<Output = Result<Option<Portion<P>>, E>>,
{
    let mut empty = 0;
    while let Some(done) = portion(*position).await? {
        empty += u32::from(done.was_empty);
        let is_last = empty >= most_empty || done.was_empty && !done.is_resumed;
        *position = done.next.filter(|_| !is_last || done.is_resumed).unwrap_or(start);
        if is_last || done.next.is_none() {
            return Ok(done.next.filter(|_| !done.is_resumed));
        }
    }
    Ok(None)
}

/// The positions in the log at which the next compaction continues. Rows are due first at its start. If a clock was ahead when rows were
/// received, rows behind them are due before they are: each compaction goes a little farther through those.
#[derive(Debug, Default)]
pub struct LogPositions {
    first: i64,
    behind: i64,
}

impl LogPositions {
    /// Runs `portion` from both positions on: see [`advance`].
    pub async fn advance<F, E>(&mut self, portion: impl Fn(i64) -> F) -> Result<(), E>
    where
        F: Future<Output = Result<Option<Portion<i64>>, E>>,
    {
        let Some(ended) = advance(&mut self.first, 0, MAX_EMPTY_PORTIONS, &portion).await? else { return Ok(()) };
        self.behind = self.behind.max(ended);
        let resumed = |after| {
            let done = portion(after);
            async { Ok(done.await?.map(|done| Portion { is_resumed: true, ..done })) }
        };
        advance(&mut self.behind, 0, MAX_EMPTY_BEHIND, resumed).await.map(drop)
    }
}

/// The seqs that a lookup finds in these ranges, the newest first: one more than its limit, if there are so many. `ranges` go from the
/// newest to the oldest. `examine` examines the last rows of a range, and returns the seqs found in them, the newest first, and the
/// remaining range, if there is one.
pub async fn newest<F, E>(
    ranges: Vec<SeqRange>,
    query: &LookupQuery,
    examine: impl Fn(SeqRange) -> F,
) -> Result<Vec<i64>, E>
where
    F: Future<Output = Result<(Vec<i64>, Option<SeqRange>), E>>,
{
    let mut found = Vec::new();
    let last = query.before.map_or(i64::MAX - 1, |before| before.saturating_sub(1));
    for range in ranges {
        let mut rest = Some(SeqRange { last: range.last.min(last), ..range });
        while let Some(range) = rest.filter(|range| range.first <= range.last && found.len() <= query.limit) {
            let (more, next) = examine(range).await?;
            found.extend(more);
            rest = next;
        }
    }
    Ok(found)
}
