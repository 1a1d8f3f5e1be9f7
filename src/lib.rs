//! A Segment webhook destination for Refersion: identify and delete events become calls to Refersion's affiliate API.
//!
//! # The flow
//! The HTTP server ([`http`]) authenticates a request, parses it ([`segment`]), maps its events ([`mapping`]), **appends** them to
//! the event log of the [`store`], and only then answers. The delivery worker of the account ([`worker`]) reads the log in order and
//! feeds it to the scheduler ([`scheduling`]), which says which events may run: the heads of their users' lanes. For each the
//! worker makes a **plan** of calls ([`delivery`]), **dispatches** them (batched, limited, retried) through [`refersion`], and
//! **settles** the outcome in the store. What it needs to know about order, limits and health is in its memory; after a restart
//! that is read from the log again.
//!
//! # The layers
//! A module imports only from layers above it in this list; modules of one layer do not import each other, but for those of
//! layer 1, which may import those named before them.
//! ```text
//!   (tests)      failpoint                               nothing, unless compiled for tests
//! 0 vocabulary   domain                                  valid by construction, no I/O
//! 1 logic        segment  mapping  delivery  scheduling  pure: no async, clock, randomness, environment, logging
//! 2 adapters     refersion  store  config  telemetry     one outside thing each
//!                clock  account_signals                  the time; what the services tell each other
//! 3 services     http  worker  sandbox                   async; they join logic to adapters
//! 4 assembly     app                                     the only place that knows every concrete type
//!                cli                                     one file per subcommand
//! ```
//! The operators' listener (health, metrics, dead letters) is part of [`http`]; `account_signals` exists so that [`http`] and
//! [`worker`] do not import each other.
//!
//! # The invariants, each held by tests (`tests/README.md`)
//!  1. 2xx is answered only after the event is committed and synced. If it cannot be: 503 (429 when the backlog is full), and
//!     Segment sends it again.
//!  2. An accepted event ends in exactly one of: delivered, nothing to do (with the reason), dead letter (with the reason, kept
//!     until an operator replays or discards it).
//!  3. Events of one user are carried out one at a time, in log order; a stuck one holds up that user alone. Two events are of
//!     one user if they share a `userId` or an e-mail, if these lead to one affiliate, or if a third event joins them.
//!  4. Repeats have no second effect: the same `messageId` within the deduplication window, a `new` whose answer was lost, a
//!     crash between two steps.
//!  5. What was deleted is erased here, too. Older facts overwrite newer ones if Segment sends them later: `timestamp` is not
//!     read yet.
//!  6. A wrong key (401) is no event's fault: the account halts, keeps its events, probes the key, and resumes by itself. A key
//!     that arrives with a request is verified with Refersion before it is kept, and kept sealed before an event is appended.
//!  7. No secret and no personal datum in logs, metrics, errors or answers; delivered bodies are erased; a delete erases what is
//!     kept of that user.
//!  8. The raw body is what is stored; it is mapped when it is carried out, so a corrected rule applies to what waits and to
//!     what is replayed.
//!  9. No lock and no transaction is held across a call to Refersion. One process owns the store, held by a file lock.
//! 10. What the merchant decided at Refersion stands: an affiliate that is `DENIED` or `DISABLED` is left alone.
//! 11. Status codes are decided in two files: `http/response.rs` (inbound) and `refersion/response.rs` (outbound); `http/health.rs` has
//!     the two of health. Accounts share nothing that lets one hold up another: equal ids in two of them are two users.
//!
//! # Deliberately absent
//! Several replicas on one store (leases, PostgreSQL); order by the events' own `timestamp`; traces; a web interface.

pub mod failpoint;

pub mod domain;

pub mod segment;

pub mod mapping;

pub mod delivery;

pub mod scheduling;

pub mod account_signals;
pub mod clock;
pub mod config;
pub mod refersion;
pub mod store;
pub mod telemetry;

pub mod http;
pub mod sandbox;
pub mod worker;

pub mod app;
pub mod cli;
