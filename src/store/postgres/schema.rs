//! The tables of the PostgreSQL engine, and their migrations.
//!
//! The tables are those of the SQLite engine with PostgreSQL's types. They have the same keyed hashes, and personal data in plain text only
//! in bodies, which are packed in the same way. Differences: `ids` is the deduplication index (in memory with SQLite, which has one
//! process), an affiliate is found by `affiliates.key` instead of by a link with its own tag, and `accounts` has the owner of each account.
//! Invariants: a row of `accounts` is locked by every transaction that changes events of its account, and appending never updates it (the
//! versions of a row that is updated all the time cannot be removed while a backup runs); a change of the tables is expanded first, so that
//! the previous release can run beside it, and contracted one release later, when `oldest_reader` is raised. Deliberately absent: foreign
//! keys and triggers, which would make decisions.

use crate::failpoint;

/// A migration from one version of the tables to the next.
#[derive(Clone, Debug)]
pub struct Migration {
    /// The version it leads to.
    pub version: i64,
    /// The oldest [`version`] of a release that can still work with the tables.
    pub oldest_reader: i64,
    /// The statements.
    pub sql: &'static str,
}

/// SQL: the schema of the tables, wherever it stands in `search_path`; as long as there are none, the first one, in which they are made. Its
/// name is quoted, since `regnamespace` reads capital letters without quotes as small ones.
macro_rules! schema_of_tables {
    () => {
        "coalesce((SELECT relnamespace FROM pg_class WHERE oid = to_regclass('dead_keys')),
             quote_ident(current_schema())::regnamespace::oid)"
    };
}
pub(super) use schema_of_tables;

/// Every migration, in order. A released migration is never changed.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, oldest_reader: 1, sql: TABLES },
    // A release of version 1 neither makes nor removes blocks: it may leave blocks without rows, and filters of forgotten user keys.
    Migration { version: 2, oldest_reader: 1, sql: KEY_BLOCKS },
    // An earlier release makes filters without event ids, removes entries of the ledger when the deduplication window has passed, and
    // neither remembers nor erases traits of users who are no affiliates yet.
    Migration { version: 3, oldest_reader: 1, sql: LEDGER_AND_REMEMBERED_TRAITS },
];

/// The migrations that this process knows. A test adds a migration of the next release. It `expands` the tables, so that this release can
/// still run, or it `contracts` them.
pub fn migrations() -> Vec<Migration> {
    let mut known = MIGRATIONS.to_vec();
    if let (Some(effect), Some(last)) = (failpoint::argument("store::next_release"), known.last()) {
        let (this, next) = (last.version, last.version + 1);
        let sql = "ALTER TABLE accounts ADD COLUMN of_the_next_release int";
        known.push(Migration { version: next, oldest_reader: if effect == "contracts" { next } else { this }, sql });
    }
    known
}

/// The version of the tables that this release makes.
pub fn version() -> i64 {
    migrations().last().map_or(0, |last| last.version)
}

/// The names of all tables.
pub fn tables() -> Vec<&'static str> {
    tables_after(0)
}

/// The names of the tables that the migrations after `version` make; after 0: of all tables.
pub fn tables_after(version: i64) -> Vec<&'static str> {
    let later = MIGRATIONS.iter().filter(|migration| migration.version > version).map(|migration| migration.sql);
    let made = (version == 0).then_some(META).into_iter().chain(later);
    let names = made.flat_map(|sql| sql.split("CREATE TABLE ").skip(1));
    names.filter_map(|rest| rest.trim_start_matches("IF NOT EXISTS ").split_whitespace().next()).collect()
}

/// The first table to be made: `version`, `oldest_reader` and `ids_forgotten_up_to` (numbers: 8 bytes, big-endian; up to this seq only the
/// ids of pending events and of dead letters count), `hash_key` (32 bytes), and, for each account whose affiliates are read from
/// Refersion's list, `list` with the number of the account (text: the progress).
pub const META: &str = "CREATE TABLE IF NOT EXISTS meta (name text PRIMARY KEY, value bytea NOT NULL)";

const TABLES: &str = "
-- owner: the process that delivers for the account, and token: of its lease; both NULL: nobody does. asked_by: the process that
-- asks the owner for it. health: opaque text.
CREATE TABLE accounts (
    account  int  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text NOT NULL UNIQUE,
    owner    uuid,
    token    uuid,
    asked_by uuid,
    health   text
);

-- Processes that are alive, by the database's clock.
CREATE TABLE replicas (replica uuid PRIMARY KEY, until timestamptz NOT NULL);

-- Seqs are drawn while the row of the account is locked, so those of an account are in the order of their commits.
CREATE SEQUENCE log_seq;

-- Every event, until the deduplication window and (from version 3 on) that of the ledger have passed.
CREATE TABLE log (
    seq         bigint   PRIMARY KEY,
    received_at bigint   NOT NULL, -- ms
    account     int      NOT NULL,
    outcome     smallint,          -- NULL: pending; else the number of an OutcomeCode
    id          bytea    NOT NULL, -- 16 bytes
    keys        bytea    NOT NULL  -- see user_keys.rs; empty once its user was forgotten
);
-- Pending events.
CREATE INDEX log_waiting ON log (account, seq) WHERE outcome IS NULL;

