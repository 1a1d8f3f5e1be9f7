//! Compaction of the table `bodies`: it removes blank rows, and moves bodies out of parts of the table that are mostly blank.
//!
//! In: the rows of a portion, in order. Out: the bodies to move, and the blank rows to remove. When SQLite removes a row, it may rearrange
//! the rows of its page and of up to two neighbouring pages. Invariant: these pages have only blank rows, so no copy of a body is left in
//! the unused space of a page. Therefore a row is removed only if blank rows of at least [`MARGIN_PAGES`] pages are between it and every
//! body, and between it and the end of the table, where the next body is written. Only these blank rows stay, and at most as many bytes
//! more as bodies have ([`plan`]). Deliberately absent: the time of compaction ([`super::maintenance`]).

use super::query::Query;
use crate::store::StoreError;
use rusqlite::{Connection, params};

/// The most pages that SQLite rearranges when it removes a row: its own and two neighbouring ones (`NB` in SQLite's `btree.c`).
const MARGIN_PAGES: i64 = 3;

/// The pages of a chunk. The rows of a chunk stay where they are if bodies have more than half of its bytes.
const CHUNK_PAGES: i64 = 16;

/// The rows that one read examines.
pub const EXAMINED: i64 = 5_000;

/// The most bodies that are moved, or rows that are removed, in one transaction, and the most bytes of them.
const PORTION: usize = 500;
const PORTION_BYTES: i64 = 1024 * 1024;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyRow {
    /// Its place.
    pub place: i64,
    /// The bytes of its body.
    pub length: i64,
    /// Whether its body was erased.
    pub is_blank: bool,
}

impl BodyRow {
    /// The minimum of bytes of the row on its page, which has `page` bytes. The rest of a long body has separate pages, by SQLite's file
    /// format ("cell payload overflow pages"). Its place, its length and a pointer take 4 bytes more.
    fn bytes_on_page(&self, page: i64) -> i64 {
        // The header of a row has from 4 to 16 bytes.
        let (row, header_varies_by) = (self.length + 4, 12);
        let (most, least) = (page - 35, (page - 12) * 32 / 255 - 23);
        let on_page = if row + header_varies_by <= most { row } else { least + (row - least) % (page - 4) };
        if on_page + header_varies_by <= most { on_page + 4 } else { least }
    }
}

/// The position of compaction in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last row about which was decided.
    pub after: i64,
    /// The bytes of the blank rows that stay between the last body and the next row.
    blank: i64,
}

impl Cursor {
    /// The beginning of the table, without a body before it.
    pub const START: Self = Self { after: 0, blank: i64::MAX };

    /// The cursor after a damaged part, whose rows are not known.
    pub fn skip(self) -> Self {
        Self { after: self.after + EXAMINED, blank: 0 }
    }
}

/// The plan for a portion.
#[derive(Debug, PartialEq, Eq)]
pub struct PortionPlan {
    /// The places of bodies to move to the end of the table, by transaction. They are moved first.
    pub moved: Vec<Vec<i64>>,
    /// The places of blank rows to remove, in order, by transaction. The rows of one transaction are consecutive.
    pub removed: Vec<Vec<i64>>,
    /// The position of the next portion; none at the end of the table.
    pub next: Option<Cursor>,
}

/// Examines the rows after the cursor.
pub fn examine(connection: &Connection, cursor: Cursor) -> Result<PortionPlan, StoreError> {
    let sql = "SELECT seq, length(body), substr(body, 1, 1) = x'00' OR length(body) = 0 FROM bodies
               WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let row = |row: &rusqlite::Row<'_>| Ok(BodyRow { place: row.get(0)?, length: row.get(1)?, is_blank: row.get(2)? });
    let rows = connection.all(sql, [cursor.after, EXAMINED], row)?;
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let is_end = i64::try_from(rows.len()).is_ok_and(|rows| rows < EXAMINED);
    Ok(plan(rows, cursor, page, is_end))
}

