//! Beginning units: reads the bodies, known affiliates and progress of pending events.
//!
//! In: units of an account, and the token of its lease. Out: one [`Begun`] for each whose head is pending. Units are read in portions of two
//! round trips: heads and the sizes of followers, then followers and the memory of the users. Invariants: nothing is begun
//! ([`StoreError::NotOwner`]) if the account does not have this token, or if another server confirmed it, which may have given the seqs to
//! other events; a part that cannot be read is named in the result and in one line of the logs, and never replaced by a default.

use super::accounts::AccountNumber;
use super::error::JobError;
use super::leases::LeaseToken;
use super::memory::Memories;
use super::session::{Session, Values, unless_empty};
use crate::domain::{Seq, UserKey};
use crate::failpoint;
use crate::scheduling::Unit;
use crate::store::rows::pending::{Followers, Head, MAX_BYTES, MAX_FOLLOWERS_BYTES, follower};
use crate::store::rows::{Damaged, report};
use crate::store::{Begun, Follower, StoreError};
use futures_util::future::try_join;
use std::collections::{HashMap, HashSet};
use tokio_postgres::Row;

/// The units that are read at once: with followers, at most some ten mebibytes.
const PORTION: usize = 50;

/// The columns of [`Head::read`]; the account, the outcome, the seq. One row of NULL: there is none of these events. No row: the account is
/// not held by this token.
const HEADS: &str = "SELECT log.id, log.keys, log.received_at, (SELECT body FROM bodies WHERE bodies.seq = log.seq),
        attempts.begun, attempts.followers, attempts.progress, attempts.failures, attempts.failing_for, attempts.wait,
        attempts.noted_at, log.account, log.outcome, log.seq
    FROM accounts LEFT JOIN log ON log.seq = ANY ($1)
        LEFT JOIN LATERAL (SELECT * FROM attempts WHERE attempts.seq = log.seq LIMIT 1) AS attempts ON true
    WHERE accounts.account = $2 AND accounts.token = $3 AND pg_postmaster_start_time() = $4";
const SIZES: &str = "SELECT seq, octet_length(body) FROM bodies WHERE seq = ANY ($1)";
/// The columns of [`follower`]; the account, the outcome, the seq.
const FOLLOWERS: &str = "SELECT log.id, log.received_at, (SELECT body FROM bodies WHERE bodies.seq = log.seq),
        log.account, log.outcome, log.seq
    FROM log WHERE log.seq = ANY ($1)
        AND EXISTS (SELECT 1 FROM accounts WHERE account = $2 AND token = $3 AND pg_postmaster_start_time() = $4)";

/// Reads units of the account that is held by this token, in this order: `None` for one whose head is not pending.
pub async fn begin(session: &Session, held: LeaseToken, units: &[Unit]) -> Result<Vec<Option<Begun>>, JobError> {
    session.prepare(&[HEADS, SIZES, FOLLOWERS]).await?;
    let (mut begun, mut bytes) = (Vec::with_capacity(units.len()), 0);
    for portion in units.chunks(PORTION) {
        for one in begin_portion(session, held, portion).await? {
            if bytes >= MAX_BYTES {
                break;
            }
            bytes += one.as_ref().map_or(0, Begun::body_bytes);
            begun.push(one);
        }
        if bytes >= MAX_BYTES {
            break;
        }
    }
    failpoint::reach("store::begin");
    Ok(begun)
}

async fn begin_portion(session: &Session, held: LeaseToken, units: &[Unit]) -> Result<Vec<Option<Begun>>, JobError> {
    let LeaseToken { account, token, server } = held;
    let heads: Vec<i64> = units.iter().map(|unit| unit.head.0).collect();
    let asked: Vec<i64> = units.iter().flat_map(|unit| unit.followers.iter().map(|seq| seq.0)).collect();
    let (of_heads, of_followers): (Values<'_>, Values<'_>) = (&[&heads, &account, &token, &server], &[&asked]);
    let sizes = unless_empty(&asked, session.query(SIZES, of_followers));
    let (rows, sizes) = try_join(session.query(HEADS, of_heads), sizes).await?;
    if rows.is_empty() {
        return Err(StoreError::NotOwner.into());
    }
    let sizes: HashMap<Seq, usize> = sizes.iter().filter_map(size).collect();
    let is_pending = |row: &&Row| is_pending_in(row, 11, account);
    let mut heads: HashMap<Seq, Head> =
        rows.iter().filter(is_pending).map(|row| (Seq(row.get(13)), Head::read(row))).collect();
    let mut followers: HashMap<Seq, Followers> = HashMap::new();
    for unit in units {
        if let Some(head) = heads.get(&unit.head) {
            let mut with = head.followers(unit);
            if with.seqs == unit.followers {
                with.seqs = that_may_fit(with.seqs, &sizes);
            }
            followers.insert(unit.head, with);
        }
    }
    let users: HashSet<UserKey> = heads.values().flat_map(|head| head.user_keys().iter().copied()).collect();
    let wanted: Vec<i64> = followers.values().flat_map(|with| with.seqs.iter().map(|seq| seq.0)).collect();
    let values: Values<'_> = &[&wanted, &account, &token, &server];
    let with = unless_empty(&wanted, session.query(FOLLOWERS, values));
    let (rows, memories) = try_join(with, Memories::read(session, &users)).await?;
    let mut read: HashMap<Seq, Follower> = rows
        .iter()
        .filter(|row| is_pending_in(row, 3, account))
        .filter_map(|row| {
            let seq = Seq(row.get(5));
            let read = follower(seq, row).map_err(|Damaged(part)| report(seq, part));
            Some((seq, read.ok()?))
        })
        .collect();
    let each = units.iter().map(|unit| {
        let head = heads.remove(&unit.head)?;
        let memory = memories.of(head.user_keys()).map_err(|Damaged(part)| part.to_owned());
        let mut begun = head.begun(unit.head, memory);
        let mut with = followers.remove(&unit.head)?;
        for seq in std::mem::take(&mut with.seqs) {
            let Some(follower) = read.remove(&seq) else { continue };
            if !with.add(&mut begun, follower) {
                break;
            }
        }
        Some(begun)
    });
    Ok(each.collect())
}

fn size(row: &Row) -> Option<(Seq, usize)> {
    Some((Seq(row.get(0)), row.get::<_, Option<i32>>(1)?.try_into().ok()?))
}

/// The longest beginning of this list whose stored bodies together stay within the bound. Unpacked bodies are larger.
fn that_may_fit(mut seqs: Vec<Seq>, sizes: &HashMap<Seq, usize>) -> Vec<Seq> {
    let mut bytes = 0;
    let fit = seqs.iter().take_while(|seq| {
        bytes += sizes.get(seq).copied().unwrap_or(0);
        bytes <= MAX_FOLLOWERS_BYTES
    });
    let fit = fit.count();
    seqs.truncate(fit);
    seqs
}

/// Whether the row is of a pending event of the account: its number and the outcome are columns `at` and the next one.
fn is_pending_in(row: &Row, at: usize, account: AccountNumber) -> bool {
    row.get::<_, Option<i32>>(at) == Some(account) && row.get::<_, Option<i16>>(at + 1).is_none()
}
