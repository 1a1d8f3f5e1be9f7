//! JSON: an array, whose elements are read one by one; or an event or a batch, which is read as a whole.

use super::{Item, OnItem};
use crate::segment::{Malformed, split_envelope};
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};

/// Calls `on_item` with every element of an array.
pub(super) fn read_array(input: impl Read, on_item: OnItem<'_>) -> io::Result<()> {
    let lines = Cell::new(0);
    let mut json = serde_json::Deserializer::from_reader(CountLines { input, lines: &lines });
    let elements = Elements { on_item: &mut *on_item, lines: &lines };
    let read = json.deserialize_seq(elements).and_then(|()| json.end());
    match read {
        Ok(()) => Ok(()),
        Err(error) if error.is_io() => Err(error.into()),
        Err(error) => {
            let line = error.line() as u64;
            on_item(Item { line, event: Err(Malformed::from(error).to_string()) });
            Ok(())
        }
    }
}

/// Calls `on_item` with the events of an envelope.
pub(super) fn read_document(mut input: impl Read, on_item: OnItem<'_>) -> io::Result<()> {
    let mut body = Vec::new();
    input.read_to_end(&mut body)?;
    match split_envelope(&body) {
        Ok(envelope) => {
            let (mut line, mut counted) = (1, 0);
            for text in envelope.sources() {
                let start = text.as_ptr().addr() - body.as_ptr().addr(); // a part of the body
                line += newlines(&body[counted..start]);
                counted = start;
                on_item(Item { line, event: Ok(text) });
            }
        }
        Err(Malformed::Empty) => {}
        Err(malformed) => on_item(Item { line: 1, event: Err(malformed.to_string()) }),
    }
    Ok(())
}

/// Reads the elements of an array, one by one.
struct Elements<'a> {
    on_item: OnItem<'a>,
    lines: &'a Cell<u64>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<Box<RawValue>>()? {
            let text = element.get();
            let line = 1 + self.lines.get() - newlines(text.as_bytes());
            (self.on_item)(Item { line, event: Ok(text) });
        }
        Ok(())
    }
}

/// Counts the lines that were read. `serde_json` reads byte by byte, and no byte after the end of an object.
struct CountLines<'a, R> {
    input: R,
    lines: &'a Cell<u64>,
}

impl<R: Read> Read for CountLines<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(bytes)?;
        self.lines.set(self.lines.get() + newlines(&bytes[..read]));
        Ok(read)
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