/// Plans these rows, which follow the cursor. `is_end`: no row follows them.
fn plan(mut rows: Vec<BodyRow>, cursor: Cursor, page: i64, is_end: bool) -> PortionPlan {
    let (moved, in_chunks) = move_from_blank_chunks(&mut rows, page);
    if !is_end && in_chunks > 0 {
        rows.truncate(in_chunks); // the next portion begins with a whole chunk
    }
    let margin = MARGIN_PAGES * page;
    let blank_after = blank_bytes_after(&rows, page);
    let last_body = rows.iter().rposition(|row| !row.is_blank);
    let (mut removed, mut next) = (Vec::<Vec<BodyRow>>::new(), cursor);
    for (n, row) in rows.iter().enumerate() {
        if !row.is_blank {
            next.blank = 0;
        } else if next.blank < margin {
            next.blank += row.bytes_on_page(page);
        } else if blank_after[n] >= margin {
            match removed.last_mut() {
                Some(run) if run.last() == Some(&rows[n - 1]) => run.push(*row), // not the first row, since there is a run
                _ => removed.push(vec![*row]),
            }
        } else if last_body.is_none_or(|last| last < n) {
            break; // the next portion decides about the rest
        }
        next.after = row.place;
    }
    let removed = removed.iter().flat_map(|run| portions(run)).collect();
    PortionPlan { moved: portions(&moved), removed, next: (!is_end).then_some(next) }
}

/// The places of these rows, divided into transactions.
fn portions(rows: &[BodyRow]) -> Vec<Vec<i64>> {
    let (mut portions, mut bytes) = (Vec::<Vec<i64>>::new(), 0);
    for row in rows {
        bytes += row.length;
        match portions.last_mut() {
            Some(last) if last.len() < PORTION && bytes <= PORTION_BYTES => last.push(row.place),
            _ => {
                portions.push(vec![row.place]);
                bytes = row.length;
            }
        }
    }
    portions
}

/// Marks the bodies of chunks that are at least half blank as blank, and returns these bodies, and the number of rows in chunks.
fn move_from_blank_chunks(rows: &mut [BodyRow], page: i64) -> (Vec<BodyRow>, usize) {
    let (mut moved, mut first, mut bytes) = (Vec::new(), 0, 0);
    for end in 1..=rows.len() {
        bytes += rows[end - 1].bytes_on_page(page);
        if bytes < CHUNK_PAGES * page {
            continue;
        }
        let length =
            |is_blank| rows[first..end].iter().filter(move |row| row.is_blank == is_blank).map(|row| row.length);
        if length(true).sum::<i64>() >= length(false).sum() {
            for row in rows[first..end].iter_mut().filter(|row| !row.is_blank) {
                moved.push(*row);
                row.is_blank = true;
            }
        }
        (first, bytes) = (end, 0);
    }
    (moved, first)
}

/// For each row, the bytes of the blank rows that follow it up to the next body, or to the last row.
fn blank_bytes_after(rows: &[BodyRow], page: i64) -> Vec<i64> {
    let mut after = vec![0; rows.len()];
    for n in (1..rows.len()).rev() {
        after[n - 1] = if rows[n].is_blank { after[n] + rows[n].bytes_on_page(page) } else { 0 };
    }
    after
}

