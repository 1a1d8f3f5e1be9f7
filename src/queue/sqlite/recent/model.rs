//! Whatever is changed, committed, rolled back, written to its place or read again: a row is what it was last said to be.

use super::{Recent, Row};
use crate::domain::{Timestamp, UserKey};
use crate::queue::sqlite::keys::Keys;
use crate::queue::sqlite::schema;
use crate::queue::sqlite::seen::Seen;
use crate::queue::sqlite::users::Kept;
use proptest::prelude::*;
use rusqlite::Connection;
use std::collections::BTreeMap;

const KEYS: u8 = 12;

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// The user leads to this affiliate from now on, or is gone.
    User(u8, Option<u8>),
    /// The event is seen now.
    Seen(u8, u8),
    /// The user is looked up to be changed.
    Fetch(u8),
    /// So many rows are written to their places, and up to two changes leave the log.
    Sweep(usize),
    /// All users are about to be written to their places, and at this one there is no room left on the disk.
    Fail(u8),
    Commit,
    RollBack,
    /// The transaction is committed, and then it is learned of a portion of the rows that they are in their places.
    Learn,
    /// So many rows were removed that it is learned anew which are left.
    Lose,
    /// The process ends without a word, and another one begins.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..KEYS, proptest::option::of(0..3u8)).prop_map(|(key, to)| Step::User(key, to)),
        3 => (0..KEYS, any::<u8>()).prop_map(|(key, seq)| Step::Seen(key, seq)),
        4 => (0..KEYS).prop_map(Step::Fetch),
        4 => (0..9usize).prop_map(Step::Sweep),
        1 => (0..KEYS).prop_map(Step::Fail),
        5 => Just(Step::Commit),
        1 => Just(Step::RollBack),
        8 => Just(Step::Learn),
        1 => Just(Step::Lose),
        1 => Just(Step::Reopen),
    ]
}

/// What everything is: whom each user leads to, and as which event each id was seen.
type Truth = (BTreeMap<u8, u8>, BTreeMap<u8, u8>);

/// What lets a row fail to be written.
const FAILING: &str = "CREATE TEMP TABLE failing (key INTEGER);
    CREATE TEMP TRIGGER fail BEFORE INSERT ON users WHEN NEW.key IN (SELECT key FROM failing)
    BEGIN SELECT RAISE(ABORT, 'full'); END";

struct World {
    connection: Connection,
    recent: Recent,
    now: Truth,
    committed: Truth,
}

impl World {
    fn new() -> Self {
        let connection = Connection::open_in_memory().expect("opened");
        schema::create(&connection, &[0; 32]).expect("made");
        connection.execute_batch(FAILING).expect("made");
        connection.execute_batch("BEGIN").expect("begun");
        Self { connection, recent: Recent::default(), now: Truth::default(), committed: Truth::default() }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::User(key, to) => {
                self.recent.users.put(i64::from(*key), to.map(|to| leading(*key, to)));
                match to {
                    Some(to) => self.now.0.insert(*key, *to),
                    None => self.now.0.remove(key),
                };
            }
            Step::Seen(key, seq) => {
                let seen = Seen { at: Timestamp(0), seq: i64::from(*seq) };
                self.recent.seen.put([*key; 16], Some(seen));
                self.now.1.insert(*key, *seq);
            }
            Step::Fetch(key) => {
                let user = self.recent.users.fetch(&self.connection, i64::from(*key)).expect("fetched");
                assert!(user.is_none() || self.recent.users.hides(i64::from(*key)), "held from now on");
            }
            Step::Sweep(most) => {
                self.recent.keep(&self.connection).expect("kept");
                self.recent.sweep(&self.connection, *most).expect("swept");
                self.recent.leave(&self.connection, 2).expect("left");
                self.end("COMMIT");
            }
            Step::Fail(key) => {
                self.connection.execute("INSERT INTO failing VALUES (?1)", [key]).expect("told");
                let writes = self.recent.sweep(&self.connection, usize::from(KEYS)).is_ok();
                assert!(writes || self.now.0.contains_key(key));
                self.end("ROLLBACK");
            }
            Step::Commit => {
                self.recent.keep(&self.connection).expect("kept");
                self.end("COMMIT");
            }
            Step::Learn => {
                self.take(&Step::Commit);
                self.connection.execute_batch("COMMIT").expect("nothing to commit");
                self.recent.learn(&self.connection).expect("learned");
                self.connection.execute_batch("BEGIN").expect("begun");
            }
            Step::Lose => {
                self.recent.users.lost(9);
                self.recent.seen.lost(9);
            }
            Step::RollBack => {
                self.recent.keep(&self.connection).expect("kept");
                self.recent.sweep(&self.connection, 3).expect("swept");
                self.end("ROLLBACK");
            }
            Step::Reopen => {
                self.end("ROLLBACK");
                self.recent = Recent::read(&self.connection).expect("read");
            }
        }
    }

    fn end(&mut self, how: &str) {
        self.connection.execute_batch(&format!("{how}; BEGIN")).expect("ended");
        if how == "COMMIT" {
            self.recent.committed();
            self.committed = self.now.clone();
        } else {
            self.recent.rolled_back();
            self.now = self.committed.clone();
        }
    }

    fn check(&self) {
        for key in 0..KEYS {
            let user = self.recent.users.find(&self.connection, i64::from(key)).expect("found");
            assert_eq!(
                user.and_then(|user| user.leads_to()),
                self.now.0.get(&key).copied().map(i64::from),
                "user {key}"
            );
            let seen = self.recent.seen.find(&self.connection, [key; 16]).expect("found");
            assert_eq!(seen.map(|seen| seen.seq), self.now.1.get(&key).copied().map(i64::from), "id {key}");
        }
        for affiliate in 0..3 {
            let held = self.recent.users.leading_to(affiliate.into()).count();
            let sql = "SELECT key FROM users WHERE affiliate = ?1";
            let mut places = self.connection.prepare(sql).expect("a statement");
            let places = places.query_map([affiliate], |row| row.get(0)).expect("rows");
            let places = places.filter(|key| !self.recent.users.hides(*key.as_ref().expect("a key"))).count();
            assert_eq!(held + places, self.now.0.values().filter(|to| **to == affiliate).count(), "to {affiliate}");
        }
    }
}

fn leading(key: u8, affiliate: u8) -> Kept {
    let mut kept = Kept::default();
    for (_, entry) in Keys::new(&[UserKey::UserId([key; 16])]).entries() {
        kept.lead(entry, affiliate.into());
    }
    kept
}

proptest! {
    #[test]
    fn a_row_is_what_it_was_last_said_to_be(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
        world.take(&Step::Commit);
        while world.recent.tidy(&world.connection).expect("tidied") {}
        let left: i64 = world.connection.query_row("SELECT count(*) FROM changes", [], |row| row.get(0)).expect("a count");
        prop_assert_eq!(left, 0, "everything is in its place, and nothing in the log");
    }
}
