//! The texts of the reasons for which events are refused, ignored or become dead letters, without details of a single event.
//!
//! In: the short word of the metrics and the API. Out: a sentence. The texts of mapping errors are in [`crate::mapping`].

use crate::delivery::OutcomeCode;
use crate::mapping::MappingError;
use crate::telemetry::RefusalReason;

/// The reason in words; an unknown word is returned as it is.
pub fn reason_in_words(reason: &str) -> String {
    match OutcomeCode::parse(reason) {
        Some(code) => outcome_in_words(code),
        None if reason == RefusalReason::BacklogFull.as_str() => {
            "Too many events are pending: Segment sends this one again".to_owned()
        }
        None if reason == RefusalReason::NotStored.as_str() => {
            "The event could not be stored: Segment sends it again".to_owned()
        }
        None => reason.to_owned(),
    }
}

fn outcome_in_words(code: OutcomeCode) -> String {
    let words = match code {
        OutcomeCode::Created => "The affiliate was created",
        OutcomeCode::Updated => "The affiliate was edited",
        OutcomeCode::Unchanged => "Refersion had all of it already",
        OutcomeCode::Disabled => "The affiliate was disabled",
        OutcomeCode::Anonymized => "The affiliate was anonymized and disabled",
        OutcomeCode::NotFound => "There was no affiliate to delete",
        OutcomeCode::Unsupported => "Events of this type say nothing of affiliates",
        OutcomeCode::NoRule => "No rule mentions a trait of the event",
        OutcomeCode::UnknownUser => "The user is no affiliate yet, and the event cannot create one",
        OutcomeCode::CreateIf => "The user is no affiliate yet, and the event does not ask to create one",
        OutcomeCode::Audience => "An audience sets a status with which no affiliate can be created",
        OutcomeCode::ExistedBefore => "The affiliate existed before, and existing affiliates are left alone",
        OutcomeCode::LeftAlone => "The affiliate is denied or disabled, and is left alone",
        OutcomeCode::Cancelled => "The user was deleted before the event was carried out",
        OutcomeCode::Unrecorded => "Not recorded by an earlier release",
        OutcomeCode::OtherOwner => "The e-mail belongs to an affiliate whose owner is another userId",
        OutcomeCode::UntrustedProject => "The event's project is not trusted, and may create affiliates only",
        OutcomeCode::Stale => "The affiliate has newer values than the event, by its timestamp",
        OutcomeCode::DeletedSince => "The user was deleted after the event, by its timestamp",
        OutcomeCode::Remembered => "The user is no affiliate yet: what the event says is remembered",
        OutcomeCode::Unmappable => "The event lacks what Refersion needs",
        OutcomeCode::Malformed => "The body is no event of Segment's",
        OutcomeCode::Rejected => "Refersion rejects the event for good",
        OutcomeCode::EmailTaken => "The new e-mail belongs to another affiliate",
        OutcomeCode::NotApplied => "Refersion answered success and changed nothing",
        OutcomeCode::EndlessSearch => "The search for the e-mail at Refersion did not end",
        OutcomeCode::Expired => "It kept failing for longer than DELIVERY_MAX_AGE",
        OutcomeCode::Corrupt => "What is stored of it cannot be read",
        OutcomeCode::InternalError => "Its delivery kept ending in a bug of this service",
        OutcomeCode::AccountGone => "Its account is gone, and an operator set it aside",
        OutcomeCode::Erased => "Its user was erased while it waited",
        OutcomeCode::Duplicate => "It was received before: the same messageId or, without one, the same bytes",
        OutcomeCode::MissingEmail => return MappingError::MissingEmail.to_string(),
        OutcomeCode::MissingName => return MappingError::MissingName.to_string(),
        OutcomeCode::MissingUser => return MappingError::MissingUser.to_string(),
        OutcomeCode::InvalidEmail => "Invalid email address: what stands in its place is not an e-mail address",
        OutcomeCode::TooLarge => "The event is too large: at most 128 KiB",
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_words_of_its_own() {
        for word in RefusalReason::ALL.iter().map(|reason| reason.as_str()) {
            assert_ne!(reason_in_words(word), word);
        }
        for word in OutcomeCode::ALL.iter().map(|code| code.as_str()) {
            assert!(reason_in_words(word).contains(' '), "{word}");
        }
        assert_eq!(reason_in_words("of_another_release"), "of_another_release");
    }
}
