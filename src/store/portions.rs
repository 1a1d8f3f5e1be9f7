//! How the log is read and compacted in portions, alike in every engine: so that none occupies a connection for long.
//!
//! Deliberately absent: the statements, which are an engine's.

use super::StoreError;
use crate::domain::Seq;
use crate::scheduling::Entry;

/// At most so many entries are read at once.
const MAX_ENTRIES: usize = 2_000;

/// A compaction ends after so many portions of the log in which nothing was to be removed; the next one goes on there.
pub const MAX_EMPTY_PORTIONS: u32 = 40;

/// Up to `limit` pending entries with a seq above `after`. `read` reads one portion: up to so many entries after a seq; fewer, if
/// there are no more.
pub async fn entries<F>(after: Seq, limit: usize, read: impl Fn(Seq, usize) -> F) -> Result<Vec<Entry>, StoreError>
where
    F: Future<Output = Result<Vec<Entry>, StoreError>>,
{
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(after, |last| last.seq);
        let portion = (limit - entries.len()).min(MAX_ENTRIES);
        let more = read(after, portion).await?;
        let is_end = more.len() < portion;
        entries.extend(more);
        if is_end || entries.len() == limit {
            return Ok(entries);
        }
    }
}
