//! The program: runs the command line of the library and returns its exit code.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// An event allocates many short-lived strings. With this allocator it costs a fifth less processor time than with the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    refersion_destination::cli::run()
}
