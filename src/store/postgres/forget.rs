//! Erasure of a user on an operator's request: it finds and erases all data of the user, except events in flight.
//!
//! In: user keys, and the number of the account. Out: counts of the erasure. [`crate::store::erasure`] decides which data belongs to the
//! user. The search of the log runs beside all other work. Then one transaction erases the findings: it locks the row of the account and
//! first examines the rows appended since. An erased pending event stays as a dead letter without body and user keys. The moment of the
//! erasure is kept for each user key and for each affiliate, so neither an earlier event nor a page of Refersion's list restores the user.
//! Invariant: when [`UserSearch::until`] was read under the lock, every event of the account up to it had committed, and later events have
//! a higher seq. Deliberately absent: bodies, which are not read.

use super::accounts::{AccountNumber, LockedAccount};
use super::compact;
use super::deletions;
use super::erase::{as_slices, delete_links, erase_dead_letters, link_keys, user_keys_beside};
use super::key_blocks;
use super::leases::LeaseToken;
use super::remembered;
use super::session::Session;
use super::settle_rows::SettledRows;
use crate::delivery::OutcomeCode;
use crate::domain::{Seq, Timestamp, UserKey};
use crate::store::Forgotten;
use crate::store::erasure::{ForgetSearch, ScannedRow, UserKeyHash};
use crate::store::in_flight::{EraseGuard, InFlightEvents};
use crate::store::rows::attempts::{Attempts, COLUMNS};
use crate::store::rows::dead_letters::ERASED;
use crate::store::user_keys;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;
use tokio_postgres::{Error, Row};

/// The rows of the log that one statement scans.
const PORTION: i64 = 20_000;

static BEGUN_ELSEWHERE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT attempts.seq, {COLUMNS} FROM attempts WHERE attempts.seq = ANY ($1) AND attempts.begun AND EXISTS (
             SELECT 1 FROM accounts JOIN replicas ON replicas.replica = accounts.owner
             WHERE accounts.account = $2 AND accounts.token IS DISTINCT FROM $3 AND replicas.until > clock_timestamp())"
    )
});

/// A search for all data of a user.
#[derive(Clone, Debug)]
pub struct UserSearch {
    /// The number of the account.
    account: AccountNumber,
    /// When the server was started on which the search began.
    server: SystemTime,
    found: ForgetSearch,
    /// The seq up to which the log is scanned without the lock.
    until: Seq,
}

impl UserSearch {
    /// A search that begins with these user keys. `until`: see [`last_committed`].
    pub fn new(account: LockedAccount, users: &[UserKey], until: Seq) -> Self {
        Self { account: account.number, server: account.server, found: ForgetSearch::new(users), until }
    }

    /// Whether it was begun in this account, and on the same server.
    pub fn is_of(&self, account: &LockedAccount) -> bool {
        (self.account, self.server) == (account.number, account.server)
    }

    /// Searches until it finds nothing more, beside all other work.
    pub async fn complete(&mut self, session: &Session) -> Result<(), Error> {
        while !self.search_once(session, self.until).await? {
            self.found.restart();
        }
        Ok(())
    }

    /// Examines the rows appended since the search was complete; the row of the account must be locked. Returns whether the search is still
    /// complete: the new rows may lead to new keys.
    pub async fn catch_up(&mut self, session: &Session) -> Result<bool, Error> {
        self.search_once(session, Seq(i64::MAX)).await
    }

    /// Begins the search of the log again, for all known keys. The row of the account must be locked.
    pub async fn restart(&mut self, session: &Session) -> Result<(), Error> {
        self.found.restart();
        self.until = last_committed(session).await?;
        Ok(())
    }

    /// Follows the keys, reads the rest of the log up to `until`, and follows the keys again; returns whether there were no new ones.
    async fn search_once(&mut self, session: &Session, until: Seq) -> Result<bool, Error> {
        self.follow(session).await?;
        self.scan(session, until).await?;
        self.found.end_of_log();
        self.follow(session).await?;
        Ok(self.found.is_complete())
    }

