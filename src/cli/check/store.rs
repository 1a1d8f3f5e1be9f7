//! Checks the store, the API keys that it keeps, and the space on its disk.
//!
//! A store that exists is opened as at a start, unless a start would migrate it. If none exists, a trial store is made in its own folder
//! beside the place and removed again, so no other process can take it for its own. A PostgreSQL database is only read: its tables, the
//! rights of this user, and the kept keys.

use super::Finding;
use crate::app::{StoreState, look_at_store};
use crate::config::Config;
use crate::domain::{SealKey, SealedApiKey, open_seal};
use crate::store::{DatabaseState, DatabaseTables, Store, StoreError};

/// The free space below which a check warns: while Refersion is down, a few hundred thousand pending events use it up.
const MIN_FREE: u64 = 256 << 20;

pub(super) async fn look_at(config: &Config) -> Vec<Finding> {
    let state = match look_at_store(config).await {
        Ok(state) => state,
        Err(error) => return vec![Finding::bad("store", error.to_string())],
    };
    match state {
        StoreState::Database(state) => look_at_database(state, &config.store.seal_keys),
        StoreState::InUse { location, free } => {
            with_room(format!("{location} is in use by a running service, so it is not opened"), free)
        }
        StoreState::BeforeMigration { location, free } => {
            with_room(format!("{location} is of an earlier release; the first start migrates it"), free)
        }
        StoreState::Absent { location, trial, .. } => {
            let found = format!("there is none at {location} yet, and one can be made there");
            look_into(&*trial, &config.store.seal_keys, found).await
        }
        StoreState::Present { location, store } => {
            let status = store.status();
            let counts = format!("{} pending events, {} dead letters", status.pending, status.dead);
            look_into(&*store, &config.store.seal_keys, format!("{location} opens; {counts}")).await
        }
    }
}

fn look_at_database(state: DatabaseState, seal_keys: &[SealKey]) -> Vec<Finding> {
    let DatabaseState { location, tables, missing_rights, content } = state;
    if !missing_rights.is_empty() {
        let may_not = missing_rights.join("; ");
        return vec![Finding::bad(
            "store",
            match tables {
                DatabaseTables::Absent | DatabaseTables::Older => format!(
                    "a start would change the tables of {location}, and this user may not ({may_not}): \
                     run `refersion-destination migrate` as one who may"
                ),
                DatabaseTables::Current => format!("this user of {location} lacks rights: {may_not}; grant them"),
            },
        )];
    }
    let found = match (tables, &content) {
        (DatabaseTables::Absent, _) => format!("{location} has no tables yet; the first start makes them"),
        (DatabaseTables::Older, _) => format!("{location} is of an earlier release; the first start migrates it"),
        (DatabaseTables::Current, None) => format!("{location} can be used"),
        (DatabaseTables::Current, Some(content)) => {
            format!("{location} can be used; {} pending events, {} dead letters", content.pending, content.dead)
        }
    };
    let keys = content.map(|content| content.api_keys).unwrap_or_default();
    [Finding::good("store", found)].into_iter().chain(stored_api_keys(&keys, seal_keys)).collect()
}

/// Whether the kept API keys, if any, can be opened.
fn stored_api_keys(kept: &[SealedApiKey], seal_keys: &[SealKey]) -> Option<Finding> {
    if kept.is_empty() {
        return None;
    }
    let opened = kept.iter().filter(|key| open_seal(seal_keys, key).is_some()).count();
    let message = format!("{opened} of {} are opened by STORE_SEAL_KEY", kept.len());
    if opened == kept.len() {
        return Some(Finding::good("stored API keys", message));
    }
    let what = "the others were sealed with a key that it does not hold; add it after the first";
    Some(Finding::bad("stored API keys", format!("{message}: {what}")))
}

async fn look_into(store: &dyn Store, seal_keys: &[SealKey], found: String) -> Vec<Finding> {
    let looked = try_look_into(store, seal_keys).await;
    store.close().await;
    match looked {
        Ok(findings) => std::iter::once(Finding::good("store", found)).chain(findings).collect(),
        Err(error) => vec![Finding::bad("store", error.to_string())],
    }
}

async fn try_look_into(store: &dyn Store, seal_keys: &[SealKey]) -> Result<Vec<Finding>, StoreError> {
    store.probe().await?;
    let mut findings = Vec::from_iter(stored_api_keys(&store.kept_api_keys().await?, seal_keys));
    findings.extend(store.measure().await?.free.map(room));
    Ok(findings)
}

/// The findings about a store that is not opened.
fn with_room(found: String, free: Option<u64>) -> Vec<Finding> {
    std::iter::once(Finding::good("store", found)).chain(free.map(room)).collect()
}

fn room(free: u64) -> Finding {
    let message = format!("{} MB are free where the store is", free >> 20);
    if free >= MIN_FREE {
        return Finding::good("disk", message);
    }
    let why = "events are kept there while Refersion is down, and refused once it is full";
    Finding::bad("disk", format!("{message}, less than {} MB: {why}", MIN_FREE >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_reported() {
        assert!(room(MIN_FREE).ok);
        let little = room(MIN_FREE - 1);
        assert!(!little.ok && little.message.starts_with("255 MB are free where the store is, less than 256 MB"));
    }
}
