//! PostgreSQL for tests: a throw-away server, and in it a schema of its own for every test.
//!
//! The server of `DATABASE_URL` is used if that is set. Otherwise the binaries are looked for in `PATH` and where Debian keeps them, and a
//! server is started once for all tests, in a temporary folder, on a Unix socket; as an unprivileged user, since PostgreSQL
//! refuses to be run by root. Without binaries the tests print that they are skipped. A server ends with the process that
//! started it, however that ends: a shell waits for the end of its input, which is this process's end of a pipe.

use super::skipped::say_skipped;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server that has to recover from a crash takes some seconds.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What a server is started for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is synced: fast, and enough where no server is killed.
    None,
    /// As in production.
    Full,
}

/// A server that can be stopped, killed and started again.
pub struct Server {
    folder: TempDir,
    binaries: PathBuf,
    durability: Durability,
    /// It also listens here, with TLS.
    port: Option<u16>,
    process: Option<Child>,
    /// The first of its own processes.
    pid: u32,
}

/// The shell that starts a program and ends it by the signal that it reads. If its input ends, the process that started it has, and
/// the folder is removed.
const UNTIL_END_OF_INPUT: &str = r#"
    folder=$1
    shift
    exec 3<&0
    "$@" </dev/null 3<&- &
    pid=$!
    echo $pid
    read -r signal <&3
    kill -"${signal:-QUIT}" $pid
    kill -CONT $pid
    wait $pid
    [ -n "$signal" ] || rm -rf "$folder"
"#;

impl Server {
    /// Starts a server with an empty data folder. `None`: there are no binaries.
    pub fn start(durability: Durability) -> Option<Self> {
        Self::start_with(durability, None)
    }

    /// The same, which also listens on a port of the loopback interface, with TLS: `certificate` and `key` are PEM.
    pub fn start_with_tls(certificate: &str, key: &str) -> Option<Self> {
        Self::start_with(Durability::None, Some((certificate, key)))
    }

    /// The server that tests share, whose folder has a copy of its empty data folder for the other servers. `None`: there are no
    /// binaries.
    fn start_shared() -> Option<Self> {
        let mut server = Self::stopped(Durability::None)?;
        server.initdb();
        copy(&server.data(), &server.template());
        server.run();
        Some(server)
    }

    fn start_with(durability: Durability, tls: Option<(&str, &str)>) -> Option<Self> {
        let mut server = Self::stopped(durability)?;
        match shared() {
            // A copy takes a fraction of the time.
            Some(Shared::Started(shared)) => copy(&shared.template(), &server.data()),
            _ => server.initdb(),
        }
        if let Some((certificate, key)) = tls {
            for (name, content) in [("server.crt", certificate), ("server.key", key)] {
                let path = server.data().join(name);
                std::fs::write(&path, content).expect("written");
                std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("made private");
                give_away(&path);
            }
        }
        // Free a moment ago: the system gives the next one to the next who asks.
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        server.port = tls.map(|_| free().expect("a port").port());
        server.run();
        Some(server)
    }

    /// One without a data folder. `None`: there are no binaries.
    fn stopped(durability: Durability) -> Option<Self> {
        let Some(binaries) = binaries() else {
            say_skipped("there is no PostgreSQL here (neither DATABASE_URL nor the server's binaries)");
            return None;
        };
        let folder = TempDir::with_prefix("pg-").expect("a folder");
        give_away(folder.path());
        Some(Self { folder, binaries, durability, port: None, process: None, pid: 0 })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn template(&self) -> PathBuf {
        self.folder.path().join("template")
    }

    /// Makes an empty data folder.
    fn initdb(&self) {
        let mut initdb = as_unprivileged(&self.binaries.join("initdb"));
        initdb.args(["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--username=postgres", "-D"]);
        let made = initdb.arg(self.data()).current_dir(self.folder.path()).output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Starts a standby of this server, which follows it from now on.
    pub fn standby(&self) -> Self {
        let mut standby = Self::stopped(self.durability).expect("the binaries are there");
        let mut copy = as_unprivileged(&self.binaries.join("pg_basebackup"));
        copy.args(["--username=postgres", "--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--pgdata"]);
        copy.arg(standby.data()).arg("--host").arg(self.folder.path()).current_dir(standby.folder.path());
        let copied = copy.output().expect("pg_basebackup runs");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        standby.run();
        standby
    }

    /// Makes a standby a primary: `pg_ctl promote`.
    pub fn promote(&self) {
        let mut promote = as_unprivileged(&self.binaries.join("pg_ctl"));
        promote.args(["promote", "-w", "-D"]).arg(self.data()).current_dir(self.folder.path());
        let promoted = promote.output().expect("pg_ctl runs");
        assert!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stdout));
    }

