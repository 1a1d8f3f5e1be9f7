//! Several processes of the service on one PostgreSQL: one of them delivers for an account, and another one continues when that one dies,
//! freezes or is stopped.
//!
//! Without PostgreSQL's binaries these tests say that they are skipped, and pass. A lease is three seconds here, so that a
//! takeover takes about that long.

mod changed_secret;
mod chaos;
mod clocks;
mod cluster;
mod database;
mod handover;
mod operators;
mod pooler;
mod releases;
mod remembered;
mod sharing;
mod takeover;
mod waiting;
