//! `restore`: makes the store of a backup, in an empty place.
//!
//! Out: the path of the store on standard output; exit code 1 if a store is there already, if a service runs on it, or if the file
//! is no backup. The tables keep the version of the backup: the next start migrates them.

use super::backup::{copy, finish, store_file};
use super::{CommandResult, ConfigArgs, file_parser};
use crate::store::restore;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The file that `backup` made
    #[arg(value_name = "FILE", value_parser = file_parser())]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &RestoreArgs) -> CommandResult {
    let store = store_file(&args.config)?;
    finish(&store, copy("restoring the store", |progress| restore(&args.file, &store, progress)))
}