    /// Stops all its processes where they are: connections stay open, the system accepts further ones, and nothing is answered.
    pub fn freeze(&self) {
        // The first one starts the others: it is stopped before they are listed.
        signal("STOP", &[self.pid]);
        signal("STOP", &children_of(self.pid));
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        signal("CONT", &self.processes());
    }

    /// Starts it again, after it was stopped or killed.
    pub fn run(&mut self) {
        let folder = self.folder.path();
        let mut shell = until_end_of_input(folder, &self.binaries.join("postgres"));
        shell.arg("-D").arg(self.data()).arg("-k").arg(folder);
        match self.port {
            // The name of the socket has the port in it; that of every other server has the usual one.
            Some(port) => shell.args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on", "-p", &port.to_string()]),
            None => shell.args(["-c", "listen_addresses="]),
        };
        shell.args(["-c", "max_connections=500", "-c", "shared_buffers=64MB", "-c", "log_min_messages=fatal"]);
        if self.durability == Durability::None {
            shell.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
        let (process, pid) = spawn(shell.stderr(log));
        (self.process, self.pid) = (Some(process), pid);
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        loop {
            let mut ready = Command::new(self.binaries.join("pg_isready"));
            ready.arg("-q").arg("-h").arg(self.folder.path());
            ready.args(self.port.map(|port| format!("--port={port}")));
            if ready.status().expect("pg_isready runs").success() {
                return;
            }
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < TEST_TIMEOUT, "the server did not start: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it in order, without waiting for its clients: they lose their connections.
    pub fn stop(&mut self) {
        self.end("INT");
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.end("QUIT");
    }

    fn end(&mut self, signal: &str) {
        let Some(process) = self.process.take() else { return };
        self.thaw();
        end(process, signal);
    }

    /// Where it listens with TLS.
    pub fn port(&self) -> u16 {
        self.port.expect("it was started with TLS")
    }

    /// The ids of its processes.
    pub fn processes(&self) -> Vec<u32> {
        [vec![self.pid], children_of(self.pid)].concat()
    }

    /// The folder of its socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        url_of(self.folder())
    }
}

/// A shell that runs this program as an unprivileged user until this process ends; then the folder is removed. Arguments of the program are
/// to be added.
pub fn until_end_of_input(folder: &Path, program: &Path) -> Command {
    let mut shell = as_unprivileged(Path::new("/bin/sh"));
    shell.args(["-c", UNTIL_END_OF_INPUT, "sh"]).arg(folder).arg(program);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir(folder);
    shell
}

/// Starts such a shell; returns it and the process id of the program.
pub fn spawn(shell: &mut Command) -> (Child, u32) {
    let mut process = shell.spawn().expect("the shell runs");
    let mut pid = String::new();
    let output = process.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut pid).expect("the program's process id");
    (process, pid.trim().parse().expect("a number"))
}

/// Ends the program by a signal, and waits for its end.
pub fn end(mut process: Child, signal: &str) {
    let mut input = process.stdin.take().expect("piped");
    std::io::Write::write_all(&mut input, format!("{signal}\n").as_bytes()).expect("the shell waits");
    process.wait().expect("it ends");
}

/// The URL of the database of the server whose socket is in this folder.
pub fn url_of(folder: &Path) -> String {
    url_of_either(&[folder])
}

/// The URL of the database of whichever of these servers is the primary.
pub fn url_of_either(folders: &[&Path]) -> String {
    let hosts = folders.iter().map(|folder| folder.to_str().expect("text").replace('/', "%2F"));
    let attributes = if folders.len() > 1 { "?target_session_attrs=read-write" } else { "" };
    format!("postgres://postgres@{}/postgres{attributes}", hosts.collect::<Vec<_>>().join(","))
}

fn signal(name: &str, processes: &[u32]) {
    let pids: Vec<String> = processes.iter().map(ToString::to_string).collect();
    if !pids.is_empty() {
        // It fails for a process that has ended meanwhile.
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", pids.join(" "))]).output();
        kill.expect("a shell");
    }
}

/// The processes that this one has started.
fn children_of(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_parent = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&parent.to_string())
    };
    pids.filter(has_parent).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The URL of a schema of its own, on the server that all tests share. `None`: there is none, and the caller is skipped.
