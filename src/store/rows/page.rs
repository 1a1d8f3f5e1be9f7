//! A page of rows for operators, while it is read: those that match a filter, among a bounded number of examined rows.
//!
//! In: rows in the order of a list, each with its seq. Out: up to a limit of them, and the seq from which the next page begins. The bound
//! keeps a filter without matches from taking a long transaction. Deliberately absent: the filters, and the order, which an engine's
//! statement has.

use super::Damaged;

/// A page while it is read.
#[derive(Debug)]
pub struct PageScan<T> {
    limit: usize,
    most: usize,
    examined: usize,
    /// Whether an examined row was not too late.
    is_in_time: bool,
    last: i64,
    found: Vec<T>,
}

impl<T> PageScan<T> {
    /// A page of up to `limit` rows, at least one. An engine examines up to `most` rows, until the page is full.
    pub fn new(limit: usize, most: usize) -> Self {
        Self { limit: limit.max(1), most, examined: 0, is_in_time: false, last: 0, found: Vec::new() }
    }

    /// The page of these rows, as far as `examine` examines them: it adds each with [`Self::add`] or [`Self::add_too_late`].
    pub fn read<R>(
        mut self,
        rows: &[R],
        examine: impl Fn(&mut Self, &R) -> Result<bool, Damaged>,
    ) -> Result<(Vec<T>, Option<i64>), Damaged> {
        for row in rows {
            if examine(&mut self, row)? {
                break;
            }
        }
        Ok(self.page())
    }

    /// The row `seq` was examined; none if it does not match. Returns whether the page is full.
    pub fn add(&mut self, seq: i64, row: Option<T>) -> bool {
        (self.examined, self.last) = (self.examined + 1, seq);
        self.is_in_time = true;
        self.found.extend(row);
        self.found.len() == self.limit
    }

    /// The row `seq` was examined, and is too late in the list to match. If all rows of the page are, it is the last page.
    pub fn add_too_late(&mut self, seq: i64) {
        (self.examined, self.last) = (self.examined + 1, seq);
    }

    /// The rows of the page; and the seq from which the next page begins, if there may be more.
    pub fn page(self) -> (Vec<T>, Option<i64>) {
        let more = self.found.len() == self.limit || self.examined == self.most && self.is_in_time;
        (self.found, more.then_some(self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matching rows of a page of two, of at most four rows, and its end.
    fn page(rows: &[(i64, bool)]) -> (Vec<i64>, Option<i64>) {
        let examine = |scan: &mut PageScan<i64>, (seq, fits): &(i64, bool)| Ok(scan.add(*seq, fits.then_some(*seq)));
        PageScan::new(2, 4).read(rows, examine).expect("readable")
    }

    #[test]
    fn a_page_ends_after_its_last_row_if_it_is_full_and_else_where_the_search_ended() {
        for (rows, found, next) in [
            (&[(1, true), (2, false), (3, true), (4, true)][..], vec![1, 3], Some(3)),
            (&[(1, true), (2, false), (3, false), (9, false)], vec![1], Some(9)),
            (&[(1, false), (2, false), (3, false), (9, false)], vec![], Some(9)),
            (&[(1, true), (2, false), (3, false)], vec![1], None),
            (&[], vec![], None),
        ] {
            assert_eq!(page(rows), (found, next), "{rows:?}");
        }
    }

    #[test]
    fn a_page_of_rows_that_are_all_too_late_is_the_last_one() {
        for (in_time, next) in [(vec![], None), (vec![1], Some(4)), (vec![4], Some(4))] {
            let examine = |scan: &mut PageScan<i64>, seq: &i64| {
                if in_time.contains(seq) {
                    return Ok(scan.add(*seq, None));
                }
                scan.add_too_late(*seq);
                Ok(false)
            };
            let read = PageScan::new(2, 4).read(&[1, 2, 3, 4], examine);
            assert_eq!(read, Ok((vec![], next)), "{in_time:?}");
        }
    }
}
