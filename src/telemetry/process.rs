//! The metrics of this process, under the names that every client of Prometheus uses (`process_…`), and of its build.
//!
//! In: `/proc`, read at each scrape by the crate `procfs`. Out: CPU time, memory, open files, threads, start time. Values that cannot be
//! read are left out. Deliberately absent: systems other than Linux, which have no `/proc`.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Registers the metrics of the process and of the build.
pub(super) fn register(registry: &mut Registry) {
    registry.register(
        "refersion_destination_build",
        "The running release",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    registry.sub_registry_with_prefix("process").register_collector(Box::new(Process));
}

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, help, metric) in metrics() {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

/// The name, the help text and the value of each metric that can be read now.
type ProcessMetrics = Vec<(&'static str, &'static str, Box<dyn EncodeMetric>)>;

#[cfg(not(target_os = "linux"))]
fn metrics() -> ProcessMetrics {
    Vec::new()
}

#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "a metric is a float; none of these comes near 2^53")]
fn metrics() -> ProcessMetrics {
    use procfs::process::{LimitValue, Process};
    let mut metrics: ProcessMetrics = Vec::new();
    let Ok(process) = Process::myself() else { return metrics };
    let mut gauge = |name, help, value: f64| metrics.push((name, help, Box::new(ConstGauge::new(value))));
    if let Ok(open) = process.fd_count() {
        gauge("open_fds", "Open file descriptors", open as f64);
    }
    if let Ok(LimitValue::Value(most)) = process.limits().map(|limits| limits.max_open_files.soft_limit) {
        gauge("max_fds", "The most file descriptors that may be open", most as f64);
    }
    if let Ok(stat) = process.stat() {
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        gauge("virtual_memory_bytes", "Virtual memory size", stat.vsize as f64);
        gauge("resident_memory_bytes", "Resident memory size", (stat.rss * procfs::page_size()) as f64);
        gauge("threads", "Threads of the process", stat.num_threads as f64);
        if let Ok(boot) = procfs::boot_time_secs() {
            let start = boot as f64 + seconds(stat.starttime);
            gauge("start_time_seconds", "Start time of the process since the Unix epoch", start);
        }
        let spent = ConstCounter::new(seconds(stat.utime + stat.stime));
        metrics.push(("cpu_seconds", "Total user and system CPU time spent", Box::new(spent)));
    }
    metrics
}
