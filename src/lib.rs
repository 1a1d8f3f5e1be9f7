//! A Segment webhook destination for Refersion: what happens to a merchant's users becomes what their affiliates are.
//!
//! # The flow
//! A request **enters** ([`http`]), is **believed** ([`segment::Trust`]), is **understood** ([`segment::parse`] →
//! [`mapping::map`]), is **recorded** ([`queue`]) and only then answered; later it becomes a **plan** of calls
//! ([`delivery::step`]) and is **carried out** ([`worker`], through [`refersion`]).
//!
//! # The floors
//! A module imports only from floors below it; on floor 1 only from those named before it; the edges not from each other.
//! ```text
//!   steps     failpoint                                    nothing, but in tests
//! 0 words     domain                                       valid by construction, no I/O
//! 1 thought   segment  mapping  delivery                   pure: no async, clock, chance, environment or logging
//! 2 edges     refersion  queue  config  telemetry  notice  clock   one outside thing each
//! 3 shells    http  worker  sandbox                        async; join thought to edges
//! 4 assembly  app  cli                                     the only place that knows every concrete type
//! ```
//! Where this differs from the first draft of the house: secrets are `secrecy`'s types and need no word of their own;
//! [`notice`] carries what the shells tell each other, so that none imports another; the gate of an account
//! ([`delivery::Gate`]) is thought, so that pauses and halts are tested without time.
//!
//! # The invariants, each held by tests
//! 1. 2xx is answered only after the event is committed and synced; what cannot be recorded is a 503 (429 when the backlog
//!    is full), and Segment sends it again.
//! 2. An accepted event ends in exactly one of: delivered, nothing to do (with the reason), dead letter (with the reason,
//!    kept until an operator replays or discards it).
//! 3. The events of one user are carried out one at a time, in the order received; a stuck one holds up that user alone.
//!    Two events are of one user when they share a `userId` or an e-mail.
//! 4. Repeats have no second effect: the same `messageId`, a `new` whose answer was lost, a crash between two steps.
//! 5. A wrong key is no event's fault: the account halts, keeps its events, probes, and goes on by itself.
//! 6. No secret and no personal datum in logs, errors or answers; delivered bodies are erased; a delete erases our own
//!    traces of that user.
//! 7. The raw body is what is recorded; it is mapped again when it is carried out.
//! 8. No lock and no transaction is held across a call to Refersion: claims are leases that expire.
//! 9. Status codes are decided in two files: `http/answer.rs` (inbound) and `refersion/reply.rs` (outbound); health, which
//!    Segment never sees, decides its own two.
//! 10. Accounts share the store and the listeners, and nothing else: what goes wrong in one changes nothing for another, and
//!     equal ids in two of them are two users and two events.
//! 11. The key of an account that is not configured is proved with Refersion before it is kept, kept sealed before anything
//!     is recorded under it, and replaced by a proved one alone.
//!
//! # Deliberately absent
//! A web interface.

pub mod failpoint;

pub mod domain;

pub mod segment;

pub mod mapping;

pub mod delivery;

pub mod scheduling;

pub mod clock;
pub mod config;
pub mod notice;
pub mod queue;
pub mod refersion;
pub mod store;
pub mod telemetry;

pub mod http;
pub mod sandbox;
pub mod worker;

pub mod app;
pub mod cli;
