//! Rows of pending events: for the scheduler, and for the beginning of a unit.
//!
//! In: rows of `log` with their body and attempts. Out: [`Entry`]s and [`Begun`] events. Invariants: a part that cannot be read is named in
//! the result and in one line of the logs; entries for the scheduler leave it out, and the event is found damaged when it is begun.
//! Deliberately absent: the affiliates that user keys lead to, which an engine looks up.

use super::attempts::Attempts;
use super::{Columns, DAMAGED_PAGE, Damaged, event_id, report, timestamp};
use crate::delivery::Memory;
use crate::domain::{AffiliateKey, EventId, LaneKey, Seq, Timestamp, UserKey};
use crate::scheduling::{Entry, Unit};
use crate::store::{Begun, Follower, body, user_keys};

/// The columns that [`entry`] reads, in this order, before those of [`Attempts::read`].
pub const ENTRY_COLUMNS: &str = "log.id, log.keys";

/// Reads the entry at `seq` from its own row. The caller adds the affiliates that its user keys lead to ([`add_affiliate`]), and removes
/// followers that are no longer pending.
pub fn entry(seq: Seq, row: &impl Columns) -> Entry {
    let users = row.blob(1, "log.keys").ok().flatten().and_then(user_keys::from_blob).unwrap_or_default();
    let attempts = Attempts::read(row, 2);
    let attempted = attempts.as_ref().map_or(true, Attempts::attempted);
    let attempts = attempts.unwrap_or_default();
    Entry {
        seq,
        id: event_id(row, 0, "log.id").unwrap_or(EventId([0; 16])),
        lane_keys: users.into_iter().map(LaneKey::User).collect(),
        attempted,
        followers: attempts.followers,
        retry: attempts.retry,
    }
}

/// An entry with only its seq. It runs in a separate lane, and is found damaged when it is begun.
pub fn unreadable_entry(seq: Seq) -> Entry {
    Entry { seq, id: EventId([0; 16]), lane_keys: Vec::new(), attempted: true, followers: Vec::new(), retry: None }
}

/// Adds an affiliate that a user key of the entry leads to. All events whose keys lead to it are of one user.
pub fn add_affiliate(entry: &mut Entry, affiliate: AffiliateKey) {
    let key = LaneKey::Affiliate(affiliate);
    if !entry.lane_keys.contains(&key) {
        entry.lane_keys.push(key);
    }
}

/// The user keys of an entry.
pub fn user_keys_of(entry: &Entry) -> Vec<UserKey> {
    let user = |key: &LaneKey| if let LaneKey::User(user) = key { Some(*user) } else { None };
    entry.lane_keys.iter().filter_map(user).collect()
}

/// The most bytes of the bodies (unpacked) of the followers of a head.
pub const MAX_FOLLOWERS_BYTES: usize = 128 * 1024;
/// The bytes of bodies (unpacked) after which no further unit is begun at once.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The columns that [`Head::read`] reads, in this order, before those of [`Attempts::read`].
pub const HEAD_COLUMNS: &str = "log.id, log.keys, log.received_at, bodies.body";

/// The row of the head of a unit; each part of it may be damaged.
#[derive(Debug)]
pub struct Head {
    id: Result<EventId, Damaged>,
    keys: Result<Vec<UserKey>, Damaged>,
    received_at: Result<Timestamp, Damaged>,
    body: Result<Vec<u8>, Damaged>,
    attempts: Result<Attempts, Damaged>,
}

impl Head {
    /// Reads [`HEAD_COLUMNS`] and [`attempts::COLUMNS`](super::attempts::COLUMNS).
    pub fn read(row: &impl Columns) -> Self {
        let keys =
            row.blob(1, "log.keys").and_then(|keys| keys.and_then(user_keys::from_blob).ok_or(Damaged("log.keys")));
        Self {
            id: event_id(row, 0, "log.id"),
            keys,
            received_at: timestamp(row, 2, "log.received_at"),
            body: read_body(row, 3),
            attempts: Attempts::read(row, 4),
        }
    }

