//! What no bytes from outside may bring about, as properties: each module holds one door against whatever comes through it.
//!
//! | target | what comes in | what is held |
//! | --- | --- | --- |
//! | [`body`] | a webhook's body | exact slices; spelling, order and the unknown change nothing; what is mapped can be sent |
//! | [`webhook`] | a request, gzip and arrays too | known codes, nothing recorded of strangers, what is recorded is what was sent |
//! | [`authorization`] | `Authorization` | belief in the whole key and in nothing else |
//! | [`signature`] | `X-Signature`, secrets, a body | belief in the right HMAC and in nothing else |
//! | [`answers`] | Refersion's answers | a success only where one was said; nothing that was sent is told |
//! | [`delivery`] | an event and Refersion's answers to it | few calls, valid ones, one creation at most; nothing is told |
//!
//! Every target is a function of bytes. A fuzzer that sees which code they reach makes them here (`targets/`); chance makes
//! some of them in the ordinary tests (`tests/it/fuzz.rs`), which read these very files. There is no corpus: [`source`] turns
//! bytes into decisions, [`json`] decisions into events, so most of what is made means something from the first byte on.
//! What is found becomes a case of an ordinary test. From the project's root, with a nightly compiler and `cargo-fuzz`:
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
