//! A Segment webhook destination for Refersion: identify and delete events become calls to Refersion's affiliate API.
//!
//! # The flow
//! The HTTP server ([`http`]) authenticates a request, parses it ([`segment`]), maps its events ([`mapping`]), **appends** them to the
//! event log of the [`store`], and only then answers. The delivery worker of the account ([`worker`]) reads the log in order and feeds it
//! to the scheduler ([`scheduling`]), which says which events may run: the heads of their users' lanes. For each the worker makes a
//! **plan** of calls ([`delivery`]), **dispatches** them (batched, limited, retried) through [`refersion`], and **settles** the outcome in
//! the store. Order, limits and health are in the worker's memory, and rebuilt from the store after a restart. Deliberately absent: pages
//! that change the configuration, which is in files and the environment.
//!
//! # The layers
//! A module imports only from layers above it in this list; of one layer, only modules of layer 1 import those to their left.
//! ```text
//!   (tests)      failpoint                                nothing, unless compiled for tests
//! 0 vocabulary   domain                                   valid by construction, no I/O
//! 1 logic        segment  mapping  delivery  scheduling   pure: no async, clock, randomness, environment, logging
//!                connect                                  how a merchant connects a source ("Enable with Segment")
//! 2 adapters     refersion  segment_api  store  config  telemetry  clock  account_signals   one outside thing each
//!   (on those)   dry_run  health  scrape  series          what an event would do; readiness; metrics; the last hour and day
//! 3 services     admin (operators)  http (public)  worker  sandbox   async; connect the logic to the adapters
//! 4 assembly     app (knows every concrete type)  cli (one file per subcommand)
//! ```
//!
//! # The invariants, each held by tests (`tests/README.md`)
//!  1. 2xx is answered only after the event is committed and synced; else 503 (429: backlog full), and Segment sends it again.
//!  2. An accepted event ends in exactly one of: delivered, nothing to do, dead letter; each with the reason.
//!  3. The events of one user are delivered one at a time, in log order; an event that is stuck blocks that user alone. Two events
//!     are of one user if they share a `userId`, an e-mail or an affiliate, or if remembered traits or pending events connect them.
//!  4. Idempotency: no repeat has a second effect, be it of an event, of a `new` whose answer was lost, or after a crash.
//!  5. Older facts do not overwrite newer ones, per attribute, by the event's `timestamp`. No event from before a delete restores the user.
//!  6. A wrong key (401) fails no event: the account halts, probes the key, resumes. A key that arrives is verified, then stored sealed.
//!  7. Logs, metrics, errors and answers hold no secret and no personal data (PII). Delivered bodies are erased.
//!  8. The raw body is stored and mapped again when it is delivered, so a corrected rule applies to pending and replayed events.
//!  9. No lock and no transaction is held across a call to Refersion. One process owns a SQLite file or, by a lease, an account.
//! 10. The merchant's decisions at Refersion stand: no event activates a denied or disabled affiliate. An affiliate belongs to
//!     the first `userId` that an event names for it, unless `DELIVERY_ON_OTHER_USER` is `update`.
//! 11. Status codes are decided in one file for each direction. 12. Accounts are independent: none delays another.
//!
//! # Where it is decided
//! | what | in `src/` |
//! | --- | --- |
//! | status codes: for Segment (also of an array); for operators; of health; how long the webhook waits for an outcome (`SERVER_WAIT`) | `http/response.rs`; `admin/problem.rs`; `health.rs`; `http/webhook.rs`, `account_signals.rs`, `store/postgres/outcomes.rs` |
//! | what Refersion's answers mean, retryable or not | `refersion/response.rs` |
//! | how long a failure is retried | `scheduling/backoff.rs`, `worker/settlement.rs` |
//! | order: which event may run, and which are of one user; how far the log is read ahead, what a pending event costs in memory; which events are coalesced | `scheduling/lanes.rs`, `scheduling/scheduler.rs`; `worker/run_loop.rs`; `delivery/coalesce.rs` |
//! | the calls for an event; older facts (stale, per attribute); no second `new`; a status or an owner that stays | `delivery/identify.rs`, `delivery/delete.rs`; `domain/sent_attributes.rs`; `delivery/unanswered_new.rs`, `delivery/existing.rs`; `delivery/status.rs`, `delivery/state.rs` |
//! | which event is a repeat (deduplication); when the backlog is full | `segment/event.rs`, `store/append_decision.rs`, `store/sqlite/id_index.rs`, `store/sqlite/older_ids.rs`, `store/postgres/append_rows.rs` |
//! | what is erased, and when: bodies; by a delete; by `forget` | `store/mod.rs`, `store/sqlite/bodies.rs`, `store/postgres/settle_rows.rs`; `store/sqlite/erase.rs`, `store/postgres/erase.rs`; `store/sqlite/forget.rs`, `store/postgres/forget.rs` |
//! | calls per second, in flight; pause and halt (circuit breaker) | `scheduling/rate_limit.rs`, `scheduling/concurrency_limit.rs`; `scheduling/circuit_breaker.rs` |
//! | who owns an account; who settles | `scheduling/assignment.rs`, `store/ownership.rs`, `store/postgres/ownership.rs`; `store/postgres/settle.rs` |
//! | start, what refuses a start, stop; reload (SIGHUP), a changed API key; what needs a restart | `app.rs`, `app/open_store.rs`; `app/reload.rs`; `config/settings.rs`, `config/changes.rs` |
//! | clocks; log lines that are throttled; how to add a setting, a table | `clock.rs`; `telemetry/log_throttle.rs`, `store/failure_log_throttle.rs`; `config/settings.rs`; `store/mod.rs` |
//! | event types; fields of Refersion; comparing names of traits; which trait fills which field | `segment/event.rs`; `domain/field.rs`; `segment/traits.rs`; `mapping/name.rs`, `mapping/email.rs`, `mapping/address.rs`, `mapping/contact.rs`, `mapping/engage.rs` |
//! | who may send, with which key; limits of size; who may operate | `segment/authenticator.rs`, `http/account_registry.rs`, `app/api_key_verification.rs`; `http/limits.rs`; `admin/access.rs` |

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
