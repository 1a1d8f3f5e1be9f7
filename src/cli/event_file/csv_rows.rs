//! CSV: a user on each line. Each row becomes the text of an identify event, whose traits are the columns.
//!
//! In: the first line, which names the columns, and the rest of the file. Out: an event for each row. Columns that are named like
//! members of an event ([`MEMBERS`], and `userId` in any spelling) are members; every other one is a trait, with or without `traits.` in
//! front of its name, and nested at the dots in it. All values are texts, so that postal codes keep their zeros; an empty cell is no value.
//! Cells are separated by the commonest of `,`, `;` and tab in the first line.

use super::quotes::WatchQuotes;
use super::{Item, OnItem};
use crate::segment::normalize_name;
use csv::{ByteRecord, ReaderBuilder};
use memchr::memchr_iter;
use serde_json::{Map, Value};
use std::io::{self, Cursor, Error, ErrorKind, Read};

/// The members of an event, beside the `userId`, that a column can be, with the other spelling that is accepted. In further ones they are
/// traits: a customer may have a `Type`, and the `Message ID` of a mail tool is that of a campaign, equal in all rows.
const MEMBERS: [(&str, &str); 4] =
    [("anonymousId", "anonymous_id"), ("messageId", "message_id"), ("timestamp", "timestamp"), ("type", "type")];

/// The place of the cells of a column in an event: the keys from the event down to the value.
type MemberPath = Vec<String>;

/// Calls `on_item` with an event for every row.
pub(super) fn read(first_line: &[u8], rest: impl Read, on_item: OnItem<'_>) -> io::Result<()> {
    let input = Cursor::new(first_line).chain(rest);
    let delimiter = delimiter(first_line);
    let input = WatchQuotes::new(input, delimiter);
    let mut reader = ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(input);
    let paths = paths(reader.byte_headers()?)?;
    // The reader takes a row to end with the CR of CRLF, and counts the line at the LF, which then begins the next row.
    let uncounted = u64::from(first_line.ends_with(b"\r\n"));
    let mut row = ByteRecord::new();
    while reader.read_byte_record(&mut row)? {
        let line = row.position().map_or(0, |position| position.line() + uncounted);
        // The reader took all text after the quote for one cell, whatever the number of rows.
        if reader.get_ref().unclosed().is_some_and(|opened| opened < reader.position().byte()) {
            let why = "Invalid row: a quote is opened in it and never closed, so all further lines are a part of it";
            on_item(Item { line, event: Err(why.to_owned()) });
            continue;
        }
        match event(&paths, &row) {
            Ok(text) => on_item(Item { line, event: Ok(&text) }),
            Err(why) => on_item(Item { line, event: Err(why.to_owned()) }),
        }
    }
    Ok(())
}

/// The commonest separator; `,` if there is none.
fn delimiter(first_line: &[u8]) -> u8 {
    let count = |separator: &u8| memchr_iter(*separator, first_line).count();
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// The place of each column.
fn paths(header: &ByteRecord) -> io::Result<Vec<MemberPath>> {
    let invalid = |why: String| Error::new(ErrorKind::InvalidData, why);
    let mut paths: Vec<MemberPath> = Vec::new();
    for (number, name) in header.iter().enumerate() {
        let name =
            std::str::from_utf8(name).map_err(|_| invalid("the first line is not UTF-8 text".to_owned()))?.trim();
        if name.split('.').any(|key| key.trim().is_empty()) {
            return Err(invalid(format!(
                "column {} of the first line has no name, or an empty part in it",
                number + 1
            )));
        }
        let path = path(name);
        if let Some(other) = paths.iter().find(|other| path.starts_with(other) || other.starts_with(&path)) {
            let other =
                other.iter().skip(usize::from(other.len() > 1)).map(String::as_str).collect::<Vec<_>>().join(".");
            return Err(invalid(format!("the columns {name:?} and {other:?} exclude each other")));
        }
        paths.push(path);
    }
    Ok(paths)
}

fn path(column: &str) -> MemberPath {
    if normalize_name(column) == "userid" {
        return vec!["userId".to_owned()];
    }
    let keys = column.strip_prefix("traits.").unwrap_or(column).split('.').map(str::trim);
    match MEMBERS.iter().find(|(name, other)| [name, other].contains(&&column)) {
        Some((name, _)) => vec![(*name).to_owned()],
        None => std::iter::once("traits").chain(keys).map(str::to_owned).collect(),
    }
}

/// The event of a row.
fn event(paths: &[MemberPath], row: &ByteRecord) -> Result<String, &'static str> {
    if row.len() > paths.len() {
        return Err("Invalid row: it has more cells than the first line has columns");
    }
    let mut event = Map::from_iter([("type".to_owned(), Value::from("identify"))]);
    for (path, cell) in paths.iter().zip(row) {
        let cell = std::str::from_utf8(cell).map_err(|_| "Invalid row: it is not UTF-8 text")?;
        if let ([outer @ .., key], false) = (&path[..], cell.trim().is_empty()) {
            let mut object = &mut event;
            for key in outer {
                let inner = object.entry(key.as_str()).or_insert_with(|| Map::new().into());
                object = inner.as_object_mut().ok_or("Invalid row: two columns exclude each other")?;
            }
            object.insert(key.clone(), cell.into());
        }
    }
    Ok(Value::Object(event).to_string())
}
