//! Logs, metrics and traces of this process.
//!
//! In: log events, counts and spans from the services. Out: log lines on standard error, the text of `GET /metrics`, and spans by OTLP.
//! `definitions` is the table of all metrics; `labels` has the closed lists of their labels; `meter` counts for an account, `meters` has the
//! meter of each account, `metrics` counts for the service; `exposition` has the two text formats; `process` has the metrics of the process;
//! `traces` has the spans, which `otlp` exports; `log_throttle` bounds the log lines that callers of the service can cause; `totals` and
//! `latency` are counts that this process reads itself. Invariants, which every caller holds and tests check: no secret and no personal data
//! in a log line, a label or a span; the number of series (the cardinality) is bounded by a setting. Deliberately absent: log files, log
//! rotation and pushing metrics; the environment that runs the service does these.

mod definitions;
mod event_status;
mod event_type;
mod exposition;
mod labels;
mod latency;
mod log_throttle;
mod logs;
mod meter;
mod meters;
mod metrics;
mod optional_gauge;
mod otlp;
mod process;
mod totals;
pub mod traces;

pub use event_status::EventStatus;
pub use event_type::{EventType, RefusalReason};
pub use exposition::ExpositionFormat;
pub use labels::ReloadResult;
pub use latency::Latencies;
pub use log_throttle::LogThrottle;
pub use logs::{set_filter, start};
pub use meter::Meter;
pub use metrics::{Metrics, Observed, ObservedAccount, ObservedStore};
pub use totals::Totals;
