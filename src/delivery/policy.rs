//! What the operator decided about deliveries: values already checked by [`crate::config`].

/// What to do with an affiliate that existed before this service met it (`DELIVERY_ON_EXISTING`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExisting {
    /// Bring it up to date, now and later.
    #[default]
    Update,
    /// Leave it alone, now and later.
    Ignore,
}

/// What a delete does, since Refersion has no delete operation (`DELIVERY_ON_DELETE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// Set the affiliate to `DISABLED`.
    #[default]
    Disable,
    /// Overwrite the personal fields, then set the affiliate to `DISABLED`.
    Anonymize,
}

/// What to do with facts that are older than what was sent before (`DELIVERY_STALE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStale {
    /// Leave them out: the newer fact counts, whatever the order of arrival.
    #[default]
    Ignore,
    /// Send them: the last event counts that arrived.
    Apply,
}

/// What to do with an identify that names an affiliate by e-mail, whose owner is another `userId` (`DELIVERY_ON_OTHER_USER`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOtherUser {
    /// Change nothing: a browser's write key, which anyone can read, is enough to send an identify with any e-mail.
    #[default]
    Ignore,
    /// Update the affiliate, and let the `userId` lead to it, too.
    Update,
}

/// All decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// About affiliates that existed before.
    pub on_existing: OnExisting,
    /// About deletes.
    pub on_delete: OnDelete,
    /// About facts that are older than what was sent before.
    pub on_stale: OnStale,
    /// About affiliates whose owner is another `userId`.
    pub on_other_user: OnOtherUser,
}
