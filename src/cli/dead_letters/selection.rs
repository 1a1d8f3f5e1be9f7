//! The dead letters that a command works on: named by their ids, matched by a filter, or all.
//!
//! In: arguments. Out: ids or dead letters, in pages. Invariant: dead letters that were added after the first page was read are
//! not included, so a replay that fails again is not replayed again by the same command.

use crate::cli::admin_client::AdminClient;
use crate::cli::now;
use crate::delivery::OutcomeCode;
use crate::domain::Timestamp;
use crate::store::DeadLetterPage;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use serde_json::{Value, json};

/// The filter; a dead letter must match all parts that are given. Its parts are named as the parameters of the API.
#[derive(Debug, Args, Serialize)]
pub(super) struct FilterArgs {
    /// Only dead letters of this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only dead letters with this reason
    #[arg(long, value_name = "CODE", value_parser = reasons())]
    reason: Option<String>,
    /// Only dead letters since then: an age such as 12h, or a time such as 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = parse_time)]
    since: Option<Timestamp>,
}

/// Ids, a filter, or all; one of them is required.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// The ids that `list` prints
    #[arg(
        value_name = "ID",
        conflicts_with_all = ["account", "reason", "since", "all"],
        required_unless_present_any = ["account", "reason", "since", "all"],
    )]
    ids: Vec<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All dead letters
    #[arg(long, conflicts_with_all = ["account", "reason", "since"])]
    all: bool,
}

/// How many dead letters are read or changed in one operation.
const PAGE_SIZE: usize = 100;

impl Selection {
    /// Whether the dead letters are named by their ids.
    pub(super) fn names_ids(&self) -> bool {
        !self.ids.is_empty()
    }

    /// The ids of the selected dead letters, in pages.
    pub(super) fn id_pages<'a>(&self, api: &'a AdminClient) -> IdPages<'a> {
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let given = (!ids.is_empty()).then_some(ids);
        IdPages { given, pages: DeadLetterPages::new(api, &self.filter) }
    }

    /// A description of the selection, for a question.
    pub(super) fn description(&self) -> String {
        match (&self.ids[..], self.all) {
            ([id], _) => format!("the dead letter {id}"),
            ([], true) => "all dead letters".to_owned(),
            ([], false) => "all dead letters that match the filter".to_owned(),
            (ids, _) => format!("{} dead letters", ids.len()),
        }
    }
}

/// Ids in pages of [`PAGE_SIZE`].
pub(super) struct IdPages<'a> {
    given: Option<Vec<i64>>,
    pages: DeadLetterPages<'a>,
}

impl IdPages<'_> {
    /// The next page of ids, which is not empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<i64>>, String> {
        match &mut self.given {
            Some(ids) if ids.is_empty() => Ok(None),
            Some(ids) => Ok(Some(ids.drain(..ids.len().min(PAGE_SIZE)).collect())),
            None => {
                let page = self.pages.next().await?;
                Ok(page.map(|page| page.letters.into_iter().map(|letter| letter.id).collect()))
            }
        }
    }
}

/// The dead letters that existed when the first page was read, in pages.
pub(super) struct DeadLetterPages<'a> {
    api: &'a AdminClient,
    query: Value,
    after: Option<i64>,
    last: Option<i64>,
}

impl<'a> DeadLetterPages<'a> {
    pub(super) fn new(api: &'a AdminClient, filter: &FilterArgs) -> Self {
        Self { api, query: json!(filter), after: Some(0), last: None }
    }

    /// The next page, which is not empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<DeadLetterPage>, String> {
        while let Some(after) = self.after.take() {
            self.query["after"] = after.into();
            self.query["limit"] = PAGE_SIZE.into();
            let mut page: DeadLetterPage = self.api.get("/api/v1/dead-letters", &self.query).await?;
            let last = *self.last.get_or_insert(page.last);
            page.letters.retain(|letter| letter.id <= last);
            self.after = page.next.filter(|next| *next < last);
            if !page.letters.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }
}

/// The reasons that a dead letter can have.
fn reasons() -> PossibleValuesParser {
    PossibleValuesParser::new(OutcomeCode::failures().map(OutcomeCode::as_str))
}

/// An age, which is subtracted from the current time, or a time.
pub(in crate::cli) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(age) = humantime::parse_duration(text) {
        return Ok(now().before(age));
    }
    let midnight = format!("{text} 00:00:00");
    let time = humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339_weak(&midnight));
    time.map(Timestamp::from).map_err(|_| "expected an age such as 12h, or a time such as 2026-01-31".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Mode};
    use crate::delivery::OutcomeCode;
    use crate::domain::{AccountName, EventId, Seq, UserKey};
    use crate::scheduling::Unit;
    use crate::store::{AffiliateChanges, NewEvent, Settlement, SqliteStore, Store, StoreLimits};
    use std::sync::Arc;
    use std::time::Duration;

    /// Appends an event for each number, and settles it as a dead letter.
    async fn add_dead_letters(store: &dyn Store, ids: std::ops::Range<u8>) {
        let (account, at) = (AccountName::main(), Timestamp(0));
        let event = |n: u8| NewEvent {
            account: account.clone(),
            id: EventId([n; 16]),
            former_id: None,
            user_keys: vec![UserKey::UserId([n; 16])],
            known_users_only: None,
            source: None,
            body: b"{}".to_vec(),
            received_at: at,
        };
        store.append(ids.map(event).collect()).await.expect("appended");
        for entry in store.read(&account, Seq(0), 1_000).await.expect("read") {
            let dead = Settlement::Dead { outcome: OutcomeCode::Rejected, reason: String::new(), at };
            let unit = Unit::of(entry.seq);
            store.settle(&account, &unit, dead, AffiliateChanges::default()).await.expect("settled");
        }
    }

    #[tokio::test]
    async fn dead_letters_added_after_the_first_page_are_not_included() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("store.db"), StoreLimits::default()).expect("opened");
        let store: Arc<dyn Store> = Arc::new(store);
        add_dead_letters(&*store, 0..110).await;
        let (config, _) = Config::load(&[], std::iter::empty(), Mode::Offline).expect("the defaults");
        let api = AdminClient::of_store(Arc::clone(&store), &config).expect("its API");
        let mut pages = DeadLetterPages::new(&api, &FilterArgs { account: None, reason: None, since: None });
        let first = pages.next().await.expect("a page").expect("the first");
        add_dead_letters(&*store, 110..255).await;
        let second = pages.next().await.expect("a page").expect("the second");
        assert_eq!((first.letters.len(), second.letters.len()), (100, 10));
        assert!(pages.next().await.expect("no failure").is_none(), "later dead letters are not included");
    }

    #[test]
    fn a_time_is_a_date_a_date_and_time_or_an_age() {
        for (text, expected) in [
            ("1970-01-02", Some(86_400_000)),
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("1970-01-01 00:00:02", Some(2_000)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_time(text).ok().map(|time| time.0), expected, "{text}");
        }
        let hour = parse_time("1h").expect("an age");
        assert!(now().since(hour) >= Duration::from_secs(3600) && now().since(hour) < Duration::from_secs(3700));
        assert_eq!(Timestamp(5_000).before(Duration::from_secs(2)), Timestamp(3_000));
    }
}
