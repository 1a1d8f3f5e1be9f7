//! What is wrong with a configuration, in words for an operator who does not know it: where, what was found, what is
//! allowed, and a hint.
//!
//! Invariants: problems come in a stable order (files as given, then the environment, then what only shows in the whole);
//! a secret is never part of one.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from, lowest layer first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The manual, compiled in.
    Default,
    /// A `--config` file.
    File {
        /// Its position among the files, from 0.
        order: usize,
        /// Its path as given.
        path: PathBuf,
    },
    /// An environment variable.
    Environment,
    /// Several values seen together, or a value seen nowhere.
    Whole,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, .. } => path.display().fmt(f),
            Self::Environment => f.write_str("environment"),
            Self::Whole => f.write_str("not set"),
        }
    }
}

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    origin: Origin,
    at: String,
    text: String,
}

impl Problem {
    /// A problem with what is called `name` at `place`.
    pub(super) fn new(name: &str, origin: &Origin, text: impl Into<String>) -> Self {
        Self { origin: origin.clone(), at: format!("{name} ({origin})"), text: text.into() }
    }

    /// A problem with a whole file.
    pub(super) fn file(origin: &Origin, text: impl Into<String>) -> Self {
        Self { origin: origin.clone(), at: origin.to_string(), text: text.into() }
    }

    /// A problem between two values, each of them all right by itself.
    pub(super) fn between(one: &str, other: &str, text: impl Into<String>) -> Self {
        Self { origin: Origin::Whole, at: format!("{one} and {other}"), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}

/// A problem was noted; there is nothing more to say.
pub(super) struct Noted;

/// Everything wrong with a configuration, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes one more.
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Notes one more, as the outcome of what was read.
    pub(super) fn note(&mut self, problem: Problem) -> Noted {
        self.push(problem);
        Noted
    }

    /// Notes those of `others` that are not noted yet.
    pub(super) fn add_new(&mut self, others: &Self) {
        for problem in &others.0 {
            if !self.0.contains(problem) {
                self.push(problem.clone());
            }
        }
    }

    /// Brings them into the order in which they are told.
    pub(super) fn sort(&mut self) {
        self.0.sort_by(|a, b| a.origin.cmp(&b.origin));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them, in the order in which they are told.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a problem:")?,
            many => write!(f, "the configuration has {many} problems:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

/// Something odd about a configuration that holds all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    at: String,
    text: String,
}

impl Warning {
    /// A warning about what is called `name` at `place`.
    pub(super) fn new(name: &str, origin: &Origin, text: impl Into<String>) -> Self {
        Self { at: format!("{name} ({origin})"), text: text.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}

/// `PENDING or ACTIVE`, `a, b or c`: what is allowed, as people say it.
pub(super) fn either<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", first.join(", "), last.as_ref())
        }
    }
}
