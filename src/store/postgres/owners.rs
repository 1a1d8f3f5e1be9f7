//! The statements of [`super::ownership`] on the tables `accounts` and `replicas`.
//!
//! In: the moves of a process. Out: rows, and the moves that succeeded. Invariants: rows of `accounts` are locked in the order of their
//! numbers before they are changed, so no deadlock can arise; an account is taken only while the row of its dead owner is locked, so the
//! owner cannot renew its heartbeat meanwhile. Deliberately absent: any decision.

use super::accounts::{self, AccountNumber};
use super::leases::LeaseToken;
use super::session::Session;
use crate::domain::{AccountName, Seq, Timestamp};
use crate::scheduling::{AccountOwnership, ReplicaId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

const HEARTBEAT: &str = "INSERT INTO replicas (replica, until) VALUES ($1, now() + $2 * interval '1 millisecond')
    ON CONFLICT (replica) DO UPDATE SET until = excluded.until RETURNING pg_postmaster_start_time()";
const LIVE: &str = "SELECT replica FROM replicas WHERE until > now()";
/// The accounts that concern this process, or all.
const ACCOUNTS: &str = "SELECT accounts.account, accounts.name, accounts.token, accounts.asked_by, accounts.owner,
        coalesce(replicas.until > now(), false)
    FROM accounts LEFT JOIN replicas ON replicas.replica = accounts.owner
    WHERE $2 OR accounts.owner = $1 OR accounts.owner IS NULL OR coalesce(replicas.until <= now(), true)";
/// Locks a row and checks it again under the lock: its process may have renewed its heartbeat.
const STILL_DEAD: &str =
    "SELECT replica FROM replicas WHERE replica = ANY ($1) AND until <= now() ORDER BY replica FOR UPDATE";
const TAKE: &str = "UPDATE accounts SET owner = $1, token = $2, asked_by = NULL
    WHERE name = ANY ($3) AND (owner IS NULL OR owner = ANY ($4)
        OR NOT EXISTS (SELECT 1 FROM replicas WHERE replicas.replica = accounts.owner)) RETURNING name";
const ASK: &str = "UPDATE accounts SET asked_by = $1
    FROM unnest($2::text[], $3::uuid[]) AS asked (name, owner)
    WHERE accounts.name = asked.name AND accounts.owner = asked.owner";
const GIVE: &str = "UPDATE accounts SET owner = given.owner, token = $1, asked_by = NULL
    FROM unnest($3::text[], $4::uuid[], $5::uuid[]) AS given (name, owner, token)
    WHERE accounts.name = given.name AND accounts.owner = $2 AND accounts.token = given.token";
const NEWEST: &str = "SELECT held.account, (SELECT log.seq FROM log
        WHERE log.outcome IS NULL AND (log.account, log.seq) > (held.account, held.seen) AND log.account <= held.account
        ORDER BY log.account DESC, log.seq DESC LIMIT 1)
    FROM unnest($1::int[], $2::bigint[]) AS held (account, seen)";
const DEREGISTER: &str = "DELETE FROM replicas WHERE replica = $1
    AND NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.owner = replicas.replica)";
const CLEAN: &str = "DELETE FROM replicas WHERE until < now() - interval '1 hour'
    AND NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.owner = replicas.replica)";
const TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// A row of `accounts`.
#[derive(Clone, Debug)]
pub struct AccountRow {
    /// Its number.
    number: AccountNumber,
    /// Its name.
    pub name: AccountName,
    token: Option<Uuid>,
    asked_by: Option<ReplicaId>,
    /// Its owner.
    pub owner: Option<Uuid>,
    is_owner_alive: bool,
}

impl AccountRow {
    fn read(row: &Row) -> Self {
        Self {
            number: row.get(0),
            name: AccountName::from(row.get::<_, String>(1)),
            token: row.get(2),
            asked_by: row.get::<_, Option<Uuid>>(3).map(replica),
            owner: row.get(4),
            is_owner_alive: row.get(5),
        }
    }

    /// The token by which it is held, confirmed by the server with this start.
    pub fn lease_token(&self, server: SystemTime) -> Option<LeaseToken> {
        self.token.map(|token| LeaseToken { account: self.number, token, server })
    }

