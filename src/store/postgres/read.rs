//! Reading the log: pending entries in log order, with the affiliates that their keys lead to.
//!
//! In: an account and a place in the log. Out: entries. Invariant: the index of pending events is read from that place on, whatever
//! PostgreSQL's statistics of the table are. The condition and the order name both columns of this index, so no other index gives this
//! order, and the rows of settled events, of which there may be millions, are not examined.

use super::remembered::SHARED_LANES;
use super::session::Session;
use super::shared::AccountNumber;
use crate::domain::{AffiliateKey, Seq, UserKey};
use crate::scheduling::Entry;
use crate::store::rows::pending::{add_affiliate, entry, user_keys_of};
use crate::store::user_keys;
use futures_util::future::try_join3;
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Error, Row};

/// The columns of [`entry`], and the seq.
const PENDING: &str =
    "SELECT log.id, log.keys, attempts.begun, attempts.followers, attempts.progress, attempts.failures,
        attempts.failing_for, attempts.wait, attempts.noted_at, log.seq
    FROM log LEFT JOIN LATERAL (SELECT * FROM attempts WHERE attempts.seq = log.seq LIMIT 1) AS attempts ON true
    WHERE log.outcome IS NULL AND (log.account, log.seq) > ($1, $2) AND log.account <= $1
    ORDER BY log.account, log.seq LIMIT $3";
const AFFILIATES: &str =
    "SELECT links.key, (SELECT affiliates.key FROM affiliates WHERE affiliates.affiliate = links.affiliate)
    FROM links WHERE links.key = ANY ($1)";
const PENDING_OF: &str = "SELECT seq, outcome FROM log WHERE seq = ANY ($1)";

/// Up to `limit` pending entries of the account with a seq above `after`.
pub async fn read(session: &Session, account: AccountNumber, after: Seq, limit: usize) -> Result<Vec<Entry>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = session.query(PENDING, &[&account, &after.0, &limit]).await?;
    let mut entries: Vec<Entry> = rows.iter().map(|row| entry(Seq(row.get(9)), row)).collect();
    let users: HashSet<UserKey> = entries.iter().flat_map(user_keys_of).collect();
    let links: Vec<Vec<u8>> = users.iter().map(|key| user_keys::tagged(key).to_vec()).collect();
    let followers: Vec<i64> = entries.iter().flat_map(|entry| entry.followers.iter().map(|seq| seq.0)).collect();
    let hashes: Vec<&[u8]> = users.iter().map(|key| key.bytes().as_slice()).collect();
    let (links, values, hashes) = ([&links as _], [&followers as _], [&hashes as _]);
    session.prepare(&[AFFILIATES, PENDING_OF, SHARED_LANES]).await?;
    let (affiliates, pending) = (session.query(AFFILIATES, &links), session.query(PENDING_OF, &values));
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