/// Removes these rows, which must be removable, together with all rows between them.
pub fn remove(connection: &Connection, places: &[i64]) -> Result<(), StoreError> {
    let range = params![places.first(), places.last()];
    connection.run("DELETE FROM bodies WHERE seq >= ?1 AND seq <= ?2", range).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: i64 = 4_096;
    const MARGIN: usize = 13; // rows of 1,000 bytes

    /// Rows of 1,000 bytes at places from 1 on: `b` with a body, `.` blank.
    fn rows(pattern: &str) -> Vec<BodyRow> {
        let row = |(place, kind)| BodyRow { place, length: 1_000, is_blank: kind == '.' };
        (1..).zip(pattern.chars()).map(row).collect()
    }

    fn planned(pattern: &str, is_end: bool) -> PortionPlan {
        plan(rows(pattern), Cursor::START, PAGE, is_end)
    }

    fn blank(rows: usize) -> String {
        ".".repeat(rows)
    }

    fn bodies(rows: usize) -> String {
        "b".repeat(rows)
    }

    fn places(range: std::ops::RangeInclusive<usize>) -> Vec<i64> {
        range.map(|n| i64::try_from(n).expect("small")).collect()
    }

    #[test]
    fn three_pages_of_blank_rows_stay_beside_a_body_and_at_the_end_of_the_table() {
        for (pattern, removed) in [
            (blank(12), vec![]),
            (blank(30), places(1..=17)),
            (blank(30) + &bodies(50), places(1..=17)),
            (bodies(100) + &blank(26), vec![]),
            (bodies(100) + &blank(30), places(114..=117)),
            (bodies(100) + &blank(30) + &bodies(70), places(114..=117)),
        ] {
            let found = planned(&pattern, true);
            assert_eq!((found.removed.concat(), found.moved), (removed, vec![]), "{pattern}");
        }
    }

    #[test]
    fn the_bodies_move_and_the_rows_are_removed_where_half_is_blank() {
        let chunk = 66; // rows of 1,000 bytes
        let found = planned(&("b.".repeat(chunk / 2) + &bodies(chunk)), true);
        assert_eq!(found.moved.concat(), (1..=66).step_by(2).collect::<Vec<_>>());
        assert_eq!(found.removed.concat(), places(1..=chunk - MARGIN));
        let found = planned(&("bb.".repeat(chunk / 3) + &bodies(chunk)), true);
        assert_eq!((found.moved, found.removed), (vec![], vec![]));
    }

    #[test]
    fn only_the_part_of_a_long_body_that_is_certain_to_be_on_the_page_counts() {
        for (length, on_page) in [(0, 8), (1_000, 1_008), (4_045, 4_053), (4_046, 489), (4_060, 489), (40_000, 3_180)] {
            let row = BodyRow { place: 1, length, is_blank: true };
            assert_eq!(row.bytes_on_page(PAGE), on_page, "{length}");
        }
        let mut long = rows(&blank(60));
        for row in &mut long {
            row.length = 40_000;
        }
        assert_eq!(plan(long, Cursor::START, PAGE, true).removed.concat(), places(1..=60 - 4));
    }

    #[test]
    fn a_transaction_removes_so_many_rows_and_so_many_bytes() {
        let row = |length| move |place| BodyRow { place, length, is_blank: true };
        let sizes = |length| {
            let rows: Vec<BodyRow> = (0..1_200).map(row(length)).collect();
            portions(&rows).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1_000), [500, 500, 200]);
        assert_eq!(sizes(100_000)[..3], [10, 10, 10]);
        assert_eq!(sizes(2_000_000).len(), 1_200);
    }

    /// However the table is cut into portions, the same rows are removed.
    #[test]
    fn the_next_portion_continues_with_the_undecided_rows() {
        let pattern = bodies(66) + &blank(600);
        let whole = planned(&pattern, true);
        assert_eq!(whole.removed.concat().len(), 600 - 2 * MARGIN);
        for portion in [70, 100, 333] {
            let (all, mut removed, mut cursor) = (rows(&pattern), Vec::new(), Cursor::START);
            loop {
                let rest: Vec<BodyRow> = all.iter().filter(|row| row.place > cursor.after).copied().collect();
                let is_end = rest.len() < portion;
                let found = plan(rest.into_iter().take(portion).collect(), cursor, PAGE, is_end);
                removed.extend(found.removed.concat());
                let Some(next) = found.next else { break };
                assert!(next.after > cursor.after, "it goes on");
                cursor = next;
            }
            assert_eq!(removed, whole.removed.concat(), "{portion}");
        }
    }
}
