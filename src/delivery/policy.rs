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

/// Both decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// About affiliates that existed before.
    pub on_existing: OnExisting,
    /// About deletes.
    pub on_delete: OnDelete,
}
