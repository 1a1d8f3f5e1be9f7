//! The promises of `src/store/mod.rs`, each as a claim that holds on real files, for every engine there is.
//!
//! Claims speak to `dyn Store` through [`engine::TestStore`], which can open, close and reopen it; a further engine joins in
//! [`engine::every`]. What only the SQLite engine promises (its file, its lock, its WAL, its earlier versions) stands in
//! [`migrate_v5`], [`damaged`], [`erased`], [`failure`], [`file`], [`torn`] and [`writes`]. Which events of a user may run is
//! decided in `src/scheduling` and tested there. No test sleeps: moments are arguments.

mod affiliates;
mod append;
mod attempts;
mod damaged;
mod dead_letters;
mod duplicates;
mod engine;
mod erased;
mod failure;
mod file;
mod forget;
mod groups;
mod known_users;
mod migrate_v5;
mod model;
mod random;
mod read;
mod sealed;
mod torn;
mod writes;