    /// A head that the engine cannot read at all.
    pub fn unreadable() -> Self {
        Self {
            id: Err(DAMAGED_PAGE),
            keys: Ok(Vec::new()),
            received_at: Ok(Timestamp::default()),
            body: Err(DAMAGED_PAGE),
            attempts: Ok(Attempts::default()),
        }
    }

    /// The user keys, as far as they can be read.
    pub fn user_keys(&self) -> &[UserKey] {
        self.keys.as_deref().unwrap_or_default()
    }

    /// The followers to begin with `unit`: those of its mark, if it has one, whatever joined the lane since.
    pub fn followers(&self, unit: &Unit) -> Followers {
        let marked = self.attempts.as_ref().map_or(&[][..], |attempts| &attempts.followers);
        let is_marked = !marked.is_empty();
        let seqs = if is_marked { marked } else { &unit.followers };
        Followers { seqs: seqs.to_vec(), room: (!is_marked).then_some(MAX_FOLLOWERS_BYTES) }
    }

    /// The begun event at `seq`, without followers. `memory`: the memory of its user, or its damaged part.
    pub fn begun(self, seq: Seq, memory: Result<Memory, String>) -> Begun {
        let Self { id, keys, received_at, body, attempts } = self;
        let damaged = [id.as_ref().err(), keys.as_ref().err(), received_at.as_ref().err(), attempts.as_ref().err()];
        let damaged = damaged.into_iter().flatten().next().map(|Damaged(part)| (*part).to_owned());
        let damaged = damaged.or_else(|| memory.as_ref().err().cloned());
        let body = damaged.map_or(body.map_err(|Damaged(part)| part.to_owned()), Err);
        if let Err(part) = &body {
            report(seq, part);
        }
        let attempts = attempts.unwrap_or_default();
        Begun {
            seq,
            id: id.unwrap_or(EventId([0; 16])),
            body,
            user_keys: keys.unwrap_or_default(),
            memory: memory.unwrap_or_default(),
            progress: attempts.progress,
            interrupted: attempts.begun, // its progress was saved, and it was not settled since
            failures: attempts.failures,
            failing_for: attempts.failing_for,
            received_at: received_at.unwrap_or_default(),
            followers: Vec::new(),
        }
    }
}

/// The followers of a head to begin with it.
#[derive(Debug)]
pub struct Followers {
    /// Their seqs, in log order.
    pub seqs: Vec<Seq>,
    /// The remaining bytes for their bodies. None: events that were begun together before are begun together again, however large.
    room: Option<usize>,
}

impl Followers {
    /// Adds the next follower; returns whether it fits. After the first that does not fit, no further one is added.
    pub fn add(&mut self, begun: &mut Begun, follower: Follower) -> bool {
        if let Some(room) = &mut self.room {
            let Some(rest) = room.checked_sub(follower.body.len()) else { return false };
            *room = rest;
        }
        begun.followers.push(follower);
        true
    }
}

/// The columns that [`follower`] reads, in this order.
pub const FOLLOWER_COLUMNS: &str = "log.id, log.received_at, bodies.body";

/// Reads a follower. A follower with a damaged row is left out, and found damaged when it is the head.
pub fn follower(seq: Seq, row: &impl Columns) -> Result<Follower, Damaged> {
    let (id, received_at) = (event_id(row, 0, "log.id")?, timestamp(row, 1, "log.received_at")?);
    Ok(Follower { seq, id, body: read_body(row, 2)?, received_at })
}

