//! Copies of a SQLite store: `backup` beside the running service, `restore` into an empty place.
//!
//! In: the path of a store or of a backup, the path of the copy, and a function that receives the progress. Out: the size and the damage of
//! the [`FinishedCopy`]. SQLite's backup API copies the pages of one snapshot. Invariants: the source is only read, its WAL stays, and no
//! commit waits for the copy; the copy is one file, readable only for this user, checked and synced before it gets its name; nothing is
//! overwritten. The tables of the copy have the version of the source, so the release before an upgrade can open a backup that was made
//! before it. `VACUUM INTO` is not used, because it fails on a damaged page: the backup API copies the damage, which is reported.
//! Deliberately absent: the content of the store, and PostgreSQL, which has `pg_dump`.

use super::clean_shutdown::mark_closed;
use super::open::{SqliteOpenError, file_beside, lock};
use super::reader::connect;
use super::schema::{VERSION, keep_wal_on_close, release};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A finished copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedCopy {
    /// Its size.
    pub bytes: u64,
    /// SQLite's report of a damaged part, which is damaged in the source, too.
    pub damage: Option<String>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source does not exist.
    #[error("there is no file {0}")]
    Missing(PathBuf),
    /// The source is another kind of file.
    #[error("{0} is not a store of this service, nor a backup of one")]
    NoStore(PathBuf),
    /// The file of the copy exists already.
    #[error("{0} exists already, and is not overwritten; name another file")]
    Exists(PathBuf),
    /// There is a store, or a part of one, in the place to restore to.
    #[error(
        "{0} exists: a backup is restored into an empty place only; move the store away, all of its files, or set STORE_URL to \
         another file"
    )]
    Occupied(PathBuf),
    /// A service runs on the store to be restored, or the backup is of a newer release.
    #[error(transparent)]
    Store(#[from] SqliteOpenError),
    /// A file cannot be made or written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or its folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// SQLite failed.
    #[error("cannot copy {path}: {source}")]
    Sqlite {
        /// The source.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

/// The pages that are copied between two reports of the progress.
const STEP: i32 = 1_024;
/// The wait before a step is tried again.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Copies the store at `store`, which may be in use, into the new file `to`. `progress` is called with the bytes copied so far, and those
/// of the source.
pub fn back_up(store: &Path, to: &Path, progress: impl FnMut(u64, u64)) -> Result<FinishedCopy, CopyError> {
    if to.exists() {
        return Err(CopyError::Exists(to.to_owned()));
    }
    copy(store, to, progress)
}

/// Copies `backup` to the place of the store `store`, where no store may be and no service may run.
pub fn restore(backup: &Path, store: &Path, progress: impl FnMut(u64, u64)) -> Result<FinishedCopy, CopyError> {
    let (found, release) = version(backup)?;
    if found > VERSION {
        return Err(SqliteOpenError::Newer { path: backup.to_owned(), found, release }.into());
    }
    let _lock = lock(store)?;
    // SQLite would apply the WAL or journal of an earlier file to the restored file.
    for file in ["", "-wal", "-journal"].map(|suffix| file_beside(store, suffix)) {
        if file.exists() {
            return Err(CopyError::Occupied(file));
        }
    }
    copy(backup, store, progress)
}

fn copy(from: &Path, to: &Path, progress: impl FnMut(u64, u64)) -> Result<FinishedCopy, CopyError> {
    version(from)?;
    let sqlite = |source| CopyError::Sqlite { path: from.to_owned(), source };
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = |source| CopyError::Write { path: folder.to_owned(), source };
    // Readable only for this user, and removed if anything fails.
    let partial = tempfile::Builder::new().prefix(".partial-").tempfile_in(folder).map_err(write)?;
    copy_pages(from, partial.path(), progress).map_err(sqlite)?;
    let damage = finish(partial.path()).map_err(sqlite)?;
    partial.as_file().sync_all().map_err(write)?;
    let bytes = partial.as_file().metadata().map_err(write)?.len();
    partial.persist_noclobber(to).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => CopyError::Exists(to.to_owned()),
        _ => CopyError::Write { path: to.to_owned(), source: error.error },
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(write)?;
    Ok(FinishedCopy { bytes, damage })
}

/// The version of the tables in `file`, and the release that opened it last, if it is recorded.
fn version(file: &Path) -> Result<(i64, Option<String>), CopyError> {
    if !file.exists() {
        return Err(CopyError::Missing(file.to_owned()));
    }
    let read = || -> rusqlite::Result<Option<(i64, Option<String>)>> {
        let connection = connect_source(file)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let is_store = version > 0 && connection.table_exists(None, "meta")?;
        is_store.then(|| Ok((version, release(&connection)?))).transpose()
    };
    match read() {
        Ok(version) => version.ok_or_else(|| CopyError::NoStore(file.to_owned())),
        Err(source) if source.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(CopyError::NoStore(file.to_owned()))
        }
        Err(source) => Err(CopyError::Sqlite { path: file.to_owned(), source }),
    }
}

/// A connection that only reads `file`, and leaves the files beside it as they were.
fn connect_source(file: &Path) -> rusqlite::Result<Connection> {
    let has_wal = file_beside(file, "-wal").exists();
    let connection = connect(file)?;
    keep_wal_on_close(&connection, has_wal)?;
    Ok(connection)
}

/// Copies one snapshot of `from`, in steps. The snapshot is the one of a transaction. Without it, SQLite would start over after every
/// commit of the service.
fn copy_pages(from: &Path, to: &Path, mut progress: impl FnMut(u64, u64)) -> rusqlite::Result<()> {
    let mut source = connect_source(from)?;
    let snapshot = source.transaction()?;
    snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let page: u32 = snapshot.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let mut target = Connection::open(to)?;
    target.pragma_update(None, "journal_mode", "OFF")?; // an unfinished copy is removed anyway
    target.pragma_update(None, "synchronous", "OFF")?;
    let backup = Backup::new(&snapshot, &mut target)?;
    loop {
        match backup.step(STEP)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => std::thread::sleep(BETWEEN_TRIES),
        }
        let pages = backup.progress();
        let [total, remaining] =
            [pages.pagecount, pages.remaining].map(|pages| u64::from(pages.unsigned_abs()) * u64::from(page));
        progress(total - remaining.min(total), total);
    }
}

/// Makes the copy one file without a WAL, like a store that was closed in order. Returns SQLite's report if the copy is damaged.
fn finish(copy: &Path) -> rusqlite::Result<Option<String>> {
    let connection = Connection::open(copy)?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    mark_closed(&connection)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(Some(found).filter(|found| found != "ok"))
}
