//! Short fuzzing: the properties of `tests/fuzz` on random bytes.

#[path = "../fuzz/src/lib.rs"]
pub mod properties;

use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..400)
}

proptest! {
    // A failure becomes a case of an ordinary test, not a file beside the sources.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_body_is_split_parsed_and_mapped_soundly(bytes in bytes()) {
        properties::body::check(&bytes);
    }

    #[test]
    fn any_request_is_answered_soundly(bytes in bytes()) {
        properties::webhook::check(&bytes);
    }

    #[test]
    fn any_credentials_are_accepted_only_if_they_are_the_key(bytes in bytes()) {
        properties::authorization::check(&bytes);
    }

    #[test]
    fn any_signature_is_accepted_only_if_it_is_right(bytes in bytes()) {
        properties::signature::check(&bytes);
    }

    #[test]
    fn any_answer_of_refersion_is_read_soundly(bytes in bytes()) {
        properties::answers::check(&bytes);
    }
}

proptest! {
    // More cases: a takeover takes an owner, a search and a certain answer to it.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn any_answers_of_refersion_end_every_attempt_create_no_two_affiliates_and_let_nobody_take_over_another(
        bytes in bytes(),
    ) {
        properties::delivery::check(&bytes);
    }
}
