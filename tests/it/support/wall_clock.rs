//! A wall clock that a test sets, for a process that it starts.
//!
//! The process is started with a `clock_gettime` of its own before the C library's, which adds to the wall clock the seconds
//! that a file says; time that merely passes is left alone. Without a C compiler, which Rust brings where it can link, the
//! tests say so and claim nothing.

use super::say_skipped;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int) syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_AHEAD");
    FILE *file = clock == CLOCK_REALTIME && path ? fopen(path, "r") : NULL;
    long ahead = 0;
    if (file) {
        if (fscanf(file, "%ld", &ahead) != 1) ahead = 0;
        fclose(file);
    }
    now->tv_sec += ahead;
    return result;
}
"#;

/// A clock that can be set.
pub struct WallClock {
    folder: TempDir,
    library: PathBuf,
    ahead: PathBuf,
}

impl WallClock {
    /// A clock that is right, until it is set. `None` where it cannot be made.
    pub fn make() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, library) = (folder.path().join("clock.c"), folder.path().join("clock.so"));
        std::fs::write(&source, CLOCK).expect("written");
        let compiler = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).output();
        let made = cfg!(target_os = "linux") && compiler.is_ok_and(|compiler| compiler.status.success());
        if !made {
            say_skipped("no C compiler makes a clock that can be set");
            return None;
        }
        let ahead = folder.path().join("ahead");
        Some(Self { folder, library, ahead })
    }

    /// Sets the clock so many seconds ahead of what it is.
    pub fn set_ahead(&self, seconds: i64) {
        // Put in place whole, for it is read at any time.
        let new = self.folder.path().join("ahead.new");
        std::fs::write(&new, seconds.to_string()).expect("written");
        std::fs::rename(new, &self.ahead).expect("in place");
    }

    /// The environment of a process that has this clock.
    pub fn environment(&self) -> [(&str, &str); 2] {
        let (library, ahead) = (self.library.to_str().expect("text"), self.ahead.to_str().expect("text"));
        [("LD_PRELOAD", library), ("CLOCK_AHEAD", ahead)]
    }
}
