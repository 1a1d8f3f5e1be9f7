//! The six operations of the simulated Refersion, named by the last segment of their path.

use std::fmt;

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

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
