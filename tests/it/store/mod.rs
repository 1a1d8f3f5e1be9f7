//! Tests of the promises in `src/store/mod.rs`, on real files, for every engine.
//!
//! They use `dyn Store` through [`engine::TestStore`], which can open, close and reopen it; a further engine is added to
//! [`engine::every`]. Promises of the SQLite engine alone (its file, its lock, its WAL, its earlier versions) are tested in
//! [`migrate_v5`], [`migrate_v6`], [`migrate_v8`], [`migrate_v9`], [`damaged`], [`erased`], [`erased_at_random`], [`failure`], [`file`],
//! [`torn`] and [`writes`]; those of the PostgreSQL engine alone in [`disk_full`], [`elsewhere`], [`locks`], [`outdated`], [`pipelined`],
//! [`postgres_tls`], [`promoted`], [`rights`], [`schemas`], [`several_processes`] and [`vacuum`]. Which events of a user may run is decided in
//! `src/scheduling` and tested there. No test sleeps: moments are arguments.

mod account_gone;
mod affiliates;
mod append;
mod attempts;
mod damaged;
mod dead_letters;
mod deletions;
mod disk_full;
mod duplicates;
mod elsewhere;
mod engine;
mod erased;
mod erased_at_random;
mod failure;
mod file;
mod forget;
mod groups;
mod inspection;
mod known_users;
mod ledger;
mod listed;
mod locks;
mod lookup;
mod measured;
mod migrate_v5;
mod migrate_v6;
mod migrate_v8;
mod migrate_v9;
mod model;
mod outdated;
mod pipelined;
mod postgres_tls;
mod promoted;
mod random;
mod read;
mod remembered;
mod rights;
mod schemas;
mod sealed;
mod several_processes;
mod torn;
mod transfer;
mod vacuum;
mod writes;
