//! Reading the log: pending entries in log order, with the affiliates that their keys lead to.
//!
//! In: the token of an account's lease and a place in the log. Out: entries. Invariants: nothing is read ([`StoreError::NotOwner`]) if the
//! account does not have this token, or if another server confirmed it, because a promoted standby may have given the number of the account
//! to another one; the index of pending events is read from that place on, whatever PostgreSQL's statistics of the table are. The condition
//! and the order name both columns of this index, so no other index gives this order, and the rows of settled events, of which there may be
//! millions, are not examined.

use super::error::JobError;
use super::leases::LeaseToken;
use super::remembered::SHARED_LANES;
use super::session::{Session, unless_empty};
use crate::domain::{AffiliateKey, Seq, UserKey};
use crate::scheduling::Entry;
use crate::store::rows::pending::{add_affiliate, entry, user_keys_of};
use crate::store::{StoreError, user_keys};
use futures_util::future::try_join3;
use std::collections::{HashMap, HashSet};
use tokio_postgres::Row;

/// The columns of [`entry`], and the seq. One row of NULL: no event is pending. No row: the account is not held by this token.
const PENDING: &str = "SELECT pending.id, pending.keys, attempts.begun, attempts.followers, attempts.progress,
        attempts.failures, attempts.failing_for, attempts.wait, attempts.noted_at, pending.seq
    FROM accounts
        LEFT JOIN LATERAL (SELECT id, keys, seq FROM log
            WHERE log.outcome IS NULL AND (log.account, log.seq) > ($1, $2) AND log.account <= $1
            ORDER BY log.account, log.seq LIMIT $3) AS pending ON true
        LEFT JOIN LATERAL (SELECT * FROM attempts WHERE attempts.seq = pending.seq LIMIT 1) AS attempts ON true
    WHERE accounts.account = $1 AND accounts.token = $4 AND pg_postmaster_start_time() = $5";
const AFFILIATES: &str =
    "SELECT links.key, (SELECT affiliates.key FROM affiliates WHERE affiliates.affiliate = links.affiliate)
    FROM links WHERE links.key = ANY ($1)";
const PENDING_OF: &str = "SELECT seq, outcome FROM log WHERE seq = ANY ($1)";

/// Up to `limit` pending entries with a seq above `after` of the account that is held by this token.
pub async fn read(session: &Session, held: LeaseToken, after: Seq, limit: usize) -> Result<Vec<Entry>, JobError> {
    let LeaseToken { account, token, server } = held;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = session.query(PENDING, &[&account, &after.0, &limit, &token, &server]).await?;
    if rows.is_empty() {
        return Err(StoreError::NotOwner.into());
    }
    let pending = rows.iter().filter_map(|row| Some((Seq(row.get::<_, Option<i64>>(9)?), row)));
    let mut entries: Vec<Entry> = pending.map(|(seq, row)| entry(seq, row)).collect();
    if entries.is_empty() {
        return Ok(entries);
    }
    let users: HashSet<UserKey> = entries.iter().flat_map(user_keys_of).collect();
    let links: Vec<Vec<u8>> = users.iter().map(|key| user_keys::tagged(key).to_vec()).collect();
    let followers: Vec<i64> = entries.iter().flat_map(|entry| entry.followers.iter().map(|seq| seq.0)).collect();
    let hashes: Vec<&[u8]> = users.iter().map(|key| key.bytes().as_slice()).collect();
    let (links, values, hashes) = ([&links as _], [&followers as _], [&hashes as _]);
    session.prepare(&[AFFILIATES, PENDING_OF, SHARED_LANES]).await?;
    let pending = unless_empty(&followers, session.query(PENDING_OF, &values));
    let affiliates = session.query(AFFILIATES, &links);
    let (affiliates, pending, shared) = try_join3(affiliates, pending, session.query(SHARED_LANES, &hashes)).await?;
    let affiliates: HashMap<Vec<u8>, AffiliateKey> =
        affiliates.iter().filter_map(|row| Some((row.get(0), affiliate_key(row)?))).collect();
    let is_pending = |row: &&Row| row.get::<_, Option<i16>>(1).is_none();
    let pending: HashSet<Seq> = pending.iter().filter(is_pending).map(|row| Seq(row.get(0))).collect();
    for entry in &mut entries {
        for key in user_keys_of(entry) {
            for row in shared.iter().filter(|row| row.get::<_, &[u8]>(0) == key.bytes()) {
                if let Some(user) = affiliate_key(row) {
                    add_affiliate(entry, user);
                }
            }
            if let Some(affiliate) = affiliates.get(user_keys::tagged(&key).as_slice()) {
                add_affiliate(entry, *affiliate);
            }
        }
        entry.followers.retain(|seq| pending.contains(seq));
    }
    Ok(entries)
}

fn affiliate_key(row: &Row) -> Option<AffiliateKey> {
    row.get::<_, Option<&[u8]>>(1)?.try_into().ok().map(AffiliateKey)
}
