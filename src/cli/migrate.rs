//! `migrate`: creates the tables of the store, or migrates them to those of this release, and ends.
//!
//! The service does the same when it starts. This command does it alone: before a release is rolled out, or as a user of the database who
//! may change tables, if the service's own user may not.

use super::{CommandResult, ConfigArgs, block_on, print};
use crate::app::{StoreOpenError, open_store};
use crate::config::Mode;

pub(super) fn run(args: &ConfigArgs) -> CommandResult {
    let config = args.load(Mode::Offline)?;
    block_on(async {
        open_store(&config).await?.close().await;
        Ok::<_, StoreOpenError>(())
    })?;
    print("the store has the tables of this release");
    Ok(())
}
