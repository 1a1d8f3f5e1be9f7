//! The program: runs the command line of the library and returns its exit code.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// An event allocates many short-lived strings. This allocator saves a fifth of the processor time of the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    refersion_destination::cli::run()
}
