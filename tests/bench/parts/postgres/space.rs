//! The space that PostgreSQL's tables take while events go through them: it must not grow with the number of events.
//!
//! Events of a fixed number of users are appended, begun, marked and settled as fast as the machine can, as those that create affiliates
//! are, and the store is compacted as the service does it. The window is a number of events, so that as many are to be kept in the middle
//! as at the end. `--events` says how many go through. Nothing is synced, since sizes are measured, not rates. Printed are the greatest
//! sizes within each tenth of the events.

use super::engine::{LEASE, account, begin, close, connect, new_event, own, settle_each, stores};
use crate::Bench;
use crate::postgres_server::{Durability, Server};
use crate::report::{Goal, Row, Series, print_line};
use futures_util::future::join_all;
use refersion_destination::delivery::{AffiliateRecord, Origin, Progress};
use refersion_destination::domain::{
    AccountName, AffiliateCode, AffiliateId, HashKey, SentAttributes, Seq, Timestamp, UserId,
};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{
    AffiliateChanges, EventLog, Maintenance, NewEvent, PostgresStore, Remember, Retention,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_postgres::Client;

const PART: &str = "postgres_space";

const USERS: u64 = 20_000;
/// So many of the latest events are in the window.
const WINDOW: u64 = 100_000;
/// At most so many events are pending.
const PENDING: u64 = 20_000;
/// So many callers append, each so many events at once.
const CALLERS: usize = 4;
const PER_CALL: u64 = 100;
/// So many entries are read, and so many units begun and settled, at once.
const ENTRIES: usize = 2_000;
const UNITS: usize = 100;

const SAMPLE_EVERY: Duration = Duration::from_millis(500);

const TENTHS: usize = 10;
/// The tenth that ends in the middle.
const MIDDLE: usize = TENTHS / 2 - 1;

/// Bytes of each table and of its indexes.
type Sizes = BTreeMap<String, (i64, i64)>;

/// How far the events have come.
struct Passage {
    store: Arc<PostgresStore>,
    account: AccountName,
    events: u64,
    /// The number of the next event to append.
    next: AtomicU64,
    settled: watch::Sender<u64>,
}

pub fn run(bench: &mut Bench) -> bool {
    let Some(server) = Server::start(Durability::None) else {
        print_line("  skipped: there are no programs of PostgreSQL here");
        return true;
    };
    let greatest = crate::refersion::runtime().block_on(measure(&server, bench.events));
    let bytes = |tenth: usize| greatest[tenth].values().map(|(table, indexes)| table + indexes).sum::<i64>() as f64;
    let mut series = Series::default();
    series.push(bytes(TENTHS - 1) / 1e6, bytes(MIDDLE) / 1e6);
    let row = Row::new(format!("tables and indexes at the end of {} events", bench.events), "MB", vec![series]);
    bench.report.add(PART, row.ratio_to("in the middle").goal(Goal::AtMost(1.05)));
    true
}

async fn measure(server: &Server, events: u64) -> [Sizes; TENTHS] {
    let stores = stores(&server.url(), 1).await;
    let (store, account) = (Arc::clone(&stores[0]), account("main"));
    let passage = Passage { store, account, events, next: AtomicU64::new(0), settled: watch::Sender::new(0) };
    own(&passage.store, &passage.account).await;
    let client = connect(&server.url()).await;
    let wal = position(&client).await;
    let passed = async {
        tokio::join!(passage.settle(), join_all((0..CALLERS).map(|_| passage.append())));
    };
    let greatest = tokio::select! {
        ((), greatest) = async { tokio::join!(passed, passage.sample(&client)) } => greatest,
        () = passage.compact() => unreachable!("it never ends"),
        () = passage.renew() => unreachable!("it never ends"),
    };
    print_line(&format!("  {} bytes of WAL an event", (position(&client).await - wal) as u64 / events));
    close(stores).await;
    greatest
}

impl Passage {
    async fn append(&self) {
        let mut settled = self.settled.subscribe();
        loop {
            let first = self.next.fetch_add(PER_CALL, Ordering::Relaxed);
            if first >= self.events {
                return;
            }
            settled.wait_for(|settled| first < settled + PENDING).await.expect("it is open");
            let event = |number| {
                let (hash, event) = (self.store.hash_key(), new_event(&self.store, &self.account, number));
                let user_keys = vec![hash.user_id(&self.account, &user(number))];
                NewEvent { user_keys, received_at: moment(number), ..event }
            };
            self.store.append((first..first + PER_CALL).map(event).collect()).await.expect("appended");
        }
    }

    async fn settle(&self) {
        let mut after = Seq(0);
        while *self.settled.borrow() < self.events {
            let entries = self.store.read(&self.account, after, ENTRIES).await.expect("read");
            if entries.is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            for some in entries.chunks(UNITS) {
                let units: Vec<Unit> = some.iter().map(|entry| Unit::of(entry.seq)).collect();
                self.settle_units(&units).await;
                self.settled.send_modify(|settled| *settled += units.len() as u64);
                after = some.last().map_or(after, |last| last.seq);
            }
        }
    }

    /// As events that create affiliates, or change them.
    async fn settle_units(&self, units: &[Unit]) {
        let (store, account) = (&self.store, &self.account);
        begin(store, account, units).await;
        let progress = Progress::default();
        let marked =
            units.iter().map(|unit| store.save_progress(account, unit, &progress, AffiliateChanges::default()));
        assert!(join_all(marked).await.iter().all(Result::is_ok), "all are marked");
        let changes = |unit: &Unit| remember(store.hash_key(), account, unit.head.0.unsigned_abs());
        settle_each(store, account, units, changes).await;
    }

    async fn compact(&self) {
        loop {
            sleep(self.store.compaction_interval()).await;
            let now = moment(self.next.load(Ordering::Relaxed));
            let window = Duration::from_millis(WINDOW);
            self.store.compact(Retention::new(now, window, window)).await.expect("compacted");
        }
    }

    async fn renew(&self) {
        loop {
            sleep(LEASE / 8).await;
            own(&self.store, &self.account).await;
        }
    }

    /// The greatest sizes within each tenth.
    async fn sample(&self, client: &Client) -> [Sizes; TENTHS] {
        let mut greatest: [Sizes; TENTHS] = Default::default();
        let (mut began, mut now) = (Instant::now(), 0);
        while now < TENTHS {
            for (table, (rows, indexes)) in sizes(client).await {
                let most = greatest[now].entry(table).or_default();
                *most = (most.0.max(rows), most.1.max(indexes));
            }
            let settled = *self.settled.borrow();
            let tenth = usize::try_from(settled * TENTHS as u64 / self.events).unwrap_or(TENTHS);
            if tenth > now {
                let rate = self.events as f64 / TENTHS as f64 / began.elapsed().as_secs_f64();
                print_line(&format!("  {settled} events, {rate:.0}/s: {}", described(&greatest[now])));
                (began, now) = (Instant::now(), tenth);
            }
            sleep(SAMPLE_EVERY).await;
        }
        greatest
    }
}

/// Each event is received a millisecond after the one before.
fn moment(number: u64) -> Timestamp {
    Timestamp(number.cast_signed())
}

fn user(number: u64) -> UserId {
    UserId::parse(&format!("user{:012}", number % USERS)).expect("a userId")
}

fn remember(hash: &HashKey, account: &AccountName, number: u64) -> AffiliateChanges {
    let known = AffiliateRecord {
        code: AffiliateCode(format!("code{}", number % USERS)),
        id: Some(AffiliateId(number % USERS)),
        origin: Origin::Created,
        sent: SentAttributes::default(),
    };
    let user_keys = vec![hash.user_id(account, &user(number))];
    AffiliateChanges { remember: Some(Remember { known, user_keys }), ..AffiliateChanges::default() }
}

async fn position(client: &Client) -> i64 {
    let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
    client.query_one(sql, &[]).await.expect("read").get(0)
}

async fn sizes(client: &Client) -> Sizes {
    let sql = "SELECT relname::text, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
        WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";
    let rows = client.query(sql, &[]).await.expect("read");
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

/// In megabytes, and only what takes one.
fn described(sizes: &Sizes) -> String {
    let large = sizes.iter().filter(|(_, (rows, indexes))| rows + indexes >= 1_000_000);
    let each = large.map(|(table, (rows, indexes))| format!("{table} {} + {}", rows / 1_000_000, indexes / 1_000_000));
    let all: i64 = sizes.values().map(|(rows, indexes)| rows + indexes).sum();
    format!("{} MB (tables + indexes: {})", all / 1_000_000, each.collect::<Vec<_>>().join(", "))
}
