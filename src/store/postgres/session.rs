//! A session: one connection to PostgreSQL, its settings, and its prepared statements.
//!
//! In: statements with values. Out: rows. Statements are sent when their future is first polled, so several of them joined (`try_join!`)
//! travel in one packet, in that order, provided that they were prepared ([`Session::prepare`]) before. Invariants: a statement is prepared
//! once in a session, and planned once: its plan depends on no value; every commit is synced, whatever the server's default; no statement
//! and no transaction lasts longer than [`SETTINGS`] permit, so a frozen process does not delay another for longer. Behind PgBouncer in
//! transaction mode each transaction may be in another session of the server, so nothing is kept in a session: PgBouncer makes the
//! settings, and they are only checked; a statement is sent as a whole each time, and only the types of its values are kept. Deliberately
//! absent: reconnecting ([`super::connection`]).

use super::accounts::{LOCK, Locked};
use futures_util::future::try_join;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::OnceCell;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, Statement};
use tokio_util::sync::CancellationToken;

/// The values of a statement.
pub type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The settings of a session. The first settings make plans find rows by index, beginning with the few rows that the statement names;
/// without them, plans that were made while the tables were empty would join whole tables. They are not sufficient for a table that has few
/// rows by PostgreSQL's statistics, such as `bodies` after a vacuum: reading it as a whole for a join seems to be cheap, but it may have
/// millions of outdated rows that an old transaction keeps. So statements on the path of events look its rows up one by one, by `LATERAL (…
/// LIMIT 1)` or a subquery for a single value, neither of which is ever planned as a join. A frozen process holds its locks for a second.
/// The wait for a lock ends before the caller of an append gives the server up, so that the caller gets the reason.
const SETTINGS: &str = "
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;
    SET lock_timeout = '2500ms';
    SET statement_timeout = '5s';
    SET idle_in_transaction_session_timeout = '1s';
    SET default_transaction_isolation = 'read committed';
    SET client_min_messages = warning;
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');
";

