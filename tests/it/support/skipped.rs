//! Tests that are skipped, because a program or a file is not here.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Mutex;

/// Says that tests are skipped, and why: once for each reason, on the standard error of the process, because the output of a
/// test that passes is not shown.
pub fn say_skipped(why: &'static str) {
    static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    if SAID.lock().expect("not poisoned").insert(why) {
        writeln!(std::io::stderr(), "skipped: {why}").expect("written");
    }
}
