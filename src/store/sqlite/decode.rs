//! Reading columns whose content may be damaged: the value, or the name of the column.
//!
//! Invariant: a value of another type than expected is an error, never a default. Deliberately absent: the content itself, which
//! may be personal data, in errors.

use rusqlite::Row;
use rusqlite::types::ValueRef;

/// The part of a row that cannot be read: a table and a column, or [`DAMAGED_PAGE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

/// A page of the file that SQLite cannot read: whatever part of the row it holds.
pub const DAMAGED_PAGE: Damaged = Damaged("a page of the file");

/// A column that holds bytes or NULL.
pub fn blob<'a>(row: &'a Row<'_>, column: usize, part: &'static str) -> Result<Option<&'a [u8]>, Damaged> {
    match row.get_ref(column) {
        Ok(ValueRef::Null) => Ok(None),
        Ok(ValueRef::Blob(bytes)) => Ok(Some(bytes)),
        _ => Err(Damaged(part)),
    }
}

/// A column that holds text or NULL.
pub fn text<'a>(row: &'a Row<'_>, column: usize, part: &'static str) -> Result<Option<&'a str>, Damaged> {
    match row.get_ref(column) {
        Ok(ValueRef::Null) => Ok(None),
        Ok(ValueRef::Text(bytes)) => std::str::from_utf8(bytes).map(Some).map_err(|_| Damaged(part)),
        _ => Err(Damaged(part)),
    }
}

/// A column that holds a number or NULL.
pub fn integer(row: &Row<'_>, column: usize, part: &'static str) -> Result<Option<i64>, Damaged> {
    match row.get_ref(column) {
        Ok(ValueRef::Null) => Ok(None),
        Ok(ValueRef::Integer(number)) => Ok(Some(number)),
        _ => Err(Damaged(part)),
    }
}

/// A value as JSON.
pub fn to_json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
