//! Problems of a configuration: for each the location, the value that was found, the values that are allowed, and a hint.
//!
//! The texts are for an operator who does not know the configuration. Invariants: problems are sorted by origin (files as given, then the
//! environment, then problems between values), and no problem contains a secret.

use std::fmt;
use std::path::PathBuf;

/// The layer that a value comes from, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SettingOrigin {
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
    /// No single layer: the problem is between several values, or a value is missing.
    Whole,
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, .. } => path.display().fmt(f),
            Self::Environment => f.write_str("environment"),
            Self::Whole => f.write_str("not set"),
        }
    }
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    origin: SettingOrigin,
    location: String,
    text: String,
}

impl ConfigProblem {
    /// A problem with the setting `name`.
    pub(super) fn new(name: &str, origin: &SettingOrigin, text: impl Into<String>) -> Self {
        Self { origin: origin.clone(), location: format!("{name} ({origin})"), text: text.into() }
    }

    /// A problem with a whole file.
    pub(super) fn file(origin: &SettingOrigin, text: impl Into<String>) -> Self {
        Self { origin: origin.clone(), location: origin.to_string(), text: text.into() }
    }

    /// Two values that are each valid, but contradict each other.
    pub(super) fn between(one: &str, other: &str, text: impl Into<String>) -> Self {
        Self { origin: SettingOrigin::Whole, location: format!("{one} and {other}"), text: text.into() }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.text)
    }
}

/// The error of a read whose problem has been noted in [`Problems`].
pub(super) struct Noted;

/// All problems of a configuration, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<ConfigProblem>);

impl Problems {
    /// Adds a problem.
    pub(super) fn push(&mut self, problem: ConfigProblem) {
        self.0.push(problem);
    }

    /// Adds a problem, and returns the error for the read that found it.
    pub(super) fn note(&mut self, problem: ConfigProblem) -> Noted {
        self.push(problem);
        Noted
    }

    /// Adds the problems of `others` that are not in this list yet.
    pub(super) fn add_new(&mut self, others: &Self) {
        for problem in &others.0 {
            if !self.0.contains(problem) {
                self.push(problem.clone());
            }
        }
    }

    /// Sorts them by origin, in the order found for each origin.
    pub(super) fn sort(&mut self) {
        self.0.sort_by(|a, b| a.origin.cmp(&b.origin));
    }

    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of problems.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The problems in order.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigProblem> {
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

/// A warning about a valid configuration.
pub type Warning = ConfigProblem;

/// A list of alternatives in English: `PENDING or ACTIVE`, `a, b or c`.
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
