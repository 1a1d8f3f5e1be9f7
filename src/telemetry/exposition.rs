//! The two text formats of metrics: OpenMetrics 1.0.0, and the text format 0.0.4 of Prometheus.
//!
//! In: the header `Accept`, and metrics as OpenMetrics. Out: the format to answer in, and the text in that format. A client without a
//! preference, such as a browser or `curl`, gets 0.0.4. The library encodes only OpenMetrics. Both formats have the same samples and differ
//! in the comments: 0.0.4 names a counter by its sample (`…_total`), has no units, no type `info`, and no end mark.

use std::fmt::Write as _;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
    /// `text/plain; version=0.0.4`
    Prometheus,
}

impl ExpositionFormat {
    /// The format that a client with these values of `Accept` prefers.
    pub fn preferred<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let (mut open_metrics, mut plain) = (0.0, 0.0);
        for range in accept.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0_f64);
            match media_type.as_str() {
                "application/openmetrics-text" => open_metrics = quality.max(open_metrics),
                "text/plain" => plain = quality.max(plain),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// A text of OpenMetrics in this format.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => prometheus(&open_metrics),
        }
    }
}

fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            // Err: writing to a `String` does not fail.
            let _ = write!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with("# ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_accept_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, expected) in [
            (&[][..], ExpositionFormat::Prometheus),
            (&["*/*"], ExpositionFormat::Prometheus),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], ExpositionFormat::Prometheus),
            (&[prometheus], ExpositionFormat::OpenMetrics),
            (&["application/openmetrics-text"], ExpositionFormat::OpenMetrics),
            (&["Application/OpenMetrics-Text; q=1.0"], ExpositionFormat::OpenMetrics),
            (&["text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.5"], ExpositionFormat::Prometheus),
            (&["text/plain;q=0.3", "application/openmetrics-text"], ExpositionFormat::OpenMetrics),
            (&["application/openmetrics-text;q=0"], ExpositionFormat::Prometheus),
            (&["application/openmetrics-text;q=nonsense"], ExpositionFormat::OpenMetrics),
        ] {
            assert_eq!(ExpositionFormat::preferred(accept.iter().copied()), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_text_format_of_prometheus_names_a_counter_by_its_sample_and_has_no_end() {
        let open_metrics = "\
            # HELP a Counts a.\n# TYPE a counter\na_total{x=\"1\"} 3\n\
            # HELP b_seconds Takes b.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_count 0\n\
            # HELP c Says c.\n# TYPE c info\nc_info{version=\"1\"} 1\n# EOF\n";
        let expected = "\
            # HELP a_total Counts a.\n# TYPE a_total counter\na_total{x=\"1\"} 3\n\
            # HELP b_seconds Takes b.\n# TYPE b_seconds histogram\nb_seconds_count 0\n\
            # HELP c_info Says c.\n# TYPE c_info gauge\nc_info{version=\"1\"} 1\n";
        assert_eq!(ExpositionFormat::Prometheus.of(open_metrics.to_owned()), expected);
        assert_eq!(ExpositionFormat::OpenMetrics.of(open_metrics.to_owned()), open_metrics);
    }
}
