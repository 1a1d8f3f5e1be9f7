//! The service: the real binary as a process of its own, with the default settings except for those that a part changes.
//!
//! Stores lie in the build's own folder, which is on a disk; a system's folder for temporary files may be in memory,
//! where a sync costs nothing.

use super::builds::Build;
use super::event::{API_KEY, SECRET};
use super::load::Target;
use super::process::Process;
use super::refersion::Refersion;
use super::requests::{Kind, Requests, of_events};
use super::wire::{Connection, get};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder on the disk of the build, removed when dropped.
pub fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// The name of the store's file.
const STORE: &str = "store.db";
/// Settings with which a rejected key is not tried again while a part is measured.
const RARELY: [(&str, &str); 2] = [("DELIVERY_RETRY_MIN", "2h"), ("DELIVERY_RETRY_MAX", "2h")];

pub struct Service {
    pub process: Process,
    server: SocketAddr,
    ops: SocketAddr,
    /// From the start of the process to the first 200 of `/readyz`.
    pub ready_in: Duration,
}

impl Service {
    /// On the store in `folder`, against `base_url`, answering without waiting for the outcome; `settings` win.
    pub fn start(build: &Build, base_url: &str, folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::configured(build, base_url, folder, settings, None)
    }

    /// The same with a configuration file.
    pub fn configured(
        build: &Build,
        base_url: &str,
        folder: &Path,
        settings: &[(&str, &str)],
        file: Option<&Path>,
    ) -> Self {
        Self::on(build, base_url, &url_of(folder), settings, file)
    }

    /// The same on the store of this URL.
    fn on(build: &Build, base_url: &str, store: &str, settings: &[(&str, &str)], file: Option<&Path>) -> Self {
        let mut command = Command::new(&build.program);
        command.env_clear().arg("serve").envs([
            ("REFERSION_API_KEY", API_KEY),
            ("REFERSION_BASE_URL", base_url),
            ("SEGMENT_SHARED_SECRETS", SECRET),
            ("SERVER_LISTEN", "127.0.0.1:0"),
            ("SERVER_WAIT", "0s"),
            ("OPS_LISTEN", "127.0.0.1:0"),
            ("STORE_URL", store),
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

    /// One whose deliveries are at rest: Refersion rejects the key, so the account is halted and keeps its events.
    pub fn at_rest(build: &Build, refusing: &Refersion, folder: &Path) -> Self {
        Self::at_rest_on(build, refusing, &url_of(folder))
    }

    /// The same on the store of this URL.
    pub fn at_rest_on(build: &Build, refusing: &Refersion, store: &str) -> Self {
        let service = Self::on(build, &refusing.base_url, store, &RARELY, None);
        service.post(Kind::new(1));
        while !service.ready().contains("halted") {
            std::thread::sleep(Duration::from_millis(1));
        }
        service
    }

    /// One more on the store of this URL, beside one at rest: the account stays halted, whoever owns it.
    pub fn beside_one_at_rest(build: &Build, refusing: &Refersion, store: &str) -> Self {
        Self::on(build, &refusing.base_url, store, &RARELY, None)
    }

    fn ready(&self) -> String {
        get(self.ops, "/readyz").expect("an answer").1
    }

    /// The number of pending events.
    pub fn pending(&self) -> u64 {
        let ready: serde_json::Value = serde_json::from_str(&self.ready()).expect("JSON");
        assert_eq!(ready["dead_letters"], 0, "a delivery failed: the benchmark is wrong");
        // Releases before 0.4.0 call it `waiting`.
        let pending = ready["pending"].as_u64().or_else(|| ready["waiting"].as_u64());
        pending.expect("a number")
    }

    /// Waits until no event is pending. It polls seldom, so that polling costs little.
    pub fn until_drained(&self) {
        while self.pending() > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The target for load on this service; its requests are answered before the outcome is known.
    pub fn target(&self, kind: Kind) -> Target {
        Target { address: self.server, clock: self.process.clock(), kind, status: 202 }
    }

    /// A connection for single requests.
    pub fn connect(&self) -> Connection {
        Connection::open(self.server)
    }

    /// Posts one request, which is accepted.
    pub fn post(&self, kind: Kind) {
        assert_eq!(self.connect().exchange(Requests::new(kind).next()), 202);
    }

    /// Posts an identify for each of these users, in arrays of a thousand.
    pub fn post_users(&self, first: u64, count: u64, revision: u64) {
        let mut connection = self.connect();
        for from in (first..first + count).step_by(1000) {
            let users = from..(first + count).min(from + 1000);
            let message = super::event::fresh(1000);
            let events = users.zip(message..).map(|(user, message)| (message, user, revision));
            assert_eq!(connection.exchange(&of_events(Kind::new(1000), events)), 202);
        }
    }
}

/// The URL of the store in a folder.
fn url_of(folder: &Path) -> String {
    format!("sqlite://{}", folder.join(STORE).display())
}

/// Stores an identify for each of these users in the store in `folder`, and leaves them pending.
pub fn fill(build: &Build, refusing: &Refersion, folder: &Path, users: Range<u64>, revision: u64) {
    let service = Service::start(build, &refusing.base_url, folder, &RARELY);
    service.post_users(users.start, users.end - users.start, revision);
    service.process.stop();
}

/// Copies a store that no process has open.
pub fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("room on the disk");
    }
}

/// The bytes of the store on disk, its log included.
pub fn store_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable"));
    let of_store = files.filter(|entry| entry.file_name().to_string_lossy().starts_with(STORE));
    of_store.map(|entry| entry.metadata().expect("readable").len()).sum()
}
