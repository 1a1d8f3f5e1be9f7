//! A naive model of the store: a list of rows that every operation searches from the start.
//!
//! Deliberately absent: affiliates, accounts, and state that is lost at a restart.

use refersion_destination::domain::Seq;
use refersion_destination::store::{Forgotten, Replay};
use std::collections::{BTreeMap, BTreeSet};

/// The keys of a user: one or two.
pub type Keys = BTreeSet<&'static str>;

/// The result of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Waits,
    Settled,
    /// It is a dead letter; erased or not.
    Dead {
        erased: bool,
    },
}

/// A row of the log.
#[derive(Clone, Debug)]
pub struct Row {
    pub seq: Seq,
    pub name: usize,
    pub keys: Keys,
    pub received_at: i64,
    pub state: State,
    pub page: u32,
    pub begun: bool,
    pub failures: u32,
    pub followers: Vec<Seq>,
    in_flight: bool,
}

impl Row {
    pub fn attempted(&self) -> bool {
        self.page > 0 || self.begun || self.failures > 0 || !self.followers.is_empty()
    }
}

/// What an append is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted {
        waiting: u64,
    },
    Duplicate,
    UnknownUser,
    /// No event of the user waits, but events of others do: an engine that is not certain of that appends the event.
    AcceptedOrUnknown {
        waiting: u64,
    },
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Done,
    Dead,
    Retry,
    HandBack,
}

/// A store as a list.
#[derive(Debug, Default)]
pub struct Model {
    rows: Vec<Row>,
    /// Of each key of a deleted user: the latest moment of a deletion, and the latest receipt of one.
    deletions: BTreeMap<&'static str, (i64, i64)>,
}

