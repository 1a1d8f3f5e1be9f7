//! The service: the real binary as a process of its own, with the settings of production but for what a part says.
//!
//! Stores lie in the build's own folder, for that is on a disk; a system's folder for temporary files may be in memory,
//! where a sync costs nothing.

use super::event::{API_KEY, Builder, Kind, Proof, SECRET};
use super::process::Process;
use super::refersion::Refersion;
use super::wire::{Connection, get};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The measured binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_refersion-destination");

/// A folder on the disk of the build, removed when dropped.
pub fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

pub struct Service {
    pub process: Process,
    pub server: SocketAddr,
    ops: SocketAddr,
    /// From the start of the process to the first 200 of `/readyz`.
    pub ready_in: Duration,
}

impl Service {
    /// On the store in `folder`, against `base_url`, answering without waiting for the outcome; `settings` win.
    pub fn start(base_url: &str, folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::configured(base_url, folder, settings, None)
    }

    /// The same with a configuration file.
    pub fn configured(base_url: &str, folder: &Path, settings: &[(&str, &str)], file: Option<&Path>) -> Self {
        let store = format!("sqlite://{}", store(folder).display());
        let mut command = Command::new(BINARY);
        command.env_clear().arg("serve").envs([
            ("REFERSION_API_KEY", API_KEY),
            ("REFERSION_BASE_URL", base_url),
            ("SEGMENT_SHARED_SECRETS", SECRET),
            ("SERVER_LISTEN", "127.0.0.1:0"),
            ("SERVER_WAIT", "0s"),
            ("OPS_LISTEN", "127.0.0.1:0"),
            ("STORE_URL", &store),
            ("DELIVERY_MAX_BACKLOG", "100000000"),
        ]);
        command.envs(settings.iter().copied());
        if let Some(file) = file {
            command.arg("--config").arg(file);
        }
        let begun = Instant::now();
        let mut process = Process::start(&mut command);
        let addresses = process.addresses(2);
        let (server, ops) = (addresses[0], addresses[1]);
        while get(ops, "/readyz").is_none_or(|(status, _)| status != 200) {
            std::thread::yield_now();
        }
        Self { process, server, ops, ready_in: begun.elapsed() }
    }

    /// One whose deliveries are at rest: Refersion refuses the key, so the account is halted and keeps its events.
    pub fn at_rest(refusing: &Refersion, folder: &Path) -> Self {
        let hours = [("DELIVERY_RETRY_MIN", "2h"), ("DELIVERY_RETRY_MAX", "2h")];
        let service = Self::start(&refusing.base_url, folder, &hours);
        service.post(1, |requests| requests.next());
        while !service.ready().contains("halted") {
            std::thread::sleep(Duration::from_millis(1));
        }
        service
    }

    fn ready(&self) -> String {
        get(self.ops, "/readyz").expect("an answer").1
    }

    /// How many events wait, dead letters apart.
    pub fn waiting(&self) -> u64 {
        let ready: serde_json::Value = serde_json::from_str(&self.ready()).expect("JSON");
        assert_eq!(ready["dead_letters"], 0, "a delivery failed: the benchmark is wrong");
        ready["waiting"].as_u64().expect("a number")
    }

    /// Waits until nothing waits. Asks seldom, for each answer is a commit of the store's.
    pub fn until_drained(&self) {
        while self.waiting() > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Posts one array (or, of 1, the event by itself), which is taken.
    pub fn post(&self, events: u64, build: impl for<'a> FnOnce(&'a mut Builder) -> &'a [u8]) {
        let mut requests = Builder::new(Kind { proof: Proof::Basic, events });
        build(&mut requests);
        assert_eq!(Connection::open(self.server).exchange(&requests.request), 202);
    }

    /// Posts an identify for each of these users, in arrays of a thousand.
    pub fn post_users(&self, first: u64, count: u64, revision: u64) {
        let mut connection = Connection::open(self.server);
        let mut requests = Builder::new(Kind { proof: Proof::Basic, events: 1000 });
        for from in (first..first + count).step_by(1000) {
            let users = from..(first + count).min(from + 1000);
            let message = super::event::fresh(1000);
            let request = requests.events(users.zip(message..).map(|(user, message)| (message, user, revision)));
            assert_eq!(connection.exchange(request), 202);
        }
    }
}

/// Records an identify for each of these users in the store in `folder`, and leaves them waiting.
pub fn fill(refusing: &Refersion, folder: &Path, first: u64, count: u64, revision: u64) {
    let hours = [("DELIVERY_RETRY_MIN", "2h"), ("DELIVERY_RETRY_MAX", "2h")];
    let service = Service::start(&refusing.base_url, folder, &hours);
    service.post_users(first, count, revision);
    service.process.stop();
}

/// The store's file.
pub fn store(folder: &Path) -> PathBuf {
    folder.join("store.db")
}

/// The bytes of the store on disk, its log included.
pub fn store_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable"));
    let of_store = files.filter(|entry| entry.file_name().to_string_lossy().starts_with("store.db"));
    of_store.map(|entry| entry.metadata().expect("readable").len()).sum()
}
