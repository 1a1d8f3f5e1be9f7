//! The two outputs of a command: its result on standard output, everything else on standard error.
//!
//! Invariant: a result of which a line is missing, for instance because the disk is full, makes the exit code 1 ([`is_incomplete`]).

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a line could not be written to standard output.
static OUTPUT_FAILED: AtomicBool = AtomicBool::new(false);
/// Whether the reader of standard output has closed its pipe.
static READER_GONE: AtomicBool = AtomicBool::new(false);

/// Whether a line could not be written to standard output, except to a closed pipe.
pub(super) fn is_incomplete() -> bool {
    OUTPUT_FAILED.load(Ordering::Relaxed)
}

/// Whether the reader of standard output has closed its pipe: a command that only prints may end.
pub(super) fn reader_is_gone() -> bool {
    READER_GONE.load(Ordering::Relaxed)
}

/// Writes a line to standard error. A closed pipe is not an error.
pub(super) fn eprint(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", line.trim_end());
}

/// Writes a line to standard output. A closed pipe is not an error: the reader has seen enough. After another error the command goes on,
/// and its exit code says that the output is incomplete.
pub(super) fn print(line: &str) {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => READER_GONE.store(true, Ordering::Relaxed),
        Err(error) if !OUTPUT_FAILED.swap(true, Ordering::Relaxed) => {
            eprint(&format!("refersion-destination: the output is incomplete: {error}"));
        }
        _ => {}
    }
}

/// Prints the reason why a command failed. Returns its exit code.
pub(super) fn fail(error: &dyn Display) -> ExitCode {
    eprint(&format!("refersion-destination: {error}"));
    ExitCode::FAILURE
}
