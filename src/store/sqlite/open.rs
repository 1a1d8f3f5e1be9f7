//! Opening the file at startup: it makes the folder, takes the lock, creates or migrates the tables, and reads the writer's state (SQLite
//! itself recovers after a crash, from the WAL).
//!
//! In: a path. Out: a [`SqliteFile`] for the writer. Invariants: a file is open in one process at most, whatever its name; the operating
//! system releases its locks when the process ends; a database of another program is not changed.

use super::SqliteStore;
use super::checkpoint::Checkpoints;
use super::clean_shutdown;
use super::log_state::{AccountNumber, Backlog, LogState};
use super::migrate_v5;
use super::migrations;
use super::older_ids;
use super::open_files::OpenFiles;
use super::schema::{self, NEXT_SEQ, RELEASE, VERSION};
use super::write_tx::WriterState;
use super::writer::SqliteFile;
use crate::domain::{AccountName, HashKey, Seq};
use rand::Rng;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SqliteOpenError {
    /// The folder, a file or the writer's thread cannot be made.
    #[error("cannot make {0}: {1}; is the folder writable for this user?")]
    Create(PathBuf, #[source] io::Error),
    /// Another process has the file open.
    #[error(
        "{0} is in use by another process of this service; one store serves one process (stop it, or set STORE_URL)"
    )]
    InUse(PathBuf),
    /// The file was made by a newer release.
    #[error(
        "{path} was made by a newer release (version {found} of its tables{}), and this one, {}, reads versions up to {}: start \
         that release instead, or restore a backup from before its first start",
        last_opened_by(.release.as_deref()), RELEASE, VERSION
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        found: i64,
        /// The release that opened it last, if that is known.
        release: Option<String>,
    },
    /// The file was made by a release that is too old for this one. With the version of its tables.
    #[error(
        "{0} was made by an older release (version {1} of its tables), and this one reads version 5 and later; start \
         release 0.1.0 of this service once with this store, which brings it to version 5, then start this one again"
    )]
    Older(PathBuf, i64),
    /// A page that every start reads is damaged.
    #[error(
        "{0} is damaged ({1}); move it and the files beside it away, then put the newest backup in its place with `restore`. \
         Events that came after that backup are lost here; if they are sent again, they count as new"
    )]
    Damaged(PathBuf, #[source] rusqlite::Error),
    /// The file does not begin like a store.
    #[error(
        "{0} is not a store of this service; if it was one, its beginning is damaged: move it and the files beside it away, then put the \
         newest backup in its place with `restore`"
    )]
    NoStore(PathBuf),
    /// There is no file.
    #[error("there is no store at {0}")]
    Absent(PathBuf),
    /// SQLite refuses the file.
    #[error("cannot open {0}: {1}")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
}

fn last_opened_by(release: Option<&str>) -> String {
    release.map_or_else(String::new, |release| format!(", last opened by release {release}"))
}

/// Opens `path` for this process only. The deduplication index uses at most `deduplication_memory` bytes.
pub fn open(path: &Path, deduplication_memory: usize) -> Result<SqliteFile, SqliteOpenError> {
    let lock = lock(path)?;
    let had_wal = has_wal(path);
    make_private(path)?;
    warn_if_others_can_read(path);
    let mut files = lock_itself(path)?;
    let opened = Connection::open(path).and_then(|mut connection| {
        schema::keep_wal_on_close(&connection, true)?; // until the orderly end, also if the next steps fail
        if schema::is_of_another_program(&connection)? {
            return Ok(Err(SqliteOpenError::NoStore(path.to_owned())));
        }
        schema::prepare_writer(&connection)?;
        match version(path, &connection)? {
            Ok(VERSION) => {}
            Ok(version) => make_tables(&mut connection, version)?,
            Err(refusal) => return Ok(Err(refusal)),
        }
        schema::set_meta(&connection, "release", RELEASE)?;
        clean_shutdown::mark_open(&connection, path, had_wal)?;
        let state = read_state(&connection, deduplication_memory)?;
        let checkpoints = Checkpoints::start(path, &mut connection)?;
        Ok(Ok((checkpoints, connection, state)))
    });
    let (checkpoints, connection, state) = opened.map_err(|source| open_error(path, source))??;
    files.hold_wal(path);
    Ok(SqliteFile { checkpoints, connection, state, files, lock })
}

/// The error of a file that SQLite cannot open.
fn open_error(path: &Path, source: rusqlite::Error) -> SqliteOpenError {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => SqliteOpenError::Damaged(path.to_owned(), source),
        Some(ErrorCode::NotADatabase) => SqliteOpenError::NoStore(path.to_owned()),
        _ => SqliteOpenError::Sqlite(path.to_owned(), source),
    }
}

/// The version of the tables, 0 if there are none; or why this release cannot read them.
fn version(path: &Path, connection: &Connection) -> rusqlite::Result<Result<i64, SqliteOpenError>> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(match found {
        0 | 5..=VERSION => Ok(found),
        1..5 => Err(SqliteOpenError::Older(path.to_owned(), found)),
        _ => {
            let release = schema::release(connection).unwrap_or_default();
            Err(SqliteOpenError::Newer { path: path.to_owned(), found, release })
        }
    })
}

impl SqliteStore {
    /// Whether [`SqliteStore::open`] would migrate this file, which must exist. Does not change its tables; an error if it cannot be
    /// opened.
    pub fn needs_migration(path: &Path) -> Result<bool, SqliteOpenError> {
        let _locks = (lock(path)?, lock_itself(path)?);
        let had_wal = has_wal(path);
        let found = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|connection| {
            // The WAL of a crashed process stays, and none stays where there was none: the start examines that.
            schema::keep_wal_on_close(&connection, had_wal)?;
            version(path, &connection)
        });
        let found = found.map_err(|source| open_error(path, source))??;
        Ok(found != 0 && found < VERSION)
    }
}

