//! The measured programs: the release build of this tree, and with `BENCH_OTHER=/path/to/binary` another release beside it.
//!
//! This tree's is built here once more, as `cargo build --release` builds it: the one that cargo makes for a benchmark has
//! the features of the tests compiled in (fail points, statement tracing).

use crate::report::say;
use std::path::PathBuf;
use std::process::Command;

/// Where cargo places the program, by either way of building it.
const BINARY: &str = env!("CARGO_BIN_EXE_refersion-destination");

/// The name of this tree's build in the table.
pub const THIS: &str = "this build";

/// A program to be measured.
#[derive(Clone, Debug)]
pub struct Build {
    /// As the table names it.
    pub name: String,
    pub program: PathBuf,
}

/// This tree's build first.
///
/// # Panics
/// Where the build fails, or `BENCH_OTHER` names no file.
pub fn all() -> Vec<Build> {
    say("building the release without the features of the tests");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--locked", "--quiet", "--bin", "refersion-destination"]);
    assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs").success(), "the build failed");
    let mut builds = vec![Build { name: THIS.to_owned(), program: BINARY.into() }];
    if let Some(other) = std::env::var_os("BENCH_OTHER") {
        let program = PathBuf::from(other).canonicalize().expect("BENCH_OTHER is the path of a program");
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        builds.push(Build { name, program });
    }
    builds
}
