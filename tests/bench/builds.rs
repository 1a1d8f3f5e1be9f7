//! The measured programs: the release build of this tree, and with `BENCH_OTHER=/path/to/binary` another release beside it.
//!
//! This tree's is built here once more, as `cargo build --release` builds it: the one that cargo makes for a benchmark has
//! the features of the tests compiled in (fail points, statement tracing). Each program is copied first, so that whatever is
//! built meanwhile does not change what is measured.

use crate::report::print_line;
use crate::service::folder;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where cargo places the program, by either way of building it.
const BINARY: &str = env!("CARGO_BIN_EXE_refersion-destination");

/// The name of this tree's build in the table.
pub const THIS: &str = "this build";

/// A program to be measured.
pub struct Build {
    /// As the table names it.
    pub name: String,
    pub program: PathBuf,
    _folder: TempDir,
}

impl Build {
    fn copy(name: String, program: &Path) -> Self {
        let folder = folder();
        let copy = folder.path().join("refersion-destination");
        std::fs::copy(program, &copy).expect("BENCH_OTHER is the path of a program");
        Self { name, program: copy, _folder: folder }
    }
}

/// This tree's build first.
///
/// # Panics
/// Where the build fails, or `BENCH_OTHER` names no file.
pub fn all() -> Vec<Build> {
    print_line("building the release without the features of the tests");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--locked", "--quiet", "--bin", "refersion-destination"]);
    assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs").success(), "the build failed");
    let mut builds = vec![Build::copy(THIS.to_owned(), Path::new(BINARY))];
    if let Some(other) = std::env::var_os("BENCH_OTHER").map(PathBuf::from) {
        let name = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
        builds.push(Build::copy(name, &other));
    }
    builds
}
