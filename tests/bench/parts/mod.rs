//! The parts of the benchmark, one file each. A part that is a guard returns whether it passes.
//!
//! `on_store` is no part, but what `growth` and `known_affiliates` have in common.

pub mod accept;
pub mod calls;
pub mod deliver;
pub mod footprint;
pub mod growth;
pub mod instructions;
pub mod isolation;
pub mod known_affiliates;
pub mod latency;
mod on_store;
pub mod postgres;
pub mod sustained;

use super::Bench;

/// Measures, and says whether its guard passes.
type Part = fn(&mut Bench) -> bool;

/// All parts by their names, in the order in which they run.
pub const ALL: [(&str, Part); 13] = [
    ("accept", accept::run),
    ("deliver", deliver::run),
    ("sustained", sustained::run),
    ("latency", latency::run),
    ("calls", calls::run),
    ("growth", growth::run),
    ("known_affiliates", known_affiliates::run),
    ("footprint", footprint::run),
    ("isolation", isolation::run),
    ("postgres", postgres::run),
    ("postgres_space", postgres::space::run),
    ("postgres_utilisation", postgres::utilisation::run),
    ("instructions", instructions::run),
];
