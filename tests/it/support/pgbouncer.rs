//! PgBouncer for tests: a throw-away pooler in transaction mode before a server, set up as `config/README.md` says.
//!
//! Without the program the tests print that they are skipped.

use super::postgres::{end, give_away, spawn, until_end_of_input, url_of};
use super::{TEST_TIMEOUT, say_skipped};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Fewer sessions than a process has connections, so that each transaction is in another one.
const SESSIONS: usize = 3;

/// A pooler that can be killed and started again.
pub struct PgBouncer {
    folder: TempDir,
    program: PathBuf,
    process: Option<Child>,
}

impl PgBouncer {
    /// Starts a pooler before the server whose socket is in this folder. Its sessions have the settings of the manual, or none. `None`:
    /// there is no such program.
    pub fn start(server: &Path, with_settings: bool) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let Some(program) =
            folders.find_map(|folder| Some(folder.join("pgbouncer")).filter(|program| program.is_file()))
        else {
            say_skipped("there is no pgbouncer here");
            return None;
        };
        let folder = TempDir::with_prefix("pgb-").expect("a folder");
        give_away(folder.path());
        let (socket, own) = (server.display(), folder.path().display());
        let settings = if with_settings { format!("connect_query='{}'", connect_query()) } else { String::new() };
        // The name of the socket is that of PostgreSQL's own.
        let content = format!(
            "[databases]\npostgres = host={socket} user=postgres {settings}\n[pgbouncer]\npool_mode = transaction\n\
             default_pool_size = {SESSIONS}\nauth_type = any\nunix_socket_dir = {own}\nlisten_port = 5432\nlogfile = {own}/log\n"
        );
        std::fs::write(folder.path().join("ini"), content).expect("written");
        let mut pooler = Self { folder, program, process: None };
        pooler.run();
        Some(pooler)
    }

    /// Starts it again, after it was killed.
    pub fn run(&mut self) {
        let folder = self.folder.path();
        let (process, _) = spawn(until_end_of_input(folder, &self.program).arg("-q").arg(folder.join("ini")));
        self.process = Some(process);
        let began = Instant::now();
        while UnixStream::connect(folder.join(".s.PGSQL.5432")).is_err() {
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < TEST_TIMEOUT, "pgbouncer did not start: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it: every connection to it breaks.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            end(process, "KILL");
        }
    }

    /// The URL of the store behind it.
    pub fn url(&self) -> String {
        format!("{}?pgbouncer=true", url_of(self.folder.path()))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The statements that the manual gives PgBouncer for each of its sessions.
fn connect_query() -> String {
    let manual = std::fs::read_to_string("config/README.md").expect("the manual");
    let (_, rest) = manual.split_once("connect_query='").expect("the manual sets PgBouncer up");
    rest.split_once('\'').expect("a quoted value").0.to_owned()
}
