//! Opening the file: folder, lock, tables, and what an interrupted process left behind.

use super::counts::Counts;
use super::lane;
use super::older;
use super::recent::Recent;
use super::schema;
use super::writer::Store;
use crate::domain::HashKey;
use rand::Rng;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the lock file cannot be made.
    #[error("cannot make {path}: {source}; is the folder writable for this user?")]
    Create {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the file open.
    #[error(
        "{0} is in use by another process of this service; one store serves one process (stop it, or set STORE_URL)"
    )]
    InUse(PathBuf),
    /// The file was made by a newer release.
    #[error("{path} was made by a newer release (version {found} of its tables); start that release instead")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        found: i64,
    },
    /// SQLite refuses the file.
    #[error("cannot open {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// Opens `path` for this process alone.
pub fn open(path: &Path) -> Result<(Store, HashKey), OpenError> {
    let lock = lock(path)?;
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    private(path)?;
    let mut connection = Connection::open(path).map_err(sqlite)?;
    schema::prepare(&connection).map_err(sqlite)?;
    let mut new_key = [0; 32];
    rand::rng().fill_bytes(&mut new_key);
    if let Some(found) = older::migrate(&mut connection, &new_key).map_err(sqlite)? {
        return Err(OpenError::Newer { path: path.to_owned(), found });
    }
    let key = read_hash_key(&connection).map_err(sqlite)?;
    let store = recover(connection, lock).map_err(sqlite)?;
    Ok((store, HashKey::new(&key)))
}

/// A process that is ending, or a child of one that was not quite started, may hold the lock for a moment yet.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Takes the lock that says who owns the file. The system gives it back when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, OpenError> {
    let create = |path: &Path, source| OpenError::Create { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| create(folder, source))?;
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
    let file = open.map_err(|source| create(&lock_path, source))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN_TRIES),
            Err(TryLockError::Error(source)) => return Err(create(&lock_path, source)),
        }
    }
    Err(OpenError::InUse(path.to_owned()))
}

/// Makes the file readable for this user only: bodies that wait are personal data.
fn private(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|source| OpenError::Create { path: path.to_owned(), source })
}

fn read_hash_key(connection: &Connection) -> rusqlite::Result<[u8; 32]> {
    connection.query_row("SELECT value FROM meta WHERE name = 'hash_key'", [], |row| row.get(0))
}

fn recover(connection: Connection, lock: File) -> rusqlite::Result<Store> {
    free_what_was_leased(&connection)?;
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let waiting_of = waiting(&connection)?;
    let waiting = waiting_of.values().sum();
    let dead = count("SELECT count(*) FROM dead_letters")?.unsigned_abs();
    let last = count(
        "SELECT max(coalesce((SELECT max(seq) FROM events), 0), coalesce((SELECT max(seq) FROM dead_letters), 0),
                    coalesce((SELECT value FROM meta WHERE name = 'last_letter'), 0))",
    )?;
    // Tickets of an ended process are void: they have other numbers.
    let next_claim = i64::from(rand::random::<u32>()) << 24;
    let counts = Counts { waiting, waiting_of, dead, next_seq: last + 1, next_claim };
    let recent = Recent::read(&connection)?;
    Ok(Store { connection, counts, recent, walked: Vec::new(), _lock: lock })
}

/// How many events of each account wait. Kept, for there may be a million to count.
fn waiting(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut statement = connection.prepare("SELECT account, events FROM waiting")?;
    let waiting = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    waiting.collect()
}

/// Frees what an ended process had leased: the lock proves that nobody works on it any more.
pub fn free_what_was_leased(connection: &Connection) -> rusqlite::Result<()> {
    let mut leases = connection.prepare("SELECT seq, progress FROM leases")?;
    let leased = leases.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let leased = leased.collect::<rusqlite::Result<Vec<(i64, Option<String>)>>>()?;
    connection.execute("DELETE FROM leases", [])?;
    let sql = "UPDATE events SET interrupted = 1, progress = coalesce(?2, progress) WHERE seq = ?1
               RETURNING coalesce(lane, seq)";
    let mut interrupt = connection.prepare(sql)?;
    for event in leased {
        interrupt.query_row(event, |row| row.get(0)).and_then(|lane| lane::move_up(connection, lane))?;
    }
    Ok(())
}
