//! Rows of PostgreSQL as [`Columns`], rows as arrays of values, and text to store. A column of another type than expected is damaged, never
//! a default.

use crate::store::rows::{Columns, Damaged};
use tokio_postgres::types::Type;
use tokio_postgres::{Column, Row};

impl Columns for Row {
    fn blob(&self, column: usize, part: &'static str) -> Result<Option<&[u8]>, Damaged> {
        self.try_get(column).map_err(|_| Damaged(part))
    }

    fn text(&self, column: usize, part: &'static str) -> Result<Option<&str>, Damaged> {
        self.try_get(column).map_err(|_| Damaged(part))
    }

    fn integer(&self, column: usize, part: &'static str) -> Result<Option<i64>, Damaged> {
        let number = match self.columns().get(column).map(Column::type_) {
            Some(&Type::INT8) => self.try_get(column),
            Some(&Type::INT4) => self.try_get::<_, Option<i32>>(column).map(|number| number.map(i64::from)),
            Some(&Type::INT2) => self.try_get::<_, Option<i16>>(column).map(|number| number.map(i64::from)),
            Some(&Type::BOOL) => self.try_get::<_, Option<bool>>(column).map(|truth| truth.map(i64::from)),
            _ => return Err(Damaged(part)),
        };
        number.map_err(|_| Damaged(part))
    }
}

/// Rows as the values of a statement: an array for each column. The columns of a row are given in the order of the statement.
macro_rules! arrays {
    ($row:ident in $rows:expr => $($column:expr),+) => {
        &[$(&$rows.iter().map(|$row| $column).collect::<Vec<_>>() as &(dyn tokio_postgres::types::ToSql + Sync)),+]
    };
}
pub(super) use arrays;

/// Text in the form that PostgreSQL can store: without the character NUL.
pub fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
