//! Which dead letters are meant: some by their ids, those that fit conditions, or all.

use crate::cli::keeper::Keeper;
use crate::cli::now;
use crate::domain::Timestamp;
use crate::store::{Filter, Page};
use clap::Args;

/// Conditions; all that are given must hold.
#[derive(Debug, Args)]
pub(super) struct Conditions {
    /// Those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Those with this reason: unmappable, malformed, refused, email_taken, not_applied, endless_search, expired, erased
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Those that died since: a time ago such as 12h, or a moment such as 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,
}

/// Ids, conditions, or all; one of them must be said.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// The ids, as `list` prints them
    #[arg(
        value_name = "ID",
        conflicts_with_all = ["account", "reason", "since", "all"],
        required_unless_present_any = ["account", "reason", "since", "all"],
    )]
    ids: Vec<i64>,
    #[command(flatten)]
    conditions: Conditions,
    /// All of them
    #[arg(long, conflicts_with_all = ["account", "reason", "since"])]
    all: bool,
}

/// As many are fetched and changed at once.
const PAGE: usize = 100;

impl Conditions {
    pub(super) fn filter(&self) -> Filter {
        Filter { account: self.account.clone(), reason: self.reason.clone(), since: self.since }
    }
}

impl Selection {
    /// The ids that are meant, in portions.
    pub(super) fn portions<'a>(&self, keeper: &'a Keeper) -> Portions<'a> {
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let given = (!ids.is_empty()).then_some(ids);
        Portions { given, pages: Pages::new(keeper, self.conditions.filter()) }
    }

    /// What is meant, for a question.
    pub(super) fn shown(&self) -> String {
        match (&self.ids[..], self.all) {
            ([id], _) => format!("the dead letter {id}"),
            ([], true) => "all dead letters".to_owned(),
            ([], false) => "all dead letters that fit these conditions".to_owned(),
            (ids, _) => format!("{} dead letters", ids.len()),
        }
    }
}

/// Ids, some at a time.
pub(super) struct Portions<'a> {
    given: Option<Vec<i64>>,
    pages: Pages<'a>,
}

impl Portions<'_> {
    /// The next ids; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<i64>>, String> {
        match &mut self.given {
            Some(ids) if ids.is_empty() => Ok(None),
            Some(ids) => Ok(Some(ids.drain(..ids.len().min(PAGE)).collect())),
            None => {
                let page = self.pages.next().await?;
                Ok(page.map(|page| page.letters.into_iter().map(|letter| letter.id).collect()))
            }
        }
    }
}

/// The dead letters there were at the beginning, page by page: who replays does not meet those that die anew meanwhile.
pub(super) struct Pages<'a> {
    keeper: &'a Keeper,
    filter: Filter,
    after: Option<i64>,
    last: Option<i64>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(keeper: &'a Keeper, filter: Filter) -> Self {
        Self { keeper, filter, after: Some(0), last: None }
    }

    /// The next page; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, String> {
        let Some(after) = self.after.take() else { return Ok(None) };
        let mut page = self.keeper.page(&self.filter, after, PAGE).await?;
        let last = *self.last.get_or_insert(page.last);
        page.letters.retain(|letter| letter.id <= last);
        self.after = page.next.filter(|next| *next < last);
        Ok(Some(page))
    }
}

/// A time ago, or a moment.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(now().before(ago));
    }
    let midnight = format!("{text} 00:00:00");
    let moment = humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339_weak(&midnight));
    moment
        .map(Timestamp::from)
        .map_err(|_| "expected a time ago such as 12h, or a moment such as 2026-01-31".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::OutcomeCode;
    use crate::domain::{AccountName, EventId, Seq, UserKey};
    use crate::scheduling::Unit;
    use crate::store::{AffiliateChanges, EventLog as _, Limits, NewEvent, Settlement, SqliteStore};
    use std::time::Duration;

    /// Appends so many events, which become dead letters.
    async fn die(store: &SqliteStore, ids: std::ops::Range<u8>) {
        let (account, at) = (AccountName::main(), Timestamp(0));
        let event = |n: u8| NewEvent {
            account: account.clone(),
            id: EventId([n; 16]),
            keys: vec![UserKey::UserId([n; 16])],
            known_users_only: None,
            body: b"{}".to_vec(),
            received_at: at,
        };
        store.append(ids.map(event).collect()).await.expect("appended");
        for entry in store.read(&account, Seq(0), 1_000).await.expect("read") {
            let dead = Settlement::Dead { outcome: OutcomeCode::Refused, reason: String::new(), at };
            let unit = Unit::of(entry.seq);
            store.settle(&account, &unit, dead, AffiliateChanges::default()).await.expect("settled");
        }
    }

    #[tokio::test]
    async fn pages_end_where_the_dead_letters_ended_at_the_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("store.db"), Limits::default()).expect("opened");
        die(&store, 0..110).await;
        let keeper = Keeper::Store(store);
        let Keeper::Store(store) = &keeper else { return };
        let mut pages = Pages::new(&keeper, Filter::default());
        let first = pages.next().await.expect("a page").expect("the first");
        die(store, 110..255).await;
        let second = pages.next().await.expect("a page").expect("the second");
        assert_eq!((first.letters.len(), second.letters.len()), (100, 10));
        assert!(pages.next().await.expect("no failure").is_none(), "those that died meanwhile are not met");
    }

    #[test]
    fn a_moment_is_a_date_a_time_of_day_or_a_time_ago() {
        for (text, expected) in [
            ("1970-01-02", Some(86_400_000)),
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("1970-01-01 00:00:02", Some(2_000)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(moment(text).ok().map(|moment| moment.0), expected, "{text}");
        }
        let hour = moment("1h").expect("a time ago");
        assert!(now().since(hour) >= Duration::from_secs(3600) && now().since(hour) < Duration::from_secs(3700));
        assert_eq!(Timestamp(5_000).before(Duration::from_secs(2)), Timestamp(3_000));
    }
}
