//! What the service tells of itself: log lines on standard error, and counters for whoever asks.
//!
//! Invariant, held by every caller and by a test: no secret and no personal datum in a line or a label. Deliberately absent:
//! log files and rotation, and sending counters anywhere; both belong to whoever runs it.

mod logs;
mod metrics;

pub use logs::start;
pub use metrics::{Meter, Metrics};
