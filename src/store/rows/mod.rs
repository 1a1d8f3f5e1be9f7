//! The format of rows, which every engine shares: from columns to the store's types, and back.
//!
//! In: a row of an engine, as [`Columns`], in the order that a constant `COLUMNS` beside each function states. Out: entries, begun events,
//! affiliates, dead letters; and columns to write. Invariants: a column that cannot be read is named, never replaced by a default; a name
//! holds no content, which may be personal data. Deliberately absent: transactions, and SQL except the names of columns.

pub mod affiliates;
pub mod attempts;
pub mod dead_letters;
pub mod inspection;
pub mod page;
pub mod pending;
pub mod remembered;

use super::StoreError;
use crate::domain::{EventId, Seq, Timestamp};

/// The part of a row that cannot be read: a table and a column, or [`DAMAGED_PAGE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

/// The damage of a whole page of the engine's files.
pub const DAMAGED_PAGE: Damaged = Damaged("a page of the file");

impl From<Damaged> for StoreError {
    fn from(Damaged(part): Damaged) -> Self {
        Self::Corrupt(part.to_owned())
    }
}

/// Logs that this part of the row `seq` is damaged.
pub fn report(seq: Seq, part: &str) {
    tracing::error!(%seq, part, "a row of the store is damaged");
}

/// The columns of one row. `part` names the column in [`Damaged`], which is returned if it holds another type.
pub trait Columns {
    /// A column that holds bytes or NULL.
    fn blob(&self, column: usize, part: &'static str) -> Result<Option<&[u8]>, Damaged>;

    /// A column that holds text or NULL.
    fn text(&self, column: usize, part: &'static str) -> Result<Option<&str>, Damaged>;

    /// A column that holds a number of any width, a truth value (as 0 or 1) or NULL.
    fn integer(&self, column: usize, part: &'static str) -> Result<Option<i64>, Damaged>;
}

/// The id of an event.
pub fn event_id(row: &impl Columns, column: usize, part: &'static str) -> Result<EventId, Damaged> {
    let id = row.blob(column, part)?.and_then(|id| id.try_into().ok());
    id.map(EventId).ok_or(Damaged(part))
}

/// A moment.
pub fn timestamp(row: &impl Columns, column: usize, part: &'static str) -> Result<Timestamp, Damaged> {
    number(row, column, part).map(Timestamp)
}

/// A number that is not NULL.
fn number(row: &impl Columns, column: usize, part: &'static str) -> Result<i64, Damaged> {
    row.integer(column, part)?.ok_or(Damaged(part))
}

/// Text that is not NULL.
fn words(row: &impl Columns, column: usize, part: &'static str) -> Result<String, Damaged> {
    row.text(column, part)?.map(str::to_owned).ok_or(Damaged(part))
}

#[cfg(test)]
pub mod testing {
    //! A row in memory, for tests of the readers of rows.

    use super::{Columns, Damaged};

    /// The content of a column.
    #[derive(Clone, Debug)]
    pub enum Cell {
        Null,
        Integer(i64),
        Text(String),
        Blob(Vec<u8>),
    }

    impl Columns for Vec<Cell> {
        fn blob(&self, column: usize, part: &'static str) -> Result<Option<&[u8]>, Damaged> {
            match &self[column] {
                Cell::Null => Ok(None),
                Cell::Blob(bytes) => Ok(Some(bytes)),
                _ => Err(Damaged(part)),
            }
        }

        fn text(&self, column: usize, part: &'static str) -> Result<Option<&str>, Damaged> {
            match &self[column] {
                Cell::Null => Ok(None),
                Cell::Text(text) => Ok(Some(text)),
                _ => Err(Damaged(part)),
            }
        }

        fn integer(&self, column: usize, part: &'static str) -> Result<Option<i64>, Damaged> {
            match &self[column] {
                Cell::Null => Ok(None),
                Cell::Integer(number) => Ok(Some(*number)),
                _ => Err(Damaged(part)),
            }
        }
    }
}
