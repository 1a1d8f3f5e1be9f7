//! What is measured, a file for each part; a part that is a guard says whether it passes.
//!
//! `on_store` is no part: it is what `growth` and `remembered` have in common.

pub mod accept;
pub mod calls;
pub mod deliver;
pub mod footprint;
pub mod growth;
pub mod instructions;
pub mod isolation;
pub mod latency;
mod on_store;
pub mod remembered;
pub mod sustained;

use super::Bench;

/// Measures, and says whether its guard passes.
type Part = fn(&mut Bench) -> bool;

/// All parts by their names, in the order in which they run.
pub const ALL: [(&str, Part); 10] = [
    ("accept", accept::run),
    ("deliver", deliver::run),
    ("sustained", sustained::run),
    ("latency", latency::run),
    ("calls", calls::run),
    ("growth", growth::run),
    ("remembered", remembered::run),
    ("footprint", footprint::run),
    ("isolation", isolation::run),
    ("instructions", instructions::run),
];
