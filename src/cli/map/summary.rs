//! The number of events of a file for each result, with the reasons, the notes, and the lines where they first occur.
//!
//! In: events, one after the other. Out: lines of text. Only the store knows whether a user is an affiliate, so an event that can only
//! change an affiliate is counted separately, with its result for a user who is no affiliate. Invariants: memory does not grow with the
//! file; no value of an event is printed. Deliberately absent: repeats, which only the store recognises.

use crate::cli::event_file::Item;
use crate::cli::tally::{Tally, count_line};
use crate::domain::Timestamp;
use crate::mapping::{self, Creation, Identify, Intent, Mapped, Note, Rules};
use crate::segment::Event;

/// The most notes that are printed, the commonest first.
const MAX_NOTES: usize = 10;

/// The result that an event would have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    /// Creates an affiliate, or changes the one that exists.
    Create,
    /// Changes an affiliate that exists, and is ignored or refused if there is none.
    Update(Otherwise),
    /// Disables an affiliate that exists.
    Disable,
    /// Nothing, whether there is an affiliate or not.
    Nothing(Otherwise),
}

/// The result of an event that does nothing, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Otherwise {
    Ignored(String),
    Refused(String),
}

/// The counts of one file.
#[derive(Debug, Default)]
pub(super) struct Summary {
    events: u64,
    create: u64,
    disable: u64,
    update: Reasons,
    nothing: Reasons,
    notes: Tally,
}

/// The counts of events that do nothing, by reason.
#[derive(Debug, Default)]
struct Reasons {
    ignored: Tally,
    refused: Tally,
}

impl Summary {
    /// Counts one event.
    pub(super) fn add(&mut self, item: &Item<'_>, rules: &Rules, received_at: Timestamp) {
        self.events += 1;
        let (expected, notes) = match &item.event {
            Ok(text) => expected(text, rules, received_at),
            Err(malformed) => (refused(malformed), Vec::new()),
        };
        for note in notes {
            self.notes.add(&note.to_string(), item.line);
        }
        match expected {
            Expected::Create => self.create += 1,
            Expected::Disable => self.disable += 1,
            Expected::Update(otherwise) => self.update.add(otherwise, item.line),
            Expected::Nothing(why) => self.nothing.add(why, item.line),
        }
    }

    /// Whether an event would be refused.
    pub(super) fn any_refused(&self) -> bool {
        self.update.refused.total + self.nothing.refused.total > 0
    }

    /// The counts as text.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![count_line(self.events, "events")];
        let Self { update, nothing, .. } = self;
        lines.push(count_line(self.create, "create an affiliate, or update the one that exists"));
        lines.push(count_line(
            update.refused.total,
            "update an affiliate that exists, and are refused if there is none",
        ));
        lines.extend(update.refused.lines());
        lines.push(count_line(
            update.ignored.total,
            "update an affiliate that exists, and are ignored if there is none",
        ));
        lines.extend(update.ignored.lines());
        lines.push(count_line(self.disable, "disable an affiliate that exists"));
        lines.push(count_line(nothing.ignored.total, "are ignored"));
        lines.extend(nothing.ignored.lines());
        lines.push(count_line(nothing.refused.total, "are refused"));
        lines.extend(nothing.refused.lines());
        if self.notes.total > 0 {
            lines.push("notes".to_owned());
            lines.extend(self.notes.lines().into_iter().take(MAX_NOTES));
        }
        lines
    }
}

impl Reasons {
    fn add(&mut self, otherwise: Otherwise, line: u64) {
        match otherwise {
            Otherwise::Ignored(reason) => self.ignored.add(&reason, line),
            Otherwise::Refused(reason) => self.refused.add(&reason, line),
        }
    }
}

/// The result that an event would have, and the values that would be left out.
fn expected(text: &str, rules: &Rules, received_at: Timestamp) -> (Expected, Vec<Note>) {
    let event = match Event::parse(text) {
        Ok(event) => event,
        Err(malformed) => return (refused(&malformed), Vec::new()),
    };
    let Mapped { intent, notes } = mapping::map(&event, rules, received_at);
    let expected = match intent {
        Ok(Intent::Identify(identify)) => of_identify(identify),
        Ok(Intent::Delete { .. }) => Expected::Disable,
        Ok(Intent::Nothing(reason)) => Expected::Nothing(Otherwise::Ignored(reason.to_string())),
        Err(error) => refused(&error),
    };
    (expected, notes)
}

/// The result of an event that has a part of the traits that create an affiliate (`remember_traits`).
const REMEMBERED: &str = "the user is no affiliate yet, and the event is remembered until others have said the rest";

fn of_identify(identify: Identify) -> Expected {
    let is_remembered = identify.pieces.as_ref().is_some_and(|pieces| pieces.are_worth_remembering(&identify));
    let otherwise = match identify.creation {
        Creation::Allowed(_) => return Expected::Create,
        _ if is_remembered => Otherwise::Ignored(REMEMBERED.to_owned()),
        Creation::Skipped(reason) => Otherwise::Ignored(reason.to_string()),
        Creation::Invalid(error) => Otherwise::Refused(error.to_string()),
    };
    let user_is_named = identify.user.user_id.is_some() || identify.user.email.is_some();
    let changes_something = !identify.facts.is_empty() || identify.status.is_some();
    if user_is_named && changes_something && !identify.may_only_create {
        Expected::Update(otherwise)
    } else {
        Expected::Nothing(otherwise)
    }
}

fn refused(reason: &impl ToString) -> Expected {
    Expected::Nothing(Otherwise::Refused(reason.to_string()))
}
