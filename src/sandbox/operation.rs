//! The six operations of the simulated Refersion, named by the last segment of their path.

use std::fmt;
use std::str::FromStr;

/// An operation on affiliates: `POST /v2/affiliate/{operation}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are Refersion's own operation names")]
pub enum Operation {
    New,
    Search,
    Get,
    List,
    Edit,
    StatusChange,
}

/// The text is not the name of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected new, search, get, list, edit or status_change")]
pub struct UnknownOperation;

impl Operation {
    /// Refersion's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Search => "search",
            Self::Get => "get",
            Self::List => "list",
            Self::Edit => "edit",
            Self::StatusChange => "status_change",
        }
    }
}

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(text: &str) -> Result<Self, UnknownOperation> {
        [Self::New, Self::Search, Self::Get, Self::List, Self::Edit, Self::StatusChange]
            .into_iter()
            .find(|operation| operation.as_str() == text)
            .ok_or(UnknownOperation)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