impl Model {
    pub fn waiting(&self) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.state == State::Waits).collect()
    }

    pub fn letters(&self) -> Vec<&Row> {
        self.rows.iter().filter(|row| matches!(row.state, State::Dead { .. })).collect()
    }

    /// What is begun with a head and still waits.
    pub fn followers(&self, head: &Row) -> Vec<Seq> {
        head.followers.iter().copied().filter(|seq| self.waiting().iter().any(|row| row.seq == *seq)).collect()
    }

    pub fn knows(&self, name: usize) -> bool {
        self.rows.iter().any(|row| row.name == name)
    }

    /// What an append is to be answered; where it is accepted, [`Model::push`] follows.
    pub fn append(&self, name: usize, keys: &Keys, known_users_only: bool) -> Answer {
        let waiting = self.waiting().len() as u64;
        let is_known_by = |row: &Row| {
            matches!(row.state, State::Waits | State::Dead { erased: false }) && !row.keys.is_disjoint(keys)
        };
        if self.knows(name) {
            Answer::Duplicate
        } else if !known_users_only || self.rows.iter().any(is_known_by) {
            Answer::Accepted { waiting }
        } else if waiting == 0 {
            Answer::UnknownUser
        } else {
            Answer::AcceptedOrUnknown { waiting }
        }
    }

    pub fn push(&mut self, seq: Seq, name: usize, keys: &Keys, received_at: i64) {
        assert!(self.rows.iter().all(|row| row.seq < seq), "no seq is given twice");
        self.rows.push(Row {
            seq,
            name,
            keys: keys.clone(),
            received_at,
            state: State::Waits,
            page: 0,
            begun: false,
            failures: 0,
            followers: Vec::new(),
            in_flight: false,
        });
    }

    fn row(&mut self, seq: Seq) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.seq == seq && row.state == State::Waits)
    }

    /// Whether one of them is being carried out.
    pub fn in_flight(&self, seqs: &[Seq]) -> bool {
        self.rows.iter().any(|row| row.in_flight && seqs.contains(&row.seq))
    }

    pub fn begin(&mut self, seqs: &[Seq], in_flight: bool) {
        for seq in seqs {
            if let Some(row) = self.row(*seq) {
                row.in_flight = in_flight;
            }
        }
    }

    /// False: its head does not wait.
    pub fn save(&mut self, seqs: &[Seq], page: u32) -> bool {
        let Some(row) = self.row(seqs[0]) else { return false };
        (row.page, row.begun, row.followers) = (page, true, seqs[1..].to_vec());
        true
    }

    /// False: its head does not wait. Its events are in flight no longer in any case.
    pub fn settle(&mut self, seqs: &[Seq], end: End, page: u32) -> bool {
        self.begin(seqs, false);
        let Some(row) = self.row(seqs[0]) else { return false };
        (row.begun, row.page) = (false, page);
        match end {
            End::Done => {
                for seq in seqs {
                    self.row(*seq).into_iter().for_each(|row| row.state = State::Settled);
                }
            }
            End::Dead => row.state = State::Dead { erased: false },
            End::Retry => row.failures += 1,
            End::HandBack => row.followers = Vec::new(),
        }
        true
    }

    pub fn reopen(&mut self) {
        self.rows.iter_mut().for_each(|row| row.in_flight = false);
    }

    /// The user with these keys was deleted at `at`, as an event received at `received_at` says.
    pub fn delete(&mut self, users: &Keys, at: i64, received_at: i64) {
        for user in users {
            let (latest, received) = self.deletions.entry(user).or_insert((at, received_at));
            (*latest, *received) = (at.max(*latest), received_at.max(*received));
        }
    }

    /// When the user with these keys was deleted last.
    pub fn deleted_at(&self, users: &Keys) -> Option<i64> {
        users.iter().filter_map(|user| Some(self.deletions.get(user)?.0)).max()
    }

    pub fn compact(&mut self, before: i64) {
        self.deletions.retain(|_, (_, received_at)| *received_at >= before);
        self.rows.retain(|row| row.state != State::Settled || row.received_at >= before);
    }

    /// The expected answer to a replay; if the event waits again, it must be pushed again.
    pub fn replay(&mut self, seq: Seq) -> (Replay, Option<Row>) {
        let letter = self.rows.iter_mut().find(|row| row.seq == seq && matches!(row.state, State::Dead { .. }));
        match letter.map(|row| (row.state, row)) {
            None => (Replay::Missing, None),
            Some((State::Dead { erased: false }, row)) => {
                row.state = State::Settled;
                (Replay::Replayed, Some(row.clone()))
            }
            Some(_) => (Replay::Erased, None),
        }
    }

    /// Whether there was such a letter.
    pub fn discard(&mut self, seq: Seq) -> bool {
        let letter = self.rows.iter_mut().find(|row| row.seq == seq && matches!(row.state, State::Dead { .. }));
        letter.is_some_and(|row| {
            row.state = State::Settled;
            true
        })
    }

    pub fn forget(&mut self, users: &Keys, now: i64) -> Forgotten {
        let users = self.reached_from(users);
        self.delete(&users, now, now);
        let mut forgotten = Forgotten::default();
        for row in self.rows.iter_mut().filter(|row| !row.keys.is_disjoint(&users)) {
            match row.state {
                State::Waits if row.in_flight => forgotten.in_flight += 1,
                State::Waits => {
                    row.state = State::Dead { erased: true };
                    forgotten.events += 1;
                }
                State::Dead { erased: false } => {
                    row.state = State::Dead { erased: true };
                    forgotten.dead_letters += 1;
                }
                State::Settled | State::Dead { erased: true } => {}
            }
        }
        forgotten
    }

    /// All keys that events and letters lead to from these, and from what they lead to.
    fn reached_from(&self, users: &Keys) -> Keys {
        let leads = |row: &&Row| {
            matches!(row.state, State::Waits | State::Dead { erased: false }) && !row.keys.is_disjoint(users)
        };
        let reached: Keys = self.rows.iter().filter(leads).flat_map(|row| &row.keys).chain(users).copied().collect();
        if reached == *users { reached } else { self.reached_from(&reached) }
    }
}