    /// The ownership of the account.
    pub fn owned(&self, was_orphaned: bool) -> AccountOwnership {
        let owner = self.owner.filter(|_| self.is_owner_alive).map(replica);
        AccountOwnership { owner, asked_by: self.asked_by, was_orphaned }
    }
}

/// The id of the process with this UUID.
pub fn replica(id: Uuid) -> ReplicaId {
    ReplicaId(id.as_u128())
}

/// The UUID of the process.
pub fn uuid(replica: ReplicaId) -> Uuid {
    Uuid::from_u128(replica.0)
}

/// The result of a heartbeat.
pub struct HeartbeatResult {
    /// When the server was started.
    pub server: SystemTime,
    /// The live processes.
    pub live: BTreeSet<ReplicaId>,
    /// The accounts that concern this process, or all.
    pub accounts: Vec<AccountRow>,
}

/// Renews the heartbeat of `me` for `millis` milliseconds, and adds the accounts `new`. `is_first`: it is the first heartbeat of the
/// process.
pub async fn heartbeat(
    session: &Session,
    me: Uuid,
    millis: f64,
    new: &[&str],
    (is_first, look_at_all): (bool, bool),
) -> Result<HeartbeatResult, Error> {
    if !new.is_empty() {
        accounts::add(session, new).await?;
    }
    if is_first {
        session.execute(CLEAN, &[]).await?;
    }
    let server = session.query_one(HEARTBEAT, &[&me, &millis]).await?.get(0);
    let live = session.query(LIVE, &[]).await?;
    let accounts = session.query(ACCOUNTS, &[&me, &look_at_all]).await?;
    let live = live.iter().map(|row| replica(row.get(0))).collect();
    Ok(HeartbeatResult { server, live, accounts: accounts.iter().map(AccountRow::read).collect() })
}

/// Takes accounts without an owner or with an owner that is not in the table `replicas`, and accounts whose owners in this list are still
/// dead; returns the taken ones.
pub async fn take(
    session: &Session,
    me: Uuid,
    token: Uuid,
    accounts: &[&str],
    owners: &[Uuid],
) -> Result<BTreeMap<AccountName, LeaseToken>, Error> {
    let dead = session.query(STILL_DEAD, &[&owners]).await?;
    let dead: Vec<Uuid> = dead.iter().map(|row| row.get(0)).collect();
    let locked = session.lock(accounts).await?;
    let taken = session.query(TAKE, &[&me, &token, &accounts, &dead]).await?;
    let taken = taken.iter().map(|row| AccountName::from(row.get::<_, String>(0)));
    let held = taken.filter_map(|name| {
        let lease = locked.get(&name)?.lease_token(token);
        Some((name, lease))
    });
    Ok(held.collect())
}

/// Asks the owners of these accounts to give them up; returns how many still own theirs.
pub async fn ask(session: &Session, me: Uuid, accounts: &[&str], owners: &[Uuid]) -> Result<u64, Error> {
    session.lock(accounts).await?;
    session.execute(ASK, &[&me, &accounts, &owners]).await
}

/// Gives accounts with these tokens to these owners or to nobody, with a new `token`.
pub async fn give(
    session: &Session,
    (me, token): (Uuid, Uuid),
    accounts: &[&str],
    owners: &[Option<Uuid>],
    tokens: &[Uuid],
) -> Result<(), Error> {
    session.lock(accounts).await?;
    session.execute(GIVE, &[&token, &me, &accounts, &owners, &tokens]).await.map(drop)
}

/// The newest pending event of each of these accounts above its seq, if there is one.
pub async fn newest(
    session: &Session,
    accounts: &[AccountNumber],
    seen: &[i64],
) -> Result<Vec<(AccountNumber, Seq)>, Error> {
    let rows = session.query(NEWEST, &[&accounts, &seen]).await?;
    Ok(rows.iter().filter_map(|row| Some((row.get(0), Seq(row.get::<_, Option<i64>>(1)?)))).collect())
}

/// Removes the process from the table `replicas`, if it owns no account.
pub async fn deregister(session: &Session, me: Uuid) -> Result<(), Error> {
    session.execute(DEREGISTER, &[&me]).await.map(drop)
}

/// The time of the database's clock.
pub async fn time(session: &Session) -> Result<Timestamp, Error> {
    Ok(Timestamp(session.query_one(TIME, &[]).await?.get(0)))
}
