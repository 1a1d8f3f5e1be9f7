//! The saved progress of an import, by which an interrupted one continues: `FILE.import`, beside the imported file.
//!
//! It holds the number of answered events, and their counts. It is replaced after each request and removed at the end. Invariant: it counts
//! no event that was not answered. It belongs to one file and one URL: an import of a changed file, or to another service, does not use it.
//! Standard input cannot be read again, so no progress of it is saved.

use super::report::ImportReport;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use url::Url;

/// The progress of an import.
pub(super) struct SavedProgress {
    /// The file of the progress; `None` for standard input.
    path: Option<PathBuf>,
    pub(super) state: ImportState,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImportState {
    url: String,
    /// The size of the imported file, in bytes.
    size: u64,
    /// The moment at which the file was changed, in milliseconds.
    modified: u128,
    pub(super) report: ImportReport,
}

impl SavedProgress {
    /// The progress that an earlier run saved of the import of `file` to `url`; empty if that run was completed, or with `restart`.
    pub(super) fn open(file: &Path, url: &Url, restart: bool) -> Result<Self, String> {
        let mut state = ImportState { url: url.to_string(), size: 0, modified: 0, report: ImportReport::default() };
        if file.as_os_str() == "-" {
            return Ok(Self { path: None, state });
        }
        let metadata = std::fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?;
        state.size = metadata.len();
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        state.modified = modified.map_or(0, |time| time.as_millis());
        let mut name = file.as_os_str().to_owned();
        name.push(".import");
        let path = PathBuf::from(name);
        if !restart && let Some(found) = read(&path)? {
            if found != (ImportState { report: found.report.clone(), ..state.clone() }) {
                return Err(format!(
                    "{} is of an import of another version of this file, or to another URL; to import all of it anew, use --restart",
                    path.display()
                ));
            }
            state = found;
        }
        Ok(Self { path: Some(path), state })
    }

    /// Saves the progress.
    pub(super) fn save(&self) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || {
            let mut new = tempfile::NamedTempFile::new_in(folder)?;
            new.write_all(&serde_json::to_vec(&self.state)?)?;
            new.persist(path)?;
            Ok::<(), std::io::Error>(())
        };
        write().map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// The import is completed: removes the saved progress.
    pub(super) fn finish(self) -> Result<ImportReport, String> {
        match self.path.as_deref().map(std::fs::remove_file) {
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(self.state.report),
        }
    }
}

fn read(path: &Path) -> Result<Option<ImportState>, String> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            format!("{} cannot be read: {error}; to import all of it anew, use --restart", path.display())
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}
