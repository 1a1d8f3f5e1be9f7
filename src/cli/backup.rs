//! `backup`: copies the store into a file, also while the service runs on it.
//!
//! Out: the path of the file on standard output, everything else on standard error; exit code 1 if no copy was made, or if a part of the
//! store is damaged. Deliberately absent: backups of PostgreSQL, which has its own tools.

use super::progress::bytes_bar;
use super::{CommandResult, ConfigArgs, eprint, fail, file_parser, now, print};
use crate::config::{Mode, StoreUrl};
use crate::domain::Timestamp;
use crate::store::{CopyError, FinishedCopy, back_up};
use clap::Args;
use indicatif::HumanBytes;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to make, or a folder for it. If not given, a file named after the store and the time, beside the store
    #[arg(value_name = "FILE", value_parser = file_parser())]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &BackupArgs) -> CommandResult {
    let store = store_file(&args.config)?;
    if !store.exists() {
        return Err(fail(&format!("there is no store at {}; set STORE_URL to the store's file", store.display())));
    }
    let file = match &args.file {
        None => store.with_file_name(default_name(&store, now())),
        Some(folder) if folder.is_dir() => folder.join(default_name(&store, now())),
        Some(file) => file.clone(),
    };
    finish(&file, copy("copying the store", |progress| back_up(&store, &file, progress)))
}

/// The file of the store that the configuration names; an error with the alternative if the store is no file.
pub(super) fn store_file(args: &ConfigArgs) -> CommandResult<PathBuf> {
    match args.load(Mode::Offline)?.store.url {
        StoreUrl::Sqlite(path) => Ok(path),
        StoreUrl::Postgres(_) => Err(fail(
            &"STORE_URL names a PostgreSQL database, which is copied by pg_dump while the service runs, and restored by \
              pg_restore into an empty database",
        )),
    }
}

/// The name of a backup made at `at`: `refersion-destination-20260131T080000Z.db`.
fn default_name(store: &Path, at: Timestamp) -> String {
    let stem = store.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}-{}.db", at.to_string().replace(['-', ':'], ""))
}

/// Makes a copy, and shows its progress.
pub(super) fn copy(
    label: &'static str,
    make: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<FinishedCopy, CopyError>,
) -> Result<FinishedCopy, CopyError> {
    let bar = bytes_bar(label, Some(0));
    let copied = make(&mut |copied, total| {
        bar.set_length(total);
        bar.set_position(copied);
    });
    bar.finish_and_clear();
    copied
}

/// Prints the path of a copy, or the reason why it failed.
pub(super) fn finish(path: &Path, copied: Result<FinishedCopy, CopyError>) -> CommandResult {
    let copied = copied.map_err(|error| fail(&error))?;
    print(&path.display().to_string());
    if let Some(damage) = copied.damage {
        return Err(fail(&format!("copied as it is, but a part of it is damaged: {damage}")));
    }
    eprint(&format!("{}, complete and sound", HumanBytes(copied.bytes)));
    Ok(())
}