pub fn new_schema() -> Option<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("it_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Some(schema_of(&shared_server()?, &name))
}

/// The URL of a schema of this name, which is made, in the database of `url`.
pub fn schema_of(url: &str, name: &str) -> String {
    let (url, create) = (url.to_owned(), format!("CREATE SCHEMA {name}"));
    let separator = if url.contains('?') { '&' } else { '?' };
    let of_schema = format!("{url}{separator}options=-c%20search_path%3D{name}");
    // On a thread of its own: the caller may be within a runtime.
    let make = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            connect(&url).await.batch_execute(&create).await.expect("made");
        });
    });
    make.join().expect("the schema is made");
    of_schema
}

/// A session of the test's own.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connected");
    tokio::spawn(connection);
    client
}

/// `url` with the user `role`. `None`: the server is another one, whose user may not be allowed to make roles.
pub fn url_of_role(url: &str, role: &str) -> Option<String> {
    let of_role = url.replacen("postgres@", &format!("{role}@"), 1);
    (of_role != url).then_some(of_role)
}

/// The statements that make `role` with the rights on the schema that the operators' guide names.
pub fn role_sql(role: &str) -> String {
    format!(
        "CREATE ROLE {role} LOGIN;
         DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema());
         EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO {role}', current_schema());
         GRANT USAGE ON SEQUENCE log_seq TO {role}; END $$"
    )
}

/// The URL of the server that all tests share.
fn shared_server() -> Option<String> {
    shared().map(|shared| match shared {
        Shared::Given(url) => url.clone(),
        Shared::Started(server) => server.url(),
    })
}

/// That server, which the first call starts.
fn shared() -> Option<&'static Shared> {
    static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
    let start = || match std::env::var("DATABASE_URL") {
        Ok(url) => Some(Shared::Given(url)),
        Err(_) => Server::start_shared().map(Shared::Started),
    };
    SHARED.get_or_init(start).as_ref()
}

enum Shared {
    Given(String),
    Started(Server),
}

/// The folder with the server's programs.
fn binaries() -> Option<PathBuf> {
    let in_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin"));
    let has_all =
        |folder: &PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|program| folder.join(program).is_file());
    in_path.chain(debian).find(has_all)
}

/// The user and group to which a test run by root switches; they are in the list of users, as initdb asks for.
fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the list of users");
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody"))
}

/// Copies a folder of the unprivileged user.
fn copy(from: &Path, to: &Path) {
    let copied =
        as_unprivileged(Path::new("cp")).arg("-R").args([from, to]).current_dir("/").status().expect("cp runs");
    assert!(copied.success());
}

/// Makes that user the owner of a file.
pub fn give_away(path: &Path) {
    if let Some((uid, gid)) = unprivileged() {
        chown(path, Some(uid), Some(gid)).expect("given away");
    }
}

fn as_unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    command
}
