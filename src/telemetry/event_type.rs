//! Closed lists of words about received events: their types, and the reasons for which they are refused.

use super::words::words;

words! {
    /// The type of a received event.
    EventType {
        /// An identify event.
        Identify = "identify",
        /// A delete event.
        Delete = "delete",
        /// An event of any other type.
        Unsupported = "unsupported",
        /// An element that is not read as an event.
        Malformed = "malformed",
    }
}

words! {
    /// Why an event was answered with an error and not stored.
    RefusalReason {
        /// There is no e-mail address, and one is needed.
        MissingEmail = "missing_email",
        /// The value of the e-mail address is not an address.
        InvalidEmail = "invalid_email",
        /// There is no name, and one is needed.
        MissingName = "missing_name",
        /// A delete names nobody.
        MissingUser = "missing_user",
        /// It is no event.
        Malformed = "malformed",
        /// It is larger than an event may be, or came with more others than may be pending.
        TooLarge = "too_large",
        /// As many events of the account are pending as may be.
        BacklogFull = "backlog_full",
        /// The store could not take it.
        NotStored = "not_stored",
        /// A bug of this service.
        InternalError = "internal_error",
    }
}
