//! NDJSON: an event on each line, or a batch. Blank lines are skipped.

use super::{Item, OnItem};
use crate::segment::{Malformed, split_envelope};
use std::io::{self, BufRead, Read as _};

/// The longest line, in bytes: a batch of Segment's SDKs has at most 500 KB, the largest request 4.5 MiB.
const MAX_LINE: u64 = 8 * 1024 * 1024;

/// Calls `on_item` with the events of every line.
pub(super) fn read(mut input: impl BufRead, on_item: OnItem<'_>) -> io::Result<()> {
    let (mut text, mut line) = (Vec::new(), 0);
    while let Some(complete) = read_line(&mut input, &mut text)? {
        line += 1;
        if !complete {
            on_item(Item { line, event: Err(format!("the line is longer than {} MiB", MAX_LINE / 1024 / 1024)) });
        } else if !text.trim_ascii().is_empty() {
            match split_envelope(&text) {
                Ok(envelope) => {
                    envelope.sources().into_iter().for_each(|event| on_item(Item { line, event: Ok(event) }));
                }
                Err(Malformed::Empty) => {}
                Err(malformed) => on_item(Item { line, event: Err(malformed.to_string()) }),
            }
        }
    }
    Ok(())
}

/// Reads a line into `text`. Of a line that is too long, reads the beginning and skips the rest. Out: whether the line is complete; `None`
/// at the end.
fn read_line(input: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<Option<bool>> {
    text.clear();
    input.by_ref().take(MAX_LINE + 1).read_until(b'\n', text)?;
    let is_too_long = text.len() as u64 > MAX_LINE && !text.ends_with(b"\n");
    if is_too_long {
        input.skip_until(b'\n')?;
    }
    Ok((!text.is_empty()).then_some(!is_too_long))
}
