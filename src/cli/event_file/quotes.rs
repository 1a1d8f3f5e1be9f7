//! The check whether the last quoted cell of a CSV file is closed. The parser takes the end of the file for the end of the cell.
//!
//! In: the bytes of the file, which pass through. Out: the beginning of a cell whose quote is open at the end of the file. Invariant: as
//! for the parser, a quote opens a cell only as its first byte, and a doubled quote inside is a part of the cell.

use std::io::{self, Read};

/// The file, watched as it is read.
pub(super) struct WatchQuotes<R> {
    input: R,
    delimiter: u8,
    at: CellState,
    /// The number of bytes that were read.
    read: u64,
    /// The beginning of the last quoted cell.
    opened: u64,
    at_end: bool,
}

/// The place of the next byte in a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CellState {
    Start,
    Unquoted,
    Quoted,
    /// After a quote inside of a quoted cell: it closes the cell, or it is the first of two.
    AfterQuote,
}

impl<R> WatchQuotes<R> {
    pub(super) fn new(input: R, delimiter: u8) -> Self {
        Self { input, delimiter, at: CellState::Start, read: 0, opened: 0, at_end: false }
    }

    /// At the end of the file: the beginning of a quoted cell that is not closed, in bytes.
    pub(super) fn unclosed(&self) -> Option<u64> {
        (self.at_end && self.at == CellState::Quoted).then_some(self.opened)
    }

    fn watch(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (CellState::Start, b'"') => {
                self.opened = self.read;
                CellState::Quoted
            }
            (CellState::Quoted, b'"') => CellState::AfterQuote,
            (CellState::Quoted, _) | (CellState::AfterQuote, b'"') => CellState::Quoted,
            (_, byte) if byte == self.delimiter || byte == b'\n' || byte == b'\r' => CellState::Start,
            _ => CellState::Unquoted,
        };
        self.read += 1;
    }
}

impl<R: Read> Read for WatchQuotes<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(bytes)?;
        self.at_end |= read == 0 && !bytes.is_empty();
        bytes[..read].iter().for_each(|byte| self.watch(*byte));
        Ok(read)
    }
}
