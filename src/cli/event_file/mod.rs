//! Files of events: JSON (an event, an array of events or a batch), NDJSON (one on each line), or CSV (a user on each line).
//!
//! In: a file. Out: the text of each event with the number of its line, one after the other. Invariants: memory does not grow with the
//! file, except for JSON that is neither an array nor one event on each line; a line that cannot be read affects no other line; an event
//! that the service refuses for its size has no text; no text is kept after its event; blank lines, empty arrays and an empty file are no
//! events. Deliberately absent: parsing events.

mod csv_rows;
mod json;
mod ndjson;
mod quotes;

use super::progress::bytes_bar;
use crate::http::MAX_EVENT_BYTES;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The file and its format.
#[derive(Clone, Debug, Args)]
pub(super) struct FileArgs {
    /// A file with an event, an array of events, or a batch; with an event on each line (NDJSON); or with a user on each line
    /// (CSV, where each column is a trait, and `address.city` nests). `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub(super) file: PathBuf,
    /// The format of the file. If not given, it is taken from the name (.csv, .tsv, .ndjson, .jsonl), or else from the content
    #[arg(long, value_name = "FORMAT")]
    format: Option<FileFormat>,
}

impl FileArgs {
    fn is_standard_input(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    /// The name of the file for a message.
    pub(super) fn name(&self) -> Cow<'_, str> {
        if self.is_standard_input() { "standard input".into() } else { self.file.to_string_lossy() }
    }
}

/// The format of a file of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    // No doc comments: they would be in the help text, and make it long.
    Json,
    Ndjson,
    Csv,
}

/// One event of a file.
pub(super) struct Item<'a> {
    /// The number of the line on which it begins, from 1.
    pub(super) line: u64,
    /// The text of the event; or the reason why it has none, for the person who made the file.
    pub(super) event: Result<&'a str, String>,
}

impl Item<'_> {
    /// Without its text, if the event is larger than the service accepts.
    fn within_limit(self) -> Self {
        let is_small = |text: &&str| text.len() <= MAX_EVENT_BYTES;
        let too_large = || "the event is too large: at most 128 KiB".to_owned();
        Self { event: self.event.and_then(|text| Some(text).filter(is_small).ok_or_else(too_large)), ..self }
    }
}

/// The callback that receives each event.
pub(super) type OnItem<'a> = &'a mut dyn FnMut(Item<'_>);

/// The most bytes from which a format is recognised. An event has at most 128 KiB; a line may be a batch.
const HEAD: u64 = 1024 * 1024;

/// Reads the file, and calls `on_item` with every event. With `label`, the progress is shown on a terminal.
pub(super) fn read(args: &FileArgs, label: Option<&'static str>, on_item: OnItem<'_>) -> io::Result<()> {
    let (input, size): (Box<dyn Read>, _) = if args.is_standard_input() {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(&args.file)?;
        let metadata = file.metadata()?;
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    let bar = label.map_or_else(ProgressBar::hidden, |label| bytes_bar(label, size));
    let mut input = BufReader::with_capacity(64 * 1024, bar.wrap_read(input));
    let head = head(&mut input)?;
    let format = match args.format.or_else(|| by_name(&args.file)) {
        Some(format) => format,
        None => by_content(&head, &mut input)?,
    };
    let is_array = head.trim_ascii_start().first() == Some(&b'[');
    let on_item: OnItem<'_> = &mut |item| on_item(item.within_limit());
    let result = match format {
        FileFormat::Csv => csv_rows::read(&head, input, on_item),
        FileFormat::Ndjson => ndjson::read(io::Cursor::new(&head).chain(input), on_item),
        FileFormat::Json if is_array => json::read_array(io::Cursor::new(&head).chain(input), on_item),
        FileFormat::Json => json::read_document(io::Cursor::new(&head).chain(input), on_item),
    };
    bar.finish_and_clear();
    result
}

/// The beginning of the file without its byte order mark: up to the end of the first line that is not blank.
fn head(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let (mut head, mut input) = (Vec::new(), input.take(HEAD));
    loop {
        let read = input.read_until(b'\n', &mut head)?;
        if head.starts_with("\u{feff}".as_bytes()) {
            head.drain(..3);
        }
        if read == 0 || !head.trim_ascii().is_empty() {
            return Ok(head);
        }
    }
}

/// The format for the name of the file.
fn by_name(file: &Path) -> Option<FileFormat> {
    match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" | "tsv" => Some(FileFormat::Csv),
        "ndjson" | "jsonl" => Some(FileFormat::Ndjson),
        _ => None,
    }
}

/// NDJSON if the first line is an object by itself, or if it does not begin as JSON and has a `{`, or the next line begins as an object: then
/// it is a line of a log. CSV if it has several cells.
fn by_content(head: &[u8], rest: &mut impl BufRead) -> io::Result<FileFormat> {
    let begin = |text: &[u8]| text.trim_ascii_start().first().copied();
    Ok(match begin(head) {
        Some(b'[') => FileFormat::Json,
        Some(b'{') => {
            let is_complete = serde_json::from_slice::<&serde_json::value::RawValue>(head).is_ok();
            if is_complete { FileFormat::Ndjson } else { FileFormat::Json }
        }
        _ if head.contains(&b'{') || begins_object(rest.fill_buf()?) => FileFormat::Ndjson,
        _ if head.iter().any(|byte| b",;\t".contains(byte)) => FileFormat::Csv,
        _ => FileFormat::Json,
    })
}

/// Whether the text begins as a JSON object, unlike the cell `{3F2504E0-4F89}`.
fn begins_object(text: &[u8]) -> bool {
    let members = text.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    members.is_some_and(|members| matches!(members.first(), Some(b'"' | b'}')))
}
