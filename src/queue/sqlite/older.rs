//! Files of earlier releases: from the version of their tables to today's, in one transaction.
//!
//! Nothing is lost on the way: what waits goes on waiting, in its line; what was leased is ready again, as interrupted; who is
//! known stays known. Of dead letters of version 1 the keys are not known: they are shown and discarded, but not replayed.

use super::keys::Keys;
use super::recent::Row as _;
use super::schema::{SINCE_4, SINCE_5, VERSION, create};
use super::users::Kept;
use crate::domain::UserKey;
use rusqlite::{Connection, Row};

/// To version 2: an event's history, and dead letters that can be replayed.
const TO_2: &str = "
ALTER TABLE events ADD COLUMN history TEXT;
ALTER TABLE dead_letters ADD COLUMN history TEXT;
ALTER TABLE dead_letters ADD COLUMN keys BLOB;
CREATE INDEX dead_keys_seq ON dead_keys (seq);
";

/// To version 3: API keys of accounts that are not configured.
const TO_3: &str = "CREATE TABLE sealed_keys (account TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;";

/// To version 4, before its tables are made: out of their way.
const BEFORE_4: &str = "
DROP INDEX events_ready;
DROP INDEX events_lane;
DROP INDEX events_leased;
DROP INDEX seen_at;
DROP INDEX links_affiliate;
ALTER TABLE events RENAME TO old_events;
ALTER TABLE affiliates RENAME TO old_affiliates;
ALTER TABLE seen RENAME TO old_seen;
";

/// To version 4, once its tables are there and before links become users.
const TO_4: &str = "
INSERT INTO events (seq, account, id, keys, lane, received_at, not_before, interrupted, failures, failing_since, progress,
                    history, body)
    SELECT seq, account, id, keys, nullif(lane, seq), received_at, nullif(not_before, received_at), lease <> 0, failures,
           failing_since, progress, history, body
    FROM old_events ORDER BY seq;
CREATE INDEX old_lane ON old_events (lane, seq);
INSERT INTO ready (account, at, seq)
    SELECT account, not_before, seq FROM old_events AS event
    WHERE NOT EXISTS (SELECT 1 FROM old_events AS ahead WHERE ahead.lane = event.lane AND ahead.seq < event.seq);
INSERT INTO waiting SELECT account, count(*) FROM old_events GROUP BY account;
INSERT INTO users (key, waiting, lane) SELECT key, waiting, lane FROM lanes;
INSERT INTO affiliates (account, code, id, found, sent) SELECT account, code, id, found, sent FROM old_affiliates;
INSERT INTO seen SELECT id, at, 0 FROM old_seen WHERE at IS NOT NULL;
INSERT INTO seen SELECT id, received_at, seq FROM old_events WHERE true
    ON CONFLICT (id) DO UPDATE SET at = excluded.at, seq = excluded.seq;
DROP TABLE old_events;
DROP TABLE old_affiliates;
DROP TABLE old_seen;
DROP TABLE lanes;
";

/// The version of a file made by a newer release, if it is one; else today's tables are there when this returns.
pub fn migrate(connection: &mut Connection, new_hash_key: &[u8; 32]) -> rusqlite::Result<Option<i64>> {
    let transaction = connection.transaction()?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 => create(&transaction, new_hash_key)?,
        1..VERSION => {
            if version < 2 {
                transaction.execute_batch(TO_2)?;
            }
            if version < 3 {
                transaction.execute_batch(TO_3)?;
            }
            if version < 4 {
                transaction.execute_batch(BEFORE_4)?;
                transaction.execute_batch(SINCE_4)?;
                transaction.execute_batch(TO_4)?;
                links_become_users(&transaction)?;
                transaction.execute_batch("DROP TABLE links")?;
            }
            transaction.execute_batch(SINCE_5)?;
        }
        VERSION => return Ok(None),
        newer => return Ok(Some(newer)),
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(None)
}

fn links_become_users(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT key, is_email, affiliate FROM links JOIN affiliates USING (account, code)";
    let mut links = connection.prepare(sql)?;
    let mut write = connection.prepare(Kept::WRITE)?;
    let read = |row: &Row<'_>| {
        let key = if row.get(1)? { UserKey::Email(row.get(0)?) } else { UserKey::UserId(row.get(0)?) };
        Ok((key, row.get(2)?))
    };
    for link in links.query_map([], read)? {
        let (key, affiliate) = link?;
        for (row, entry) in Keys::new(&[key]).entries() {
            let mut kept = Kept::read(connection, row)?.unwrap_or_default();
            kept.lead(entry, affiliate);
            kept.write(&mut write, row)?;
        }
    }
    Ok(())
}
