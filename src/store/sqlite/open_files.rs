//! The files of the open store: the check whether one of them was removed or replaced, and the lock on the database file.
//!
//! The system keeps a removed file until its last user closes it, and SQLite continues to write into it: such commits are lost when the
//! process ends. In: the path of the store. Out: an error if a file has no name any more, and whether another process has the lock.
//! Invariant: each file is held open longer than SQLite has it open, because SQLite's locks on a file end when any handle of the process to
//! it is closed. Deliberately absent: a moved file, which keeps all commits.

use super::open::file_beside;
use crate::store::StoreError;
use std::fs::{File, TryLockError};
use std::path::Path;

/// The files of an open store.
#[derive(Debug)]
pub struct OpenFiles(Vec<File>);

impl OpenFiles {
    /// Holds the database file, which must exist, and locks it until the end of the process. `None`: another process has the lock. Must be
    /// called before SQLite opens the file. The lock of [`super::open::lock`] is found by its name, so it does not meet a process that opens
    /// the file by another name (a link), or after the lock's file was removed.
    pub fn lock(path: &Path) -> std::io::Result<Option<Self>> {
        let file = File::open(path)?;
        // Elsewhere this kind of lock and SQLite's own locks on the file are not independent of each other.
        if cfg!(target_os = "linux") {
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                // A file system may refuse this lock, such as NFS for a file that is open for reading. The lock file still holds.
                Err(TryLockError::Error(error)) => tracing::debug!(%error, "cannot lock the file of the store itself"),
            }
        }
        Ok(Some(Self(vec![file])))
    }

    /// Holds the write-ahead log, too.
    pub fn hold_wal(&mut self, path: &Path) {
        self.0.extend(File::open(file_beside(path, "-wal"))); // Err: there is none yet
    }

    /// An error if one of them was removed.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.0.iter().any(is_removed) {
            let text = "a file of the store was removed or replaced while the service runs: restart the service, if need be with a \
                        backup in its place";
            return Err(StoreError::Transient(text.to_owned()));
        }
        Ok(())
    }
}

/// Whether no folder names the file any more.
fn is_removed(file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
    #[cfg(not(unix))]
    {
        let _ = file; // this system removes no open file
        false
    }
}
