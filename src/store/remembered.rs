//! The stored form of the remembered traits of users who are no affiliates yet: one row for each `userId`.
//!
//! In: sealed bytes, user keys, and the names of the attributes in the bytes. Out: the bytes, and the names for operators. Invariants:
//! without the seal key only names of attributes are readable; after a compaction an account holds no more than [`TraitsLimits`], and the
//! oldest traits are removed first. Deliberately absent: the sealed content ([`crate::mapping::RememberedTraits`]), and the seal key.

use super::FoundBy;
use crate::domain::{Timestamp, UserKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A change of the remembered traits of a user who is no affiliate yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraitsChange {
    /// The traits are remembered.
    Keep(KeptTraits),
    /// The traits were used, and are erased. With the user key of the `userId`.
    Erase(UserKey),
}

impl TraitsChange {
    /// The user key of the `userId`.
    pub fn user(&self) -> &UserKey {
        match self {
            Self::Keep(kept) => &kept.user,
            Self::Erase(user) => user,
        }
    }
}

/// The traits of a user to remember.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptTraits {
    /// The user key of the `userId`.
    pub user: UserKey,
    /// The user key of the address in the bytes, if there is one. A delete finds the traits by this key, too.
    pub email: Option<UserKey>,
    /// The names of the attributes in the bytes.
    pub names: Vec<String>,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// The moment from which the traits no longer count.
    pub expires_at: Timestamp,
    /// Whether the bytes contain traits that were read before. If these were erased meanwhile, nothing is kept, so erased traits are not
    /// stored again.
    pub replaces: bool,
}

impl std::fmt::Debug for KeptTraits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeptTraits({:?} of {:?} until {})", self.names, self.user, self.expires_at.0)
    }
}

impl KeptTraits {
    /// The names as they are stored.
    pub(super) fn stored_names(&self) -> String {
        self.names.join("\n")
    }
}

/// The limits of remembered traits in one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraitsLimits {
    /// Users.
    pub users: u64,
    /// Sealed bytes.
    pub bytes: u64,
}

impl TraitsLimits {
    /// The limits of a running service: some hundred bytes a user.
    pub const USUAL: Self = Self { users: 200_000, bytes: 128 * 1024 * 1024 };
}

/// No limit.
impl Default for TraitsLimits {
    fn default() -> Self {
        Self { users: u64::MAX, bytes: u64::MAX }
    }
}

/// The size of the remembered traits in one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraitsSize {
    /// Users.
    pub users: u64,
    /// Sealed bytes.
    pub bytes: u64,
}

impl TraitsSize {
    /// Whether the size exceeds the limits.
    pub(super) fn exceeds(self, limits: TraitsLimits) -> bool {
        self.users > limits.users || self.bytes > limits.bytes
    }

    /// The number of rows to remove. `oldest`: the sizes of the rows, the oldest first.
    pub(super) fn surplus(mut self, limits: TraitsLimits, oldest: impl IntoIterator<Item = u64>) -> usize {
        let mut oldest = oldest.into_iter();
        let mut surplus = 0;
        while self.exceeds(limits) {
            let Some(bytes) = oldest.next() else { break };
            self = Self { users: self.users.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) };
            surplus += 1;
        }
        surplus
    }
}

/// The remembered traits that a lookup found: names, no values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundTraits {
    /// The parts of the query that lead to them.
    pub found_by: Vec<FoundBy>,
    /// The names of the attributes at Refersion (`#` and the id of a custom field), `status` if an audience sets one, and the trait of
    /// `create_if`.
    pub attributes: Vec<String>,
    /// Until when they are remembered.
    #[schema(value_type = i64)]
    pub expires_at: Timestamp,
}

impl FoundTraits {
    /// A row with these names, as they are stored.
    pub(super) fn new(found_by: FoundBy, names: &str, expires_at: Timestamp) -> Self {
        let attributes = names.split('\n').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { found_by: vec![found_by], attributes, expires_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_until_both_limits_hold() {
        let size = TraitsSize { users: 4, bytes: 100 };
        let limits = |users, bytes| TraitsLimits { users, bytes };
        for (limits, surplus) in [
            (TraitsLimits::default(), 0),
            (limits(4, 100), 0),
            (limits(3, 100), 1),
            (limits(0, 100), 4),
            (limits(4, 99), 1),
            (limits(4, 60), 2),
            (limits(1, 60), 3),
            (limits(0, 0), 4),
        ] {
            assert_eq!(size.surplus(limits, [10, 30, 40, 20]), surplus, "{limits:?}");
        }
    }
}