    /// Adds the keys that dead letters and links lead to.
    async fn follow(&mut self, session: &Session) -> Result<(), Error> {
        self.found.follow_again();
        loop {
            let new = self.found.take_new();
            if new.is_empty() {
                return Ok(());
            }
            self.found.add_user_keys(user_keys_beside(session, &new).await?);
            let sql = "SELECT DISTINCT affiliate FROM links WHERE key = ANY ($1) ORDER BY affiliate";
            let affiliates = session.query(sql, &[&link_keys(&new)]).await?;
            let affiliates: Vec<i64> = affiliates.iter().map(|row| row.get(0)).collect();
            for affiliate in &affiliates {
                self.found.add_affiliate(*affiliate);
            }
            let sql = "SELECT key FROM links WHERE affiliate = ANY ($1) ORDER BY key";
            for row in session.query(sql, &[&affiliates]).await? {
                self.found.add_user_keys(user_keys::hashes(row.get(0)));
            }
        }
    }

    /// Reads the rest of the log of the account up to `until`; the server leaves out other users' rows.
    async fn scan(&mut self, session: &Session, until: Seq) -> Result<(), Error> {
        let mut after = self.found.scanned_up_to();
        while after < until {
            let sql = "SELECT seq FROM log WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT 1 OFFSET $3";
            let end = session.query_opt(sql, &[&after.0, &until.0, &(PORTION - 1)]).await?;
            let end = end.map_or(until, |row| Seq(row.get(0)));
            // An event has one or two user keys.
            let sql = "SELECT seq, keys, outcome IS NULL FROM log WHERE seq > $1 AND seq <= $2 AND account = $3
                       AND (substr(keys, 2, 16) = ANY ($4) OR substr(keys, 19, 16) = ANY ($4)) ORDER BY seq";
            let keys = as_slices(self.found.keys());
            let rows = session.query(sql, &[&after.0, &end.0, &self.account, &keys]).await?;
            for row in rows {
                let row = ScannedRow { seq: Seq(row.get(0)), user_keys: row.get(1), is_pending: row.get(2) };
                self.found.scan(row);
            }
            self.found.end_of_portion(end);
            after = end;
        }
        Ok(())
    }

    /// The pending events among the rows found.
    pub async fn pending(&self, session: &Session) -> Result<BTreeSet<Seq>, Error> {
        let sql = "SELECT seq FROM log WHERE seq = ANY ($1) AND outcome IS NULL";
        let rows = session.query(sql, &[&numbers(self.found.rows())]).await?;
        Ok(rows.iter().map(|row| Seq(row.get(0))).collect())
    }

    /// The pending events of this list that may be in flight in another process: a live owner of the account has saved their progress. It
    /// cannot settle an event without saved progress after the event has ended. `token`: the token of this process's lease.
    pub async fn in_flight_elsewhere(
        &self,
        session: &Session,
        token: Option<LeaseToken>,
        pending: &BTreeSet<Seq>,
    ) -> Result<BTreeSet<Seq>, Error> {
        let (pending, token) = (numbers(pending), token.map(|held| held.token));
        let rows = session.query(&BEGUN_ELSEWHERE, &[&pending, &self.account, &token]).await?;
        let followers = |row: &Row| Attempts::read(row, 1).map(|attempts| attempts.followers).unwrap_or_default();
        Ok(rows.iter().flat_map(|row| followers(row).into_iter().chain([Seq(row.get(0))])).collect())
    }

    /// Counts the findings, as [`erase`] would. `token`: the token of this process's lease.
    pub async fn count(
        &self,
        session: &Session,
        in_flight: &InFlightEvents,
        token: Option<LeaseToken>,
    ) -> Result<Forgotten, Error> {
        let pending = self.pending(session).await?;
        let elsewhere = self.in_flight_elsewhere(session, token, &pending).await?;
        let flying = pending.iter().filter(|seq| elsewhere.contains(seq) || in_flight.contains(**seq)).count();
        let keys = self.found.keys();
        let sql = "SELECT count(DISTINCT seq) FROM dead_keys JOIN dead_letters USING (seq)
                   WHERE key = ANY ($1) AND body IS NOT NULL";
        let dead_letters: i64 = session.query_one(sql, &[&as_slices(keys)]).await?.get(0);
        let affiliates: Vec<i64> = self.found.affiliates().collect();
        let sql = "SELECT count(*) FROM links WHERE key = ANY ($1) OR affiliate = ANY ($2)";
        let links: i64 = session.query_one(sql, &[&link_keys(keys), &affiliates]).await?.get(0);
        Ok(Forgotten {
            events: (pending.len() - flying) as u64,
            in_flight: flying as u64,
            dead_letters: dead_letters.unsigned_abs(),
            links: links.unsigned_abs(),
            affiliates: affiliates.len() as u64,
            remembered: remembered::count(session, keys).await?,
        })
    }
}

