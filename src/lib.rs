//! A Segment webhook destination for Refersion: identify and delete events become calls to Refersion's affiliate API.
//!
//! # The flow
//! The HTTP server ([`http`]) authenticates a request, parses it ([`segment`]), maps its events ([`mapping`]), **appends** them to
//! the event log of the [`store`], and only then answers. The delivery worker of the account ([`worker`]) reads the log in order and
//! feeds it to the scheduler ([`scheduling`]), which says which events may run: the heads of their users' lanes. For each the
//! worker makes a **plan** of calls ([`delivery`]), **dispatches** them (batched, limited, retried) through [`refersion`], and
//! **settles** the outcome in the store. The worker keeps order, limits and health in memory, and rebuilds them from the store
//! after a restart.
//!
//! # The layers
//! A module imports only from layers above it in this list. Modules of one layer do not import each other; only a module of
//! layer 1 may import the modules to its left.
//! ```text
//!   (tests)      failpoint                               nothing, unless compiled for tests
//! 0 vocabulary   domain                                  valid by construction, no I/O
//! 1 logic        segment  mapping  delivery  scheduling  pure: no async, clock, randomness, environment, logging
//!                connect                                 how a merchant connects a source ("Enable with Segment")
//! 2 adapters     refersion  segment_api  store  config  telemetry   one outside thing each
//!                clock  account_signals                  the time; messages between `http` and `worker`
//!   (on those)   dry_run  health  scrape  series         what an event would do; readiness; metrics; the last hour and day
//! 3 services     admin  http  worker  sandbox            async; connect the logic to the adapters
//! 4 assembly     app                                     the only module that knows every concrete type
//!                cli                                     one file per subcommand
//! ```
//! [`http`] is the public listener, [`admin`] that of operators. `account_signals` connects [`http`] with [`worker`].
//!
//! # The invariants, each held by tests (`tests/README.md`)
//!  1. 2xx is answered only after the event is committed and synced. If it cannot be: 503 (429 when the backlog is full), and
//!     Segment sends it again.
//!  2. An accepted event ends in exactly one of: delivered, nothing to do (with the reason), dead letter (with the reason, kept
//!     until an operator replays or discards it).
//!  3. The events of one user are delivered one at a time, in log order; an event that is stuck blocks that user alone. Two
//!     events belong to one user if they share a `userId` or an e-mail, if these lead to one affiliate, if something is
//!     remembered of one user with both, or if a third pending event connects them.
//!  4. Idempotency: Segment sends at least once and calls are repeated, but no repeat has a second effect. Repeats are: the same
//!     `messageId` within the deduplication window, a `new` whose answer was lost, what is done again after a crash.
//!  5. Older facts do not overwrite newer ones: per attribute, by the event's own `timestamp`, which is never later than its
//!     receipt. A delete event also erases the user here, and an event from before it does not create the user again.
//!  6. A wrong key (401) fails no event: the account halts, keeps its events, probes the key, and resumes by itself. A key
//!     that arrives with a request is verified with Refersion before it is stored, and stored sealed before an event is appended.
//!  7. Logs, metrics, errors and answers contain no secret and no personal data (PII). Delivered bodies are erased. What is remembered
//!     of a user who is no affiliate yet is sealed.
//!  8. The raw body is stored and mapped again when it is delivered, so a corrected rule applies to pending and to replayed
//!     events.
//!  9. No lock and no transaction is held across a call to Refersion. One process owns a SQLite file, held by a lock; one
//!     owns an account of a PostgreSQL database, by a lease.
//! 10. What the merchant decided at Refersion stands: an affiliate that they denied or disabled is not activated by an event.
//!     An affiliate belongs to the first `userId` that came with it: an identify of another one changes nothing, unless
//!     `DELIVERY_ON_OTHER_USER` is `update`; an Engage event without `userId` sets what the rules say.
//! 11. Status codes are decided in one file for each direction: `http/response.rs` (inbound), `admin/problem.rs` (operators) and
//!     `refersion/response.rs` (outbound); `health.rs` has the two of health.
//! 12. Accounts are independent: none delays another, and equal ids in two of them are two users.
//!
//! Deliberately absent: pages that change the configuration, which is in files and the environment.

pub mod account_signals;
pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connect;
pub mod delivery;
pub mod domain;
pub mod dry_run;
pub mod failpoint;
pub mod health;
pub mod http;
pub mod mapping;
pub mod refersion;
pub mod sandbox;
pub mod scheduling;
pub mod scrape;
pub mod segment;
pub mod segment_api;
pub mod series;
pub mod store;
pub mod telemetry;
pub mod worker;
