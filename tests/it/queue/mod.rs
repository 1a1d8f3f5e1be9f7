//! The promises of `src/queue/mod.rs`, each as a claim that holds on real files, for every engine there is.
//!
//! Claims speak to `dyn Queue` through [`engine::Store`], which can open, reopen and drop it; a further engine joins in
//! [`engine::every`]. What only SQLite promises (its file, its lock, its WAL) stands in [`file`], [`failure`] and [`torn`].
//! No test sleeps: moments are arguments.

mod behind;
mod dead_letters;
mod deeds;
mod engine;
mod failure;
mod file;
mod leases;
mod leaving;
mod lines;
mod memory;
mod model;
mod older;
mod random;
mod recording;
mod sealed;
mod torn;
