//! Opening the file: makes the folder, takes the lock, creates or migrates the tables, and reads the writer's state.
//!
//! In: a path. Out: a [`Database`] for the writer. Invariant: a file is open in one process at most; the operating system
//! releases its lock when the process ends.

use super::checkpoint::Checkpoints;
use super::older_ids;
use super::schema;
use super::writer::Database;
use super::writer_state::{AccountNumber, Backlog, WriterState};
use super::{migrate_v5, migrate_v6};
use crate::domain::{AccountName, HashKey, Seq};
use crate::store::StoreStatus;
use crate::store::log_limit::LogLimit;
use crate::store::published::{Counts, Published};
use crate::store::recent_keys::RecentKeys;
use rand::Rng;
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder, a file or the writer's thread cannot be made.
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
    /// The file was made by a release that is too old for this one.
    #[error(
        "{path} was made by an older release (version {found} of its tables), and this one reads version 5 and later; start \
         release 0.1.0 of this service once with this store, which brings it to version 5, then start this one again"
    )]
    Older {
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

/// Opens `path` for this process alone. The deduplication index uses `deduplication_memory` bytes at most.
pub fn open(path: &Path, deduplication_memory: usize) -> Result<Database, OpenError> {
    let lock = lock(path)?;
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    make_private(path)?;
    let mut connection = Connection::open(path).map_err(sqlite)?;
    schema::prepare_writer(&connection).map_err(sqlite)?;
    match version(&connection).map_err(sqlite)? {
        0 => create(&mut connection).map_err(sqlite)?,
        found @ 1..5 => return Err(OpenError::Older { path: path.to_owned(), found }),
        5 => migrate_v5::migrate_file(&mut connection).map_err(sqlite)?,
        6 => migrate_v6::migrate_file(&mut connection).map_err(sqlite)?,
        schema::VERSION => {}
        found => return Err(OpenError::Newer { path: path.to_owned(), found }),
    }
    let state = read_state(&connection, deduplication_memory).map_err(sqlite)?;
    let checkpoints = Checkpoints::start(path, &mut connection)
        .map_err(|source| OpenError::Create { path: path.to_owned(), source })?;
    Ok(Database { checkpoints, connection, state, failures: LogLimit::default(), lock })
}

/// A process that is ending may hold the lock for a moment longer.
const LOCK_TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Takes the lock of the process that owns the file. The operating system releases it when the process ends, even by a crash.
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
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN_TRIES),
            Err(TryLockError::Error(source)) => return Err(create(&lock_path, source)),
        }
    }
    Err(OpenError::InUse(path.to_owned()))
}

/// Makes the file readable for this user only: bodies are personal data. SQLite gives its other files the same mode.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|source| OpenError::Create { path: path.to_owned(), source })
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let mut hash_key = [0; 32];
    rand::rng().fill_bytes(&mut hash_key);
    let transaction = connection.transaction()?;
    schema::create(&transaction, &hash_key)?;
    transaction.commit()
}

fn read_state(connection: &Connection, deduplication_memory: usize) -> rusqlite::Result<WriterState> {
    let hash_key: [u8; 32] =
        connection.query_row("SELECT value FROM meta WHERE name = 'hash_key'", [], |row| row.get(0))?;
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    // The highest seqs are read as well, so that a file that was edited by hand gives none twice.
    let last =
        count("SELECT max(coalesce((SELECT max(seq) FROM log), 0), coalesce((SELECT max(seq) FROM dead_letters), 0))")?;
    let next_seq = schema::meta(connection, "next_seq")?.max(last + 1).max(1);
    let dead = count("SELECT count(*) FROM dead_letters")?.unsigned_abs();
    let ids = older_ids::load(connection, deduplication_memory)?;
    let (accounts, backlogs) = read_accounts(connection)?;
    let pending: BTreeMap<String, u64> = backlogs
        .values()
        .filter(|backlog| backlog.pending > 0)
        .map(|backlog| (backlog.name.as_str().to_owned(), backlog.pending))
        .collect();
    let status = StoreStatus { pending: pending.values().sum(), dead, write_error: None };
    Ok(WriterState {
        hash: HashKey::new(&hash_key),
        accounts,
        backlogs,
        ids,
        new_ids: HashMap::new(),
        older_ids: older_ids::exist(connection)?,
        former_ids_below: schema::former_ids_below(connection)?,
        next_seq,
        reserved: next_seq,
        journal: Vec::new(),
        published: Arc::new(Published::new(Counts { status, pending, last_seq: next_seq - 1 })),
    })
}

type Accounts = (HashMap<AccountName, AccountNumber>, HashMap<AccountNumber, Backlog>);

/// The accounts and their backlogs, counted in the index of pending events.
fn read_accounts(connection: &Connection) -> rusqlite::Result<Accounts> {
    let (mut accounts, mut backlogs) = (HashMap::new(), HashMap::new());
    let mut statement = connection.prepare("SELECT account, name FROM accounts")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (number, name) = (row.get(0)?, AccountName::from(row.get::<_, String>(1)?));
        accounts.insert(name.clone(), number);
        backlogs.insert(number, Backlog { name, pending: 0, last: Seq(0), recent: RecentKeys::default() });
    }
    let sql =
        "SELECT account, count(*), max(seq) FROM log INDEXED BY log_waiting WHERE outcome IS NULL GROUP BY account";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(backlog) = backlogs.get_mut(&row.get(0)?) {
            (backlog.pending, backlog.last) = (row.get::<_, i64>(1)?.unsigned_abs(), Seq(row.get(2)?));
            backlog.recent = RecentKeys::after(backlog.last);
        }
    }
    Ok((accounts, backlogs))
}
