//! The promotion of a standby that had not received everything: lost rows, accounts included, have no effect on later events.
//!
//! PostgreSQL draws seqs ahead for a standby, so one that lags may draw seqs again that were drawn for events which it never received.

use super::engine::{Engine, Postgres, TestStore, accepted, done};
use super::several_processes::connect;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Durability, Server, give_away, url_of};
use crate::support::{poll_until, within};
use refersion_destination::domain::{AccountName, Seq};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{MovedDeadLetter, NewEvent, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tempfile::TempDir;

/// More than are drawn ahead, which are 32.
const LOST: usize = 40;

/// Where the server in use is found: a name that another server gets when it is promoted.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = TempDir::with_prefix("pl-").expect("a folder");
        give_away(folder.path());
        Self(folder)
    }

    fn name(&self) -> PathBuf {
        self.0.path().join("server")
    }

    fn is(&self, server: &Server) {
        let _ = std::fs::remove_file(self.name()); // Err: it had no name yet
        symlink(server.folder(), self.name()).expect("linked");
    }
}

/// The names of the accounts, by their numbers.
async fn accounts(server: &Server) -> BTreeMap<i32, AccountName> {
    let client = connect(&Postgres::at(server.url())).await;
    let rows = client.query("SELECT account, name FROM accounts", &[]).await.expect("read");
    rows.iter().map(|row| (row.get(0), AccountName::from(row.get::<_, String>(1)))).collect()
}

/// Waits until the standby has everything, and ends its connection to the primary for good.
async fn falls_behind(primary: &Server, standby: &mut Server) {
    let client = connect(&Postgres::at(primary.url())).await;
    let sql = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()";
    let received = || async { client.query_one(sql, &[]).await.expect("read").get::<_, i64>(0) };
    within(poll_until(received, |standbys| *standbys == 1)).await;
    standby.stop();
    let settings = standby.folder().join("data/postgresql.auto.conf");
    let mut settings = OpenOptions::new().append(true).open(settings).expect("its settings");
    writeln!(settings, "primary_conninfo = ''").expect("written");
    standby.run();
}

/// Behind a pooler no session breaks that would show the promotion.
#[tokio::test]
async fn a_promoted_standby_settles_no_event_that_it_had_not_received() {
    for pooled in [false, true] {
        let Some(mut primary) = Server::start(Durability::None) else { return };
        let (mut standby, place) = (primary.standby(), Place::new());
        place.is(&primary);
        let pooler = if pooled { PgBouncer::start(&place.name(), true) } else { None };
        if pooled && pooler.is_none() {
            return;
        }
        let url = pooler.as_ref().map_or_else(|| url_of(&place.name()), PgBouncer::url);
        let store = TestStore::start(Box::new(Postgres::at(url)), 1_000).await;
        falls_behind(&primary, &mut standby).await;
        let mut lost = Unit::of(store.append("lost", &["u"]).await);
        for number in 1..LOST {
            lost = Unit::of(store.append(&format!("lost {number}"), &[&format!("u{number}")]).await);
        }
        assert_eq!(store.begin_units(std::slice::from_ref(&lost)).await.len(), 1, "it is in flight");
        let late = AccountName::from("late".to_owned());
        let of_late = |name: &str| NewEvent { account: late.clone(), ..store.event(name, &["u"], 0) };
        store.try_append(of_late("lost with its account")).await;

        standby.promote();
        place.is(&standby);
        primary.kill();
        let append = async || store.store().append(vec![of_late("after")]).await;
        within(poll_until(append, Result::is_ok)).await.expect("appended");
        let mut expected = Vec::new();
        let mut newest = None;
        while newest != Some(lost.head) {
            let name = format!("after {}", expected.len());
            let append = async || store.store().append(vec![store.event(&name, &[&name], 0)]).await;
            newest = Some(accepted(within(poll_until(append, Result::is_ok)).await.expect("appended")[0]));
            assert!(newest <= Some(lost.head), "its sequence did not lag");
            expected.push(name);
        }
        // Its worker had read up to there, and had found nothing of that user.
        accepted(store.append_if_known_up_to("if known", &["after 0"], Some(lost.head)).await);
        let settle = async || store.try_settle(&lost, done()).await;
        let settled = within(poll_until(settle, |settled| !matches!(settled, Err(StoreError::Transient(_))))).await;
        assert_eq!(settled, Err(StoreError::NotOwner), "another event has that seq by now");

        let (owned, before) = (BTreeSet::from([store.account.clone(), late.clone()]), 1);
        let held_anew = async || {
            let renewed = store.store().renew(&owned).await.is_ok();
            renewed
                && owned.iter().all(|account| store.store().lease(account).is_some_and(|lease| lease.number() > before))
        };
        within(poll_until(held_anew, |held| *held)).await;
        assert_eq!(store.store().read(&late, Seq(0), 9).await.expect("read").len(), 1, "it belongs to its account");
        expected.push("if known".to_owned());
        assert_eq!(store.names().await, expected);
        store.settle(lost.head, done()).await;
        expected.remove(expected.len() - 2);
        assert_eq!(store.names().await, expected);
    }
}

/// A promoted standby gives the number of an account that it never received to another one.
#[tokio::test]
async fn a_lost_account_whose_number_another_one_has_got_is_neither_read_nor_written_by_its_number() {
    let Some(mut primary) = Server::start(Durability::None) else { return };
    let (mut standby, place) = (primary.standby(), Place::new());
    place.is(&primary);
    let schema = Postgres::at(url_of(&place.name()));
    let store = TestStore::start(Box::new(schema.clone()), 1_000).await;
    let dead = store.die("dead", &["u"]).await;
    falls_behind(&primary, &mut standby).await;
    let of = |account: &AccountName| {
        let id = store.store().hash_key().event_by_message_id(account, "a");
        NewEvent { account: account.clone(), id, ..store.event("a", &["u"], 0) }
    };
    for number in 0..LOST {
        store.try_append(of(&AccountName::from(format!("lost {number}")))).await;
    }
    let lost = accounts(&primary).await;
    for account in lost.values() {
        schema.own(account).await;
    }

    standby.promote();
    place.is(&standby);
    primary.kill();
    let new = AccountName::from("new".to_owned());
    let append = async || store.store().append(vec![of(&new)]).await;
    let appended = within(poll_until(append, Result::is_ok)).await.expect("appended");
    let is_new = |(number, name): (i32, AccountName)| (name == new).then_some(number);
    let number = accounts(&standby).await.into_iter().find_map(is_new).expect("it was added");
    let lost = lost.get(&number).expect("the number was given to a lost account");
    let read = async || store.store().read(lost, Seq(0), 9).await;
    let read = within(poll_until(read, |read| !matches!(read, Err(StoreError::Transient(_))))).await;
    assert_eq!(read, Err(StoreError::NotOwner), "these are events of another account");
    let unit = Unit::of(accepted(appended[0]));
    assert_eq!(store.store().begin(lost, &[unit]).await.err(), Some(StoreError::NotOwner));
    let page = store.store().remember_listed(&store.account, Vec::new(), "the pages before are lost".to_owned());
    assert_eq!(page.await, Err(StoreError::NotOwner));
    let moved = vec![MovedDeadLetter { id: dead.0, event: of(lost) }];
    let moved = store.store().move_dead_letters(moved).await.expect("moved")[0].seq.expect("appended");
    let record = store.store().event_record(moved).await.expect("read").expect("in the ledger");
    assert_eq!(record.account, lost.as_str());
}
