//! Going through a table in portions, in the same way for every engine, so that no statement occupies a connection for long.
//!
//! Deliberately absent: the SQL statements, which an engine has.

use super::{LookupQuery, Retention};
use crate::domain::Timestamp;

/// The rows of a portion of the log that compaction examines.
pub const EXAMINED: i64 = 2_000;

/// The most portions of the log without anything to remove in one compaction. The next compaction continues there.
pub const MAX_EMPTY_PORTIONS: u32 = 40;

/// Rows of the log, from the first seq to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqRange {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

/// Runs `portion` again and again, each time from the position that it has returned: until the end, after which the next run begins at
/// `start`, or until `most_empty` portions had nothing to do. `portion` returns whether it had nothing to do, and the next position
/// (`None`: the end); or `Ok(None)` if it could not run now, and then the next run continues at the same position.
pub async fn advance<P: Copy, F, E>(
    position: &mut P,
    start: P,
    most_empty: u32,
    portion: impl Fn(P) -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<Option<(bool, Option<P>)>, E>>,
{
    let mut empty = 0;
    while empty < most_empty {
        let Some((was_empty, next)) = portion(*position).await? else { return Ok(()) };
        empty += u32::from(was_empty);
        *position = next.unwrap_or(start);
        if next.is_none() {
            break;
        }
    }
    Ok(())
}

/// The position after a portion of the log whose last row has this seq and was received at this moment; none at the end (`last` is none),
/// and where later rows were received too late to be removed. A row that was received in the future tells nothing of later ones: the clock
/// was wrong.
pub fn next(last: Option<(i64, Timestamp)>, before: Retention) -> Option<i64> {
    last.filter(|(_, received_at)| !(before.events..=before.now).contains(received_at)).map(|(seq, _)| seq)
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