-- The newest row of the log with an id. former: a row with this id was appended before its events were moved here from a store
-- of an earlier release, so it may be the id that releases before 0.3.0 gave.
CREATE TABLE ids (id bytea PRIMARY KEY, seq bigint NOT NULL, former boolean NOT NULL DEFAULT false);

-- Bodies of pending events; see body.rs. They are packed already.
CREATE TABLE bodies (seq bigint PRIMARY KEY, body bytea NOT NULL);
ALTER TABLE bodies ALTER COLUMN body SET STORAGE EXTERNAL;

-- Pending events that were begun with a mark, or failed.
CREATE TABLE attempts (
    seq         bigint   PRIMARY KEY,
    failing_for bigint   NOT NULL, -- ms
    wait        bigint,            -- ms; NULL: no wait
    noted_at    bigint,            -- ms; when the wait was written
    failures    int      NOT NULL,
    begun       boolean  NOT NULL, -- its progress was saved, and it was not settled since
    followers   bytea,             -- seqs begun in one group with it, 8 bytes each, big-endian; NULL: none
    progress    text,              -- JSON; NULL: none
    history     text               -- see history.rs
);

-- Affiliates remembered. key: the hash of the affiliate itself (HashKey::affiliate), by which its row is found.
CREATE TABLE affiliates (
    affiliate      bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             bigint,
    account        int     NOT NULL,
    found          boolean NOT NULL, -- it existed before this service met it
    email_conflict boolean NOT NULL, -- its e-mail could not be changed, because another affiliate has the new one
    key            bytea   NOT NULL UNIQUE, -- 16 bytes
    code           text    NOT NULL,
    sent           bytea   NOT NULL  -- see SentAttributes
);
CREATE INDEX affiliates_email_conflict ON affiliates (affiliate) WHERE email_conflict;

-- The keys of users that lead to an affiliate: 17 bytes, see user_keys.rs.
CREATE TABLE links (key bytea PRIMARY KEY, affiliate bigint NOT NULL);
CREATE INDEX links_affiliate ON links (affiliate, key);

-- What can never be carried out. body and keys: NULL once erased.
CREATE TABLE dead_letters (
    seq         bigint PRIMARY KEY,
    received_at bigint NOT NULL,
    died_at     bigint NOT NULL,
    account     int    NOT NULL,
    failures    int    NOT NULL,
    id          bytea  NOT NULL,
    code        text   NOT NULL,
    reason      text   NOT NULL,
    keys        bytea,
    history     text,
    body        bytea
);
ALTER TABLE dead_letters ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE dead_keys (key bytea NOT NULL, seq bigint NOT NULL, PRIMARY KEY (key, seq));
CREATE INDEX dead_keys_seq ON dead_keys (seq);

-- Keys (16 bytes, without tag) of users that were deleted, and when.
CREATE TABLE deleted_users (
    key         bytea  PRIMARY KEY,
    deleted_at  bigint NOT NULL, -- ms; no newer than the receipt
    received_at bigint NOT NULL  -- ms; of the event that deleted them
);
CREATE INDEX deleted_users_received ON deleted_users (received_at);

-- API keys of accounts that are not configured: nonce and sealed key pair.
CREATE TABLE sealed_keys (account text PRIMARY KEY, sealed bytea NOT NULL);
";

const KEY_BLOCKS: &str = "
-- Blocks of successive rows of the log, in order; see key_blocks.rs. filter: of the keys in it; NULL: to be made anew.
CREATE TABLE key_blocks (last bigint PRIMARY KEY, first bigint NOT NULL, filter bytea);
ALTER TABLE key_blocks ALTER COLUMN filter SET STORAGE EXTERNAL;
CREATE INDEX key_blocks_without_filter ON key_blocks (last) WHERE filter IS NULL;
";

const LEDGER_AND_REMEMBERED_TRAITS: &str = "
-- source: the id of the source at Segment, if the event said one. answered: the event was answered without being appended: it has an
-- outcome and no body, and its id is not in ids.
ALTER TABLE log ADD COLUMN source text, ADD COLUMN answered boolean NOT NULL DEFAULT false;
-- with_ids: the filter has the ids of events, too.
ALTER TABLE key_blocks ADD COLUMN with_ids boolean NOT NULL DEFAULT false;
CREATE INDEX key_blocks_to_make ON key_blocks (last) WHERE filter IS NULL OR NOT with_ids;
-- What is remembered of users who are no affiliates yet. Keys: 16 bytes, without tag.
CREATE TABLE remembered_traits (
    key        bytea  PRIMARY KEY, -- of the userId
    email      bytea,              -- of the e-mail address that is in it; NULL: none is
    expires_at bigint NOT NULL,    -- ms
    account    int    NOT NULL,
    size       int    NOT NULL,    -- bytes of sealed
    names      text   NOT NULL,    -- of what is in it, on one line each
    sealed     bytea  NOT NULL     -- see RememberedTraits; sealed with STORE_SEAL_KEY
);
ALTER TABLE remembered_traits ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX remembered_traits_email ON remembered_traits (email) WHERE email IS NOT NULL;
CREATE INDEX remembered_traits_age ON remembered_traits (account, expires_at) INCLUDE (size);
CREATE INDEX remembered_traits_expires ON remembered_traits (expires_at);
";
