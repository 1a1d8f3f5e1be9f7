//! A disk that is full, and has room again.
//!
//! The store lies on a small file system of its own, which only root may mount; without that right the test says so and
//! claims nothing.

use super::drained;
use crate::support::process::{Process, binary};
use crate::support::service::Refersion;
use crate::support::{API_KEY, identify, say_skipped, within};
use refersion_destination::sandbox::SandboxSettings;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Unmounts when the test ends, however it ends.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// A file system of 16 MiB at `path`, four times what the log of the store takes; none where that is not allowed.
    fn at(path: &'a Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(path).output().ok()?;
        mount.status.success().then_some(Self(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Lazily, for a test that failed may have files open. Err: there is nothing to be done about it here.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Takes all the room there is.
fn fill(path: &Path) {
    let mut filler = File::create(path).expect("a file");
    for size in [65_536, 4_096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Event `number`, of one of seven users; large enough that the log of the store has to grow.
fn event(number: usize) -> Value {
    let traits = json!({"city": city(number), "x": "x".repeat(20_000)});
    identify(&format!("m{number}"), &format!("u{}", number % 7), &traits)
}

fn city(number: usize) -> String {
    format!("City {number:04}")
}

fn start(refersion: &Refersion, folder: &Path) -> Process {
    let settings = [("SERVER_WAIT", "0s"), ("LOG_FILTER", "warn,refersion_destination=info")];
    Process::start(&refersion.base_url, folder, &settings)
}

/// Sends 30 events, fills the disk, and sends more until some were refused; how many were sent.
async fn until_refused(process: &Process, filler: &Path) -> usize {
    for number in 0..30 {
        assert_eq!(within(process.send(&event(number))).await.expect("answered").status, 202);
    }
    fill(filler);
    let mut refused = 0;
    for number in 30..1_000 {
        let answer = within(process.send(&event(number))).await.expect("answered");
        if answer.status == 503 {
            assert_eq!(answer.brief(), "503 unavailable");
            assert_eq!(answer.headers["retry-after"], "5");
            refused += 1;
        } else {
            assert_eq!(answer.status, 202, "{}", answer.text);
        }
        if refused == 5 {
            return number + 1;
        }
    }
    panic!("the disk is not full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_events_are_refused_and_once_there_is_room_they_are_accepted() {
    for killed in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(_mounted) = Mounted::at(folder.path()) else {
            say_skipped("this user may not mount a small file system");
            return;
        };
        let filler = folder.path().join("filler");
        // Slow enough that deliveries are in flight, and have to be settled, while the disk is full.
        let slow = SandboxSettings { latency: Duration::from_millis(50), ..SandboxSettings::default() };
        let refersion = Refersion::with(slow).await;
        let mut process = start(&refersion, folder.path());
        let count = until_refused(&process, &filler).await;
        if killed {
            process.kill();
            assert_eq!(refused_to_start(&refersion, folder.path()), "database or disk is full");
            let wal = folder.path().join("store.db-wal");
            assert!(wal.exists(), "else the next start says that the store was copied without its log");
            std::fs::remove_file(filler).expect("removed");
            process = start(&refersion, folder.path());
        } else {
            std::fs::remove_file(filler).expect("removed");
        }
        for number in 0..count {
            // Segment sends again what was refused; here what was accepted comes again as well.
            let answer = within(process.send(&event(number))).await.expect("answered");
            let expected = if number < 30 { "200 duplicate" } else { "202 accepted" };
            assert!(answer.brief() == expected || number >= 30 && answer.status == 200, "{number}: {}", answer.text);
        }
        assert_eq!(drained(&process).await["dead_letters"], 0);
        process.kill();
        let affiliates = refersion.sandbox.affiliates();
        assert_eq!(affiliates.len(), 7);
        for affiliate in affiliates {
            let user: usize = affiliate.field("unique_merchant_id")[1..].parse().expect("a number");
            let last = (0..count).rev().find(|number| number % 7 == user).expect("somebody's");
            assert_eq!(affiliate.field("city"), city(last), "killed: {killed}");
        }
    }
}

/// Without its handler for it, the process would be ended by the system (SIGXFSZ).
#[cfg(target_os = "linux")]
#[tokio::test]
async fn events_are_refused_while_a_file_may_not_grow_and_accepted_once_it_may() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let folder = tempfile::tempdir().expect("a folder");
    let refersion = Refersion::start().await;
    let settings = [("SERVER_WAIT", "0s")];
    let process = Process::start_under("ulimit -S -f 4096", &refersion.base_url, folder.path(), &settings);
    let (mut accepted, mut refused) = (0, 0);
    loop {
        let answer = within(process.send(&event(accepted))).await.expect("answered");
        if answer.status == 202 {
            accepted += 1;
            assert!(accepted < 10_000, "the file may grow");
            continue;
        }
        assert_eq!(answer.brief(), "503 unavailable");
        // A settlement may be small enough to be committed after it, and then the service is ready until the next refusal.
        if within(process.ready()).await.status == 503 {
            break;
        }
        refused += 1;
        assert!(refused < 100, "it is ready after each refusal");
    }
    let pid = i32::try_from(process.child.id()).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).expect("allowed");
    let send = || async { process.send(&event(accepted)).await.expect("answered").status };
    within(crate::support::poll_until(send, |status| *status == 202)).await;
    assert_eq!(drained(&process).await["dead_letters"], 0);
    for affiliate in refersion.sandbox.affiliates() {
        let user: usize = affiliate.field("unique_merchant_id")[1..].parse().expect("a number");
        let last = (0..=accepted).rev().find(|number| number % 7 == user).expect("somebody's");
        assert_eq!(affiliate.field("city"), city(last));
    }
}

/// Why the service does not start, as it says after the name of the store.
fn refused_to_start(refersion: &Refersion, folder: &Path) -> String {
    let store = folder.join("store.db");
    let mut command = binary();
    command.arg("serve").env("REFERSION_API_KEY", API_KEY).env("REFERSION_BASE_URL", &refersion.base_url);
    command.env("SERVER_LISTEN", "127.0.0.1:0").env("OPS_LISTEN", "127.0.0.1:0");
    let ended = command.env("STORE_URL", format!("sqlite://{}", store.display())).output().expect("ends");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).expect("text");
    let before = format!("refersion-destination: cannot open {}: ", store.display());
    said.trim_end().strip_prefix(&before).unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// SQLite refuses every event.
const REFUSE: &str = "CREATE TRIGGER refuse BEFORE INSERT ON bodies BEGIN SELECT RAISE(ABORT, 'refused'); END";

/// While the disk is full, requests and settlements go on for a while: each of their commits fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_logged_once_and_readyz_says_so_from_the_first_failed_commit_to_the_first_good_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(_mounted) = Mounted::at(folder.path()) else {
        say_skipped("this user may not mount a small file system");
        return;
    };
    let filler = folder.path().join("filler");
    let slow = SandboxSettings { latency: Duration::from_millis(50), ..SandboxSettings::default() };
    let refersion = Refersion::with(slow).await;
    let process = start(&refersion, folder.path());
    let mut number = 0;
    let mut send = async || {
        number += 1;
        within(process.send(&event(number))).await.expect("answered").status
    };
    // What was logged of another failure just before says nothing of the disk.
    let outside = rusqlite::Connection::open(folder.path().join("store.db")).expect("opens");
    outside.execute_batch(REFUSE).expect("the trigger is there");
    assert_eq!(send().await, 503);
    outside.execute_batch("DROP TRIGGER refuse").expect("the trigger is gone");
    for _ in 0..30 {
        assert_eq!(send().await, 202);
    }
    fill(&filler);
    let (mut refused, mut unready, began) = (0, 0, Instant::now());
    within(async {
        while refused <= 10 || began.elapsed() < Duration::from_secs(1) {
            if send().await == 503 {
                refused += 1;
                unready += usize::from(process.ready().await.status == 503);
            }
        }
    })
    .await;
    std::fs::remove_file(&filler).expect("removed");
    assert_eq!((send().await, process.ready().await.status), (202, 200), "there is room again");
    assert_eq!(drained(&process).await["dead_letters"], 0);
    process.terminate();
    let (status, logged) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{logged}");
    let lines = |what: &str| logged.lines().filter(|line| line.contains(what)).count();
    let full = lines("database or disk is full") - lines("cannot compact the store");
    let again = lines("the store can be written again");
    // That small commits find room now and then is no fault; each such change may be logged.
    assert!(full == again && (1..4).contains(&full), "{refused} refused: {logged}");
    assert_eq!(lines("ERROR"), full + 1, "{logged}");
    assert!(refused - unready < again, "ready {} times without a good commit: {logged}", refused - unready);
    eprintln!("{refused} requests refused while the disk was full: {full} lines, unready {unready} times");
}