fn numbers<'a>(seqs: impl IntoIterator<Item = &'a Seq>) -> Vec<i64> {
    seqs.into_iter().map(|seq| seq.0).collect()
}

/// The seq up to which every event of the account has committed. The row of the account must be locked, so that no process appends to it.
pub async fn last_committed(session: &Session) -> Result<Seq, Error> {
    Ok(Seq(session.query_one(key_blocks::LAST_SEQ, &[]).await?.get(0)))
}

/// Erases the findings of `search`, except `elsewhere` and the events in flight here. The row of the account must be locked. The caller
/// must hold the guard until this has committed.
pub async fn erase(
    session: &Session,
    search: &UserSearch,
    in_flight: &Arc<InFlightEvents>,
    (pending, elsewhere): (&BTreeSet<Seq>, &BTreeSet<Seq>),
    now: Timestamp,
) -> Result<(Forgotten, EraseGuard), Error> {
    compact::exclude(session).await?; // so that no filter is made of erased keys
    let candidates: Vec<Seq> = pending.difference(elsewhere).copied().collect();
    let guard = in_flight.erase(&candidates);
    let free: BTreeSet<Seq> = guard.seqs.iter().copied().collect();
    end_erased(session, &free, now).await?;
    let rows = search.found.rows().iter().filter(|seq| free.contains(seq) || !pending.contains(seq));
    let rows = numbers(rows);
    session.execute("UPDATE log SET keys = '' WHERE seq = ANY ($1)", &[&rows]).await?;
    key_blocks::remove_filters(session, &rows).await?;
    let keys = search.found.keys();
    let dead_letters = erase_dead_letters(session, keys).await?;
    let remembered = remembered::erase(session, keys).await?;
    let affiliates: Vec<i64> = search.found.affiliates().collect();
    let mut links = delete_links(session, keys).await?;
    links += session.execute("DELETE FROM links WHERE affiliate = ANY ($1)", &[&affiliates]).await?;
    let own = session.query("DELETE FROM affiliates WHERE affiliate = ANY ($1) RETURNING key", &[&affiliates]).await?;
    let own = own.iter().filter_map(|row| row.get::<_, &[u8]>(0).try_into().ok());
    let kept: Vec<UserKeyHash> = keys.iter().copied().chain(own).collect();
    deletions::keep(session, &deletions::of_user_keys(&kept, now, now)).await?;
    let in_flight = (pending.len() - free.len()) as u64;
    let (events, affiliates) = (free.len() as u64, affiliates.len() as u64);
    Ok((Forgotten { events, in_flight, dead_letters, links, affiliates, remembered }, guard))
}

/// Ends pending events whose user is erased: each becomes a dead letter without body and keys.
async fn end_erased(session: &Session, seqs: &BTreeSet<Seq>, now: Timestamp) -> Result<(), Error> {
    let sql = "INSERT INTO dead_letters (seq, account, id, code, reason, failures, received_at, died_at, history)
               SELECT log.seq, log.account, log.id, $2::text, $3::text, coalesce(attempts.failures, 0), log.received_at,
                   $4::bigint, attempts.history
               FROM log LEFT JOIN LATERAL (SELECT * FROM attempts WHERE attempts.seq = log.seq LIMIT 1) AS attempts ON true
               WHERE log.seq = ANY ($1)";
    session.execute(sql, &[&numbers(seqs), &OutcomeCode::Erased.as_str(), &ERASED, &now.0]).await?;
    let mut rows = SettledRows::default();
    for seq in seqs {
        rows.end(*seq, OutcomeCode::Erased);
    }
    rows.write(session).await
}
