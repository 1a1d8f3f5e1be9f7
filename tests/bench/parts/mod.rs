//! What is measured, a file for each thing; each says whether what it holds as a guard is well.

pub mod accept;
pub mod calls;
pub mod deliver;
pub mod footprint;
pub mod growth;
pub mod instructions;
pub mod isolation;
pub mod latency;
pub mod sustained;

use super::Bench;

/// Measures, and says whether all is well.
type Part = fn(&mut Bench) -> bool;

/// All parts by their names, in the order in which they run.
pub const ALL: [(&str, Part); 9] = [
    ("accept", accept::run),
    ("deliver", deliver::run),
    ("sustained", sustained::run),
    ("latency", latency::run),
    ("calls", calls::run),
    ("growth", growth::run),
    ("footprint", footprint::run),
    ("isolation", isolation::run),
    ("instructions", instructions::run),
];