fn read_body(row: &impl Columns, column: usize) -> Result<Vec<u8>, Damaged> {
    row.blob(column, "bodies.body")?.and_then(body::unpack).ok_or(Damaged("bodies.body"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Cell;
    use super::*;

    const USER: UserKey = UserKey::UserId([1; 16]);

    /// The row of a head that was never attempted.
    fn head() -> Vec<Cell> {
        let mut row = vec![
            Cell::Blob(vec![7; 16]),
            Cell::Blob(user_keys::to_blob(&[USER])),
            Cell::Integer(5),
            Cell::Blob(b"{}".to_vec()),
        ];
        row.extend(vec![Cell::Null; 7]);
        row
    }

    /// The same, begun with followers.
    fn marked(followers: &[i64]) -> Vec<Cell> {
        let mut row = head();
        let seqs = followers.iter().flat_map(|seq| seq.to_be_bytes()).collect();
        row.splice(4..8, [Cell::Integer(1), Cell::Blob(seqs), Cell::Null, Cell::Integer(0)]);
        row[8] = Cell::Integer(0);
        row
    }

    fn follower_of(bytes: usize) -> Follower {
        Follower { seq: Seq(2), id: EventId([2; 16]), body: vec![b'x'; bytes], received_at: Timestamp(6) }
    }

    fn begin(row: &Vec<Cell>) -> Begun {
        Head::read(row).begun(Seq(1), Ok(Memory::default()))
    }

    #[test]
    fn a_damaged_part_is_named_in_place_of_the_body() {
        assert_eq!(begin(&head()).body, Ok(b"{}".to_vec()));
        for (column, cell, part) in [
            (0, Cell::Blob(vec![7]), "log.id"),
            (1, Cell::Blob(vec![9]), "log.keys"),
            (1, Cell::Null, "log.keys"),
            (2, Cell::Null, "log.received_at"),
            (3, Cell::Null, "bodies.body"),
            (3, Cell::Blob(vec![1, 0xff, 0xff, 0xff, 0xff, 0]), "bodies.body"),
            (4, Cell::Text(String::new()), "attempts.begun"),
        ] {
            let mut row = head();
            row[column] = cell;
            assert_eq!(begin(&row).body, Err(part.to_owned()));
        }
        let memory = Head::read(&head()).begun(Seq(1), Err("affiliates.sent".to_owned()));
        assert_eq!(memory.body, Err("affiliates.sent".to_owned()));
        assert_eq!(Head::unreadable().begun(Seq(1), Ok(Memory::default())).body, Err(DAMAGED_PAGE.0.to_owned()));
    }

    #[test]
    fn a_unit_is_begun_with_the_followers_of_its_mark_and_else_with_those_asked_for() {
        let unit = Unit { head: Seq(1), followers: vec![Seq(8)] };
        assert_eq!(Head::read(&head()).followers(&unit).seqs, [Seq(8)]);
        assert_eq!(Head::read(&marked(&[2, 3])).followers(&unit).seqs, [Seq(2), Seq(3)]);
    }

    #[test]
    fn followers_have_a_bound_in_bytes_unless_they_were_asked_for_together_before() {
        let unit = Unit::of(Seq(1));
        for (row, fit) in [(head(), [true, false, true]), (marked(&[2]), [true, true, true])] {
            let (mut begun, mut followers) = (begin(&row), Head::read(&row).followers(&unit));
            let sizes = [MAX_FOLLOWERS_BYTES - 9, 10, 9];
            assert_eq!(sizes.map(|bytes| followers.add(&mut begun, follower_of(bytes))), fit);
        }
    }

    #[test]
    fn an_entry_with_a_damaged_row_runs_in_a_lane_of_its_own_and_follows_no_other() {
        let read = |row: Vec<Cell>| entry(Seq(1), &[row[..2].to_vec(), row[4..].to_vec()].concat());
        let mut whole = read(head());
        assert_eq!((whole.lane_keys.as_slice(), whole.attempted), (&[LaneKey::User(USER)][..], false));
        add_affiliate(&mut whole, AffiliateKey([3; 16]));
        add_affiliate(&mut whole, AffiliateKey([3; 16]));
        assert_eq!((whole.lane_keys.len(), user_keys_of(&whole)), (2, vec![USER]));
        assert_eq!(read(marked(&[2])).followers, [Seq(2)]);
        let mut damaged = head();
        (damaged[1], damaged[4]) = (Cell::Null, Cell::Text(String::new()));
        assert_eq!((read(damaged.clone()).lane_keys.len(), read(damaged).attempted), (0, true));
        assert!(unreadable_entry(Seq(1)).attempted);
    }
}
