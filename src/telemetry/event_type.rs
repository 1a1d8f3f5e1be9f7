//! Closed lists of words about received events: their types, and the reasons for which they are refused.

use crate::domain::words;

words! {
    /// The type of a received event.
    EventType {
        /// An identify event.
        Identify = "identify",
        /// A delete event.
        Delete = "delete",
        /// An event of any other type.
        Unsupported = "unsupported",
        /// An element that cannot be read as an event.
        Malformed = "malformed",
    }
}

words! {
    /// Why an event was answered with an error and not stored.
    RefusalReason {
        /// An e-mail address is missing.
        MissingEmail = "missing_email",
        /// The value of the e-mail address is no address.
        InvalidEmail = "invalid_email",
        /// A name is missing.
        MissingName = "missing_name",
        /// A delete names nobody.
        MissingUser = "missing_user",
        /// The element is no event.
        Malformed = "malformed",
        /// The event is too large, or its request has more events than may be pending.
        TooLarge = "too_large",
        /// The backlog of the account is full.
        BacklogFull = "backlog_full",
        /// The store could not store the event.
        NotStored = "not_stored",
        /// A bug of this service.
        InternalError = "internal_error",
    }
}
