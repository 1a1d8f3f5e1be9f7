//! `migrate`: creates the tables of the store, or migrates them to those of this release, and ends.
//!
//! The service does the same when it starts. This command does it alone: before a release is rolled out, or by a user of the database
//! who may change tables, where the service's own may not.

use super::{ConfigArgs, block_on, fail, print};
use crate::app::open_store;
use crate::config::Mode;
use std::process::ExitCode;

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let config = match args.load(Mode::Offline) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let migrated = block_on(async {
        let store = open_store(&config).await?;
        store.close().await;
        Ok::<_, crate::app::StoreOpenError>(())
    });
    match migrated {
        Ok(Ok(())) => {
            print("the store has the tables of this release");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}
