//! Promises 8 and 9, stated naively: a list of dead letters, and what replaying, discarding and forgetting make of it.

use super::{Keys, Model, State, Waiting};
use refersion_destination::queue::{Forgotten, Replay};

/// A dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    place: usize,
    name: usize,
    /// None: it was erased, and nobody knows whose it was.
    keys: Option<Keys>,
    received_at: i64,
}

impl Letter {
    pub fn of(Waiting { place, name, keys, received_at, .. }: Waiting) -> Self {
        Self { place, name, keys: Some(keys), received_at }
    }

    fn is_of(&self, users: &Keys) -> bool {
        self.keys.as_ref().is_some_and(|keys| !keys.is_disjoint(users))
    }
}

/// What is shown of a dead letter.
#[derive(Debug)]
pub struct Shown {
    pub place: usize,
    pub name: usize,
    pub erased: bool,
}

impl Model {
    /// The dead letters, in the order in which they arrived as events.
    pub fn letters(&self) -> Vec<Shown> {
        let shown = |letter: &Letter| Shown { place: letter.place, name: letter.name, erased: letter.keys.is_none() };
        let mut letters: Vec<_> = self.dead.iter().map(shown).collect();
        letters.sort_by_key(|letter| letter.place);
        letters
    }

    /// Whether a letter of these users is there to be erased.
    pub fn keeps_letter_of(&self, users: &Keys) -> bool {
        self.dead.iter().any(|letter| letter.is_of(users))
    }

    /// A dead letter becomes an event like one that has just come, but that it was received long ago.
    pub fn replay(&mut self, place: usize) -> Replay {
        let Some(at) = self.dead.iter().position(|letter| letter.place == place) else { return Replay::Missing };
        let Letter { name, keys, received_at, .. } = self.dead[at].clone();
        let Some(keys) = keys else { return Replay::Erased };
        if self.waiting.iter().any(|event| event.name == name) {
            return Replay::SentAgain;
        }
        self.dead.remove(at);
        self.line_up(name, &keys, received_at);
        Replay::Waits
    }

    /// Whether there was such a letter.
    pub fn discard(&mut self, place: usize) -> bool {
        let before = self.dead.len();
        self.dead.retain(|letter| letter.place != place);
        self.dead.len() < before
    }

    pub fn forget(&mut self, users: &Keys) -> Forgotten {
        let users = self.reached_from(users);
        let mut forgotten = Forgotten::default();
        for letter in self.dead.iter_mut().filter(|letter| letter.is_of(&users)) {
            letter.keys = None;
            forgotten.dead_letters += 1;
        }
        let groups = self.groups_of(&users);
        let (theirs, others) = self.waiting.drain(..).partition(|event| groups.contains(&event.group));
        self.waiting = others;
        for event in theirs {
            if matches!(event.state, State::Leased { .. }) {
                forgotten.under_way += 1;
                self.waiting.push(event);
            } else {
                forgotten.events += 1;
                self.dead.push(Letter { keys: None, ..Letter::of(event) });
            }
        }
        self.waiting.sort_by_key(|event| event.place);
        forgotten
    }

    /// All keys that letters and groups lead to from these, and from what they lead to.
    fn reached_from(&self, users: &Keys) -> Keys {
        let groups = self.groups_of(users);
        let waiting = self.waiting.iter().filter(|event| groups.contains(&event.group)).map(|event| &event.keys);
        let dead = self.dead.iter().filter(|letter| letter.is_of(users)).filter_map(|letter| letter.keys.as_ref());
        let reached: Keys = waiting.chain(dead).flatten().chain(users).copied().collect();
        if reached == *users { reached } else { self.reached_from(&reached) }
    }
}
