//! Fuzzing: properties that hold for any input from outside, one module for each kind of input.
//!
//! | target | input | property |
//! | --- | --- | --- |
//! | [`body`] | a webhook's body | exact slices; spelling, order and unknown members change nothing; every mapped event can be sent |
//! | [`webhook`] | a request, gzip and arrays too | known codes; nothing stored of an unauthenticated request; what is stored is what was sent |
//! | [`authorization`] | `Authorization` | accepted with the whole key and with nothing else |
//! | [`signature`] | `X-Signature`, secrets, a body | accepted with the right HMAC and with nothing else |
//! | [`answers`] | Refersion's answers | a success only where the answer is one; no message repeats a value that was sent |
//! | [`delivery`] | an event, what is remembered, and Refersion's answers | few calls, valid ones, one creation at most; no takeover; no message repeats a value |
//!
//! Every target is a function of bytes. A coverage-guided fuzzer generates them (`targets/`); the ordinary tests call the same
//! functions with random bytes (`tests/it/fuzz.rs`). There is no corpus: [`source`] turns bytes into decisions, [`json`]
//! decisions into events, so that most inputs are meaningful from the first byte on.
//! A failure that is found becomes a case of an ordinary test. From the project's root, with a nightly compiler and `cargo-fuzz`:
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz -s none body -- -max_total_time=600`.

pub mod answers;
pub mod append_only_store;
pub mod authorization;
pub mod body;
pub mod contract;
pub mod delivery;
pub mod json;
pub mod signature;
pub mod source;
pub mod webhook;