/// Fails if a session that a pooler made lacks one of the settings that matter. It changes nothing. The wait for a lock is longer than in
/// [`SETTINGS`], as in the configurations of poolers that exist.
const CHECK_SETTINGS: &str = "DO $$
    DECLARE missing text;
    BEGIN
        SELECT string_agg(wanted.name || '=' || wanted.value, ', ') INTO missing
        FROM (VALUES ('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('jit', 'off'),
            ('lock_timeout', '3s'), ('statement_timeout', '5s'), ('idle_in_transaction_session_timeout', '1s'),
            ('default_transaction_isolation', 'read committed')) AS wanted (name, value)
        WHERE current_setting(wanted.name) <> wanted.value;
        IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
            missing := concat_ws(', ', missing, 'synchronous_commit=on');
        END IF;
        IF missing IS NOT NULL THEN
            RAISE EXCEPTION 'the sessions of the pooler lack the settings %; see connect_query', missing;
        END IF;
    END $$";

/// The name of a statement that is prepared only to get the types of its values.
const FOR_TYPES: &str = "refersion_destination_types";

/// An open session.
pub struct Session {
    client: Client,
    is_pooled: bool,
    statements: Mutex<HashMap<&'static str, Arc<OnceCell<Prepared>>>>,
    answered: AtomicU64,
    /// Cancelled when the connection has ended.
    ended: CancellationToken,
}

/// The cached part of a statement.
#[derive(Clone)]
enum Prepared {
    /// It was prepared in this session.
    InSession(Statement),
    /// The types of its values.
    Types(Vec<Type>),
}

impl Session {
    /// A session on a connection that was just made. `ended` is cancelled when the connection has ended.
    pub async fn open(client: Client, is_pooled: bool, ended: CancellationToken) -> Result<Self, Error> {
        client.batch_execute(if is_pooled { CHECK_SETTINGS } else { SETTINGS }).await?;
        Ok(Self { client, is_pooled, statements: Mutex::default(), answered: AtomicU64::new(0), ended })
    }

    /// Whether each transaction may be in another session of the server. Then no setting of the session is possible.
    pub fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    /// The number of statements that the server has answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Counts the answer to a statement.
    fn counted<T>(&self, answer: T) -> T {
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Prepares statements that will be sent together.
    pub async fn prepare(&self, statements: &[&'static str]) -> Result<(), Error> {
        for sql in statements {
            self.prepared(sql).await?;
        }
        Ok(())
    }

    /// Runs a statement and returns its rows.
    pub async fn query(&self, sql: &'static str, values: Values<'_>) -> Result<Vec<Row>, Error> {
        match self.prepared(sql).await? {
            Prepared::InSession(statement) => self.counted(self.client.query(&statement, values).await),
            Prepared::Types(types) => self.counted(self.client.query_typed(sql, &with_types(values, types)).await),
        }
    }

    /// Runs a statement and returns its row, if there is one.
    pub async fn query_opt(&self, sql: &'static str, values: Values<'_>) -> Result<Option<Row>, Error> {
        Ok(self.query(sql, values).await?.into_iter().next())
    }

    /// Runs a statement and returns its only row.
    pub async fn query_one(&self, sql: &'static str, values: Values<'_>) -> Result<Row, Error> {
        match self.prepared(sql).await? {
            Prepared::InSession(statement) => self.counted(self.client.query_one(&statement, values).await),
            Prepared::Types(types) => self.counted(self.client.query_typed_one(sql, &with_types(values, types)).await),
        }
    }

    /// Runs a statement and returns the number of rows that it changed.
    pub async fn execute(&self, sql: &'static str, values: Values<'_>) -> Result<u64, Error> {
        match self.prepared(sql).await? {
            Prepared::InSession(statement) => self.counted(self.client.execute(&statement, values).await),
            Prepared::Types(types) => self.counted(self.client.execute_typed(sql, &with_types(values, types)).await),
        }
    }

    /// Runs one or more statements without values and results. They are not prepared.
    pub async fn run_statements(&self, sql: &str) -> Result<(), Error> {
        self.counted(self.client.batch_execute(sql).await)
    }

    /// Runs `work` in a transaction: committed if it succeeds, rolled back if it fails. `work` uses this session, and must return every
    /// error of PostgreSQL: after an error, nothing would be committed.
    pub async fn transaction<T, E: From<Error>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.run_statements("BEGIN").await?;
        match work.await {
            Ok(done) => {
                self.run_statements("COMMIT").await?;
                Ok(done)
            }
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    /// Locks the rows of the accounts with these names until the transaction ends.
    pub async fn lock(&self, names: &[&str]) -> Result<Locked, Error> {
        Ok(Locked::read(&self.query(LOCK, &[&names]).await?))
    }

    /// Begins a transaction, and locks the rows of the accounts with these names.
    pub async fn begin_locked(&self, names: &[&str]) -> Result<Locked, Error> {
        self.prepare(&[LOCK]).await?;
        // One packet: each future sends its statement when it is first polled, in this order.
        let begun = try_join(self.run_statements("BEGIN"), self.lock(names)).await;
        if begun.is_err() {
            self.roll_back().await;
        }
        begun.map(|((), locked)| locked)
    }

    /// Ends the transaction without its changes.
    pub async fn roll_back(&self) {
        // Err: the session has ended, and the transaction with it.
        let _ = self.run_statements("ROLLBACK").await;
    }

    /// Returns when the connection has ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Whether the connection has ended.
    pub fn has_ended(&self) -> bool {
        self.client.is_closed()
    }

    /// The statement; jobs that run at once prepare it once.
    async fn prepared(&self, sql: &'static str) -> Result<Prepared, Error> {
        let prepared = Arc::clone(self.statements.lock().entry(sql).or_default());
        let prepare = async || {
            Ok(if self.is_pooled {
                Prepared::Types(self.counted(self.types(sql).await)?)
            } else {
                Prepared::InSession(self.counted(self.client.prepare(sql).await)?)
            })
        };
        prepared.get_or_try_init(prepare).await.cloned()
    }

    /// The types of the values of a statement. It is one message, so a pooler sends it to one session.
    async fn types(&self, sql: &str) -> Result<Vec<Type>, Error> {
        let ask = format!(
            "PREPARE {FOR_TYPES} AS {sql}; SELECT array_to_string(parameter_types::oid[], ' ') FROM pg_prepared_statements
             WHERE name = '{FOR_TYPES}'; DEALLOCATE {FOR_TYPES}"
        );
        let messages = self.client.simple_query(&ask).await?;
        let numbers = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        // A value for a type that the driver does not know is refused when it is sent.
        let of_number = |number: &str| number.parse().ok().and_then(Type::from_oid).unwrap_or(Type::UNKNOWN);
        Ok(numbers.unwrap_or_default().split_whitespace().map(of_number).collect())
    }
}

/// Runs the query for these events, unless there are none: most units have no followers.
pub async fn unless_empty(
    seqs: &[i64],
    query: impl Future<Output = Result<Vec<Row>, Error>>,
) -> Result<Vec<Row>, Error> {
    if seqs.is_empty() { Ok(Vec::new()) } else { query.await }
}

/// Values, each with its type.
fn with_types(values: Values<'_>, types: Vec<Type>) -> Vec<(&(dyn ToSql + Sync), Type)> {
    values.iter().copied().zip(types).collect()
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("ended", &self.has_ended()).finish_non_exhaustive()
    }
}
