//! Warnings at the start about the files of the store: they were copied without the log, or others can read them.

use super::{back_up, restore, store};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{identify, within};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Child;
use tempfile::TempDir;

const NO_WAL: &str = "its write-ahead log (the file with -wal) is missing";
const READABLE: &str = "other users of this system can read the store";

/// Starts a service on the store in `folder`, has an event delivered or recognised, and ends it.
async fn serve(refersion: &Refersion, folder: &Path, end: impl AsyncFnOnce(Process) -> String) -> String {
    let process = Process::start(&refersion.base_url, folder, &[]);
    let answer = within(process.send(&identify("m1", "u1", &Value::Null))).await.expect("answered");
    assert_eq!(answer.status, 200, "{}", answer.text);
    end(process).await
}

async fn in_order(process: Process) -> String {
    process.terminate();
    let (status, logged) = process.ended().await;
    assert!(status.success(), "{logged}");
    logged
}

async fn by_kill(process: Process) -> String {
    let mut process = process;
    process.child.kill().expect("running");
    process.wait().1
}

/// `serve` on the store in `folder`, with its log in a file that can be read while it runs. It is killed when this is dropped.
struct LoggedProcess {
    child: Child,
    log: PathBuf,
}

impl LoggedProcess {
    /// Waits until the log has a line with all of these words; the log until then.
    async fn logged(&self, words: &[&str]) -> String {
        let logged = || std::future::ready(std::fs::read_to_string(&self.log).expect("text"));
        let has = |log: &String| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        let logged = within(crate::support::poll_until(logged, has)).await;
        crate::support::leaks::check(&logged);
        logged
    }
}

impl Drop for LoggedProcess {
    fn drop(&mut self) {
        // Err: it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_logged(refersion: &Refersion, folder: &Path) -> LoggedProcess {
    let log = folder.join("log");
    let mut command = crate::support::process::binary();
    let settings = [
        ("REFERSION_API_KEY", crate::support::API_KEY),
        ("REFERSION_BASE_URL", &refersion.base_url),
        ("SERVER_LISTEN", "127.0.0.1:0"),
        ("OPS_LISTEN", "127.0.0.1:0"),
        ("STORE_URL", &format!("sqlite://{}", store(folder).display())),
    ];
    command.arg("serve").envs(settings).stderr(std::fs::File::create(&log).expect("made"));
    LoggedProcess { child: command.spawn().expect("starts"), log }
}

/// What `serve` logs before it announces its addresses, on the store in `folder`.
async fn said_at_start(refersion: &Refersion, folder: &Path) -> String {
    start_logged(refersion, folder).logged(&["webhook on "]).await
}

#[tokio::test]
async fn a_log_that_another_process_keeps_from_being_emptied_is_reported_once_and_so_is_its_end() {
    let (refersion, folder) = (Refersion::start().await, TempDir::new().expect("a folder"));
    let process = start_logged(&refersion, folder.path());
    process.logged(&["webhook on "]).await;
    let reader = rusqlite::Connection::open(store(folder.path())).expect("opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM meta;").expect("reads");
    process.logged(&["WARN", "cannot compact the store", "another process reads the file"]).await;
    drop(reader);
    let logged = process.logged(&["the store is compacted again"]).await;
    assert_eq!(logged.matches("cannot compact").count(), 1, "{logged}");
}

#[tokio::test]
async fn a_store_copied_without_its_write_ahead_log_is_reported() {
    let (refersion, folder) = (Refersion::start().await, TempDir::new().expect("a folder"));
    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    assert_eq!(process.send(&identify("m1", "u1", &Value::Null)).await.expect("answered").brief(), "200 delivered");
    let copy = TempDir::new().expect("a folder");
    std::fs::copy(store(folder.path()), store(copy.path())).expect("copied");
    let logged = said_at_start(&refersion, copy.path()).await;
    assert!(logged.contains(NO_WAL) && logged.contains("WARN"), "{logged}");
    process.kill();
}

#[tokio::test]
async fn a_store_whose_log_is_not_missing_is_not_reported() {
    let (refersion, folder) = (Refersion::start().await, TempDir::new().expect("a folder"));
    for round in 0..2 {
        serve(&refersion, folder.path(), in_order).await;
        let logged = said_at_start(&refersion, folder.path()).await; // which is killed
        assert!(!logged.contains(NO_WAL) && !logged.contains(READABLE), "{round}: closed in order: {logged}");
        let logged = said_at_start(&refersion, folder.path()).await;
        assert!(!logged.contains(NO_WAL), "{round}: killed: {logged}");
        serve(&refersion, folder.path(), by_kill).await;
    }
    let (backup, place) = (back_up(folder.path(), &[]).await, TempDir::new().expect("a folder"));
    restore(place.path(), &backup).await;
    let logged = said_at_start(&refersion, place.path()).await;
    assert!(
        !logged.contains(NO_WAL) && !logged.contains(READABLE),
        "a backup of a store that was not closed: {logged}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_store_that_other_users_can_read_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let (refersion, folder) = (Refersion::start().await, TempDir::new().expect("a folder"));
    serve(&refersion, folder.path(), in_order).await;
    for (mode, reported) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
        std::fs::set_permissions(store(folder.path()), PermissionsExt::from_mode(mode)).expect("changed");
        let logged = said_at_start(&refersion, folder.path()).await;
        assert_eq!(logged.contains(READABLE), reported, "{mode:o}: {logged}");
        assert_eq!(logged.contains("chmod 600"), reported, "{mode:o}: {logged}");
        // SQLite gave the side files the same mode.
        for side in ["store.db-wal", "store.db-shm"] {
            std::fs::set_permissions(folder.path().join(side), PermissionsExt::from_mode(0o600)).expect("changed");
        }
    }
}