/// The tries to take the lock, which an ending process may hold for a moment longer.
const LOCK_TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Takes the lock of the process that owns the file. The operating system releases it when the process ends, even by a crash.
pub fn lock(path: &Path) -> Result<File, SqliteOpenError> {
    let create = |path: &Path, source| SqliteOpenError::Create(path.to_owned(), source);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| create(folder, source))?;
    }
    let lock_path = file_beside(path, ".lock");
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
    let file = open.map_err(|source| create(&lock_path, source))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN_TRIES),
            Err(TryLockError::Error(source)) => return Err(create(&lock_path, source)),
        }
    }
    Err(SqliteOpenError::InUse(path.to_owned()))
}

/// Takes the lock on the database file itself, which must exist. Must be called before SQLite opens it.
fn lock_itself(path: &Path) -> Result<OpenFiles, SqliteOpenError> {
    let files = OpenFiles::lock(path).map_err(|source| SqliteOpenError::Create(path.to_owned(), source))?;
    files.ok_or_else(|| SqliteOpenError::InUse(path.to_owned()))
}

/// Makes the file readable for this user only: bodies are personal data. SQLite gives its other files the same mode.
fn make_private(path: &Path) -> Result<(), SqliteOpenError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|source| SqliteOpenError::Create(path.to_owned(), source))
}

/// A file that belongs to the store `path`: its path and `suffix`, such as `-wal`.
pub fn file_beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether the store has a write-ahead log. SQLite names it by the file to which a symbolic link leads.
fn has_wal(path: &Path) -> bool {
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned()); // Err: there is no file yet
    file_beside(&file, "-wal").exists()
}

/// Warns about each file of the store that other users of the system can read: it was copied, or its mode was changed.
fn warn_if_others_can_read(path: &Path) {
    #[cfg(unix)]
    for file in ["", "-wal", "-shm"].map(|suffix| file_beside(path, suffix)) {
        use std::os::unix::fs::PermissionsExt as _;
        if std::fs::metadata(&file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0) {
            tracing::warn!(
                file = %file.display(),
                "other users of this system can read the store, which holds personal data: run `chmod 600` on this file"
            );
        }
    }
}

/// Makes the present tables: of an empty file (0), or of those of `version`. It is one transaction, so a file whose migration was
/// interrupted still has its version, and is migrated at the next start.
pub(super) fn make_tables(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    match version {
        0 => {
            let mut hash_key = [0; 32];
            rand::rng().fill_bytes(&mut hash_key);
            schema::create(&transaction, &hash_key)?;
        }
        5 => migrate_v5::migrate(&transaction)?,
        version => migrations::migrate(&transaction, version)?,
    }
    transaction.commit()
}

fn read_state(connection: &Connection, deduplication_memory: usize) -> rusqlite::Result<WriterState> {
    let hash_key: [u8; 32] =
        connection.query_row("SELECT value FROM meta WHERE name = 'hash_key'", [], |row| row.get(0))?;
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    // The rows show which seqs were assigned; compaction has recorded it for removed rows.
    let last =
        count("SELECT max(coalesce((SELECT max(seq) FROM log), 0), coalesce((SELECT max(seq) FROM dead_letters), 0))")?;
    let next_seq = schema::meta(connection, NEXT_SEQ)?.max(last + 1).max(1);
    let dead = count("SELECT count(*) FROM dead_letters")?.unsigned_abs();
    let ids = older_ids::load(connection, deduplication_memory)?;
    Ok(WriterState {
        hash: HashKey::new(&hash_key),
        log: LogState::new(ids, next_seq, dead, read_backlogs(connection)?),
        older_ids: older_ids::exist(connection)?,
        former_ids_below: schema::meta(connection, schema::FORMER_IDS_BELOW)?,
    })
}

/// The accounts and their backlogs, counted in the index of pending events.
fn read_backlogs(connection: &Connection) -> rusqlite::Result<HashMap<AccountNumber, Backlog>> {
    let sql = "SELECT account, name, coalesce(pending, 0), coalesce(last, 0) FROM accounts LEFT JOIN
                   (SELECT account, count(*) AS pending, max(seq) AS last FROM log INDEXED BY log_waiting
                    WHERE outcome IS NULL GROUP BY account) USING (account)";
    let mut statement = connection.prepare(sql)?;
    let backlogs = statement.query_map([], |row| {
        let (name, pending) = (AccountName::from(row.get::<_, String>(1)?), row.get::<_, i64>(2)?.unsigned_abs());
        Ok((row.get(0)?, Backlog::new(name, pending, Seq(row.get(3)?))))
    })?;
    backlogs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// So an interruption leaves the file as it was. A file of version 5 has a test beside its migration.
    #[test]
    fn the_tables_of_a_new_file_and_of_every_later_version_are_made_in_one_commit() {
        let new = || Connection::open_in_memory().expect("opened");
        for version in std::iter::once(0).chain(6..VERSION) {
            let mut connection = if version == 0 { new() } else { migrations::file_of_version(version) };
            let commits = Arc::new(AtomicU32::new(0));
            let counted = Arc::clone(&commits);
            let count = move || {
                counted.fetch_add(1, Ordering::Relaxed);
                false // it is committed
            };
            connection.commit_hook(Some(count)).expect("set");
            make_tables(&mut connection, version).expect("made");
            assert_eq!(commits.load(Ordering::Relaxed), 1, "{version}");
        }
    }
}
