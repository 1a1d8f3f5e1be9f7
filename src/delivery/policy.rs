//! The delivery policy: the operator's decisions, which [`crate::config`] has checked.

/// How an affiliate is treated that existed before this service met it (`DELIVERY_ON_EXISTING`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExisting {
    /// It is updated, now and later.
    #[default]
    Update,
    /// No identify changes it, now or later; a delete disables it.
    Ignore,
}

/// The effect of a delete, since Refersion has no delete operation (`DELIVERY_ON_DELETE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// Set the affiliate to `DISABLED`.
    #[default]
    Disable,
    /// Overwrite the personal fields, then set the affiliate to `DISABLED`.
    Anonymize,
}

/// How facts are treated that are older than the values that were sent (`DELIVERY_STALE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStale {
    /// They are left out: the newer fact counts, whatever the order of arrival.
    #[default]
    Ignore,
    /// They are sent: the event that arrived last counts.
    Apply,
}

/// How an identify is treated whose e-mail leads to an affiliate with another `userId` as its owner (`DELIVERY_ON_OTHER_USER`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOtherUser {
    /// It changes nothing: anyone can read the write key of a browser and send an identify with any e-mail.
    #[default]
    Ignore,
    /// It updates the affiliate, and its `userId` leads to the affiliate, too.
    Update,
}

/// All decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// About affiliates that existed before.
    pub on_existing: OnExisting,
    /// About deletes.
    pub on_delete: OnDelete,
    /// About facts that are older than the values that were sent.
    pub on_stale: OnStale,
    /// About affiliates whose owner is another `userId`.
    pub on_other_user: OnOtherUser,
}
