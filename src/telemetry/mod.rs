//! Logs and metrics of this process.
//!
//! In: log events and counts from the services. Out: log lines on standard error, and the text of `GET /metrics`.
//! Invariant, held by every caller and checked by a test: no secret and no personal datum in a log line or a label.
//! Deliberately absent: log files, log rotation and pushing metrics; the environment that runs the service does these.

mod event_status;
mod labels;
mod logs;
mod metrics;

pub use event_status::EventStatus;
pub use logs::start;
pub use metrics::{Meter, Metrics};
