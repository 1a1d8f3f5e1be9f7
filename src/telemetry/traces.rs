//! Traces: they connect a request with its append, and a delivery with its calls. Exported by OTLP over HTTP.
//!
//! In: spans of the services. Out: exports, sent by a separate thread. Events link the two sides, however long an event is pending. The
//! deliveries of an event form the trace with the id of the event, so `event.id` in a log line is the beginning of a trace id. The append
//! in the trace of a request links to the traces of its events. A request continues the trace that its `traceparent` names. Invariants:
//! nothing happens unless [`start`] was called; recording a span neither waits nor fails, and spans are dropped if they cannot be sent; no
//! secret and no personal datum is in a span. Deliberately absent: sampling, except by `traceparent` (a collector samples better, because
//! it knows the end of a trace), and sending `traceparent` to Refersion.

use super::otlp::Exporter;
use crate::domain::EventId;
use opentelemetry::trace::{Link, SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

pub use opentelemetry::trace::SpanKind;

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// The most links of a span that are recorded.
const MAX_LINKS: usize = 128;

/// A trace, and the span in it that further spans belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    /// Whether the service that began the trace records it.
    sampled: bool,
}

/// A span that has begun. It is recorded by [`Span::end`].
#[derive(Clone, Debug)]
pub struct Span(SpanData);

/// Starts exporting to the collector that `OTEL_EXPORTER_OTLP_…` in the environment names, on the present runtime. Later calls change
/// nothing. Err: the environment is not valid.
pub fn start() -> Result<(), String> {
    let exporter = Exporter::new(tokio::runtime::Handle::current())?;
    let _ = EXPORTER.set(exporter); // Err: exporting was started before
    Ok(())
}

/// Sends the spans that were not sent yet; gives up after `timeout`. Blocks this thread.
pub fn stop(timeout: Duration) {
    if let Some(exporter) = EXPORTER.get() {
        exporter.stop(timeout);
    }
}

impl TraceContext {
    /// The context that a `traceparent` header names: version, trace, span and flags in hex, by W3C's Trace Context. `None` if it is not
    /// valid; then a new trace begins.
    pub fn from_traceparent(header: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(header).ok()?.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_lower_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let known =
            version == "00" && parts.next().is_none() || version.len() == 2 && version != "00" && version != "ff";
        if !known || ![version, trace, span, flags].into_iter().all(is_lower_hex) || flags.len() != 2 {
            return None;
        }
        let mut context = Self { trace: [0; 16], span: [0; 8], sampled: false };
        hex::decode_to_slice(trace, &mut context.trace).ok()?;
        hex::decode_to_slice(span, &mut context.span).ok()?;
        context.sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    /// The trace of an event's deliveries, and in it the span of the first.
    pub fn of_event(event: EventId) -> Self {
        let span = std::array::from_fn(|at| event.0[8 + at]);
        Self { trace: event.0, span, sampled: true }
    }

    /// A new trace.
    fn new() -> Self {
        Self { trace: rand::random(), span: rand::random(), sampled: true }
    }

    fn span_context(self, is_remote: bool) -> SpanContext {
        let (trace, span) = (TraceId::from_bytes(self.trace), SpanId::from_bytes(self.span));
        SpanContext::new(trace, span, TraceFlags::SAMPLED, is_remote, TraceState::NONE)
    }
}

impl Span {
    /// The span of a request, which continues the trace of `traceparent` if that is valid. `None`: traces are off, or that trace is not
    /// recorded.
    pub fn of_request(name: &'static str, traceparent: Option<&[u8]>) -> Option<Self> {
        EXPORTER.get()?;
        let remote = traceparent.and_then(TraceContext::from_traceparent);
        let context = remote.map_or_else(TraceContext::new, |remote| TraceContext { span: rand::random(), ..remote });
        context.sampled.then(|| {
            let mut span = Self::begun(name, SpanKind::Server, context, remote.map(|remote| remote.span));
            span.0.parent_span_is_remote = remote.is_some();
            span
        })
    }

    /// The span of an attempt to deliver an event. `first`: it is the first attempt. `None`: traces are off.
    pub fn of_delivery(event: EventId, first: bool) -> Option<Self> {
        EXPORTER.get()?;
        let of_event = TraceContext::of_event(event);
        let (context, parent) = if first {
            (of_event, None)
        } else {
            (TraceContext { span: rand::random(), ..of_event }, Some(of_event.span))
        };
        Some(Self::begun("deliver", SpanKind::Consumer, context, parent))
    }

    /// A span within another span.
    pub fn child_of(parent: Option<TraceContext>, name: &'static str, kind: SpanKind) -> Option<Self> {
        let parent = parent?;
        let context = TraceContext { span: rand::random(), ..parent };
        Some(Self::begun(name, kind, context, Some(parent.span)))
    }

    fn begun(name: &'static str, kind: SpanKind, context: TraceContext, parent: Option<[u8; 8]>) -> Self {
        let now = SystemTime::now();
        Self(SpanData {
            span_context: context.span_context(false),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: false,
            span_kind: kind,
            name: name.into(),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        })
    }

    /// The context for further spans within this one.
    pub fn context(&self) -> TraceContext {
        let context = &self.0.span_context;
        TraceContext { trace: context.trace_id().to_bytes(), span: context.span_id().to_bytes(), sampled: true }
    }

    /// Adds a text. It must be neither a secret nor personal.
    pub fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.attributes.push(KeyValue::new(name, value.into()));
    }

    /// Adds a number.
    pub fn number(&mut self, name: &'static str, value: usize) {
        self.0.attributes.push(KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX)));
    }

    /// Links to the traces of these events.
    pub fn link(&mut self, events: impl IntoIterator<Item = EventId>) {
        let links = &mut self.0.links.links;
        let room = MAX_LINKS.saturating_sub(links.len());
        let link = |event| Link::with_context(TraceContext::of_event(event).span_context(true));
        links.extend(events.into_iter().take(room).map(link));
    }

    /// Marks the span as failed. The text must be neither secret nor personal.
    pub fn fail(&mut self, what: impl Into<String>) {
        self.0.status = Status::error(what.into());
    }

    /// Ends the span, and records it.
    pub fn end(mut self) {
        self.0.end_time = SystemTime::now();
        if let Some(exporter) = EXPORTER.get() {
            exporter.record(self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_traceparent_is_read_as_w3c_defines_it() {
        let valid = |header: &str| TraceContext::from_traceparent(header.as_bytes());
        let sampled = valid(&format!("00-{TRACE}-b7ad6b7169203331-01")).expect("valid");
        assert_eq!((hex::encode(sampled.trace), hex::encode(sampled.span)), (TRACE.into(), "b7ad6b7169203331".into()));
        assert!(sampled.sampled);
        for (header, expected) in [
            (format!("00-{TRACE}-b7ad6b7169203331-00"), Some(false)),
            (format!(" 00-{TRACE}-b7ad6b7169203331-03 "), Some(true)),
            (format!("cc-{TRACE}-b7ad6b7169203331-01-what-the-future-will-be-like"), Some(true)),
            (format!("00-{TRACE}-b7ad6b7169203331-01-more"), None),
            (format!("ff-{TRACE}-b7ad6b7169203331-01"), None),
            (format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()), None),
            (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-0000000000000000-01"), None),
            (format!("00-{TRACE}-b7ad6b71692033-01"), None),
            (format!("00-{TRACE}-b7ad6b7169203331"), None),
            (format!("00-{TRACE}-b7ad6b7169203331-1"), None),
            ("é".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(valid(&header).map(|context| context.sampled), expected, "{header}");
        }
    }

    #[test]
    fn nothing_is_recorded_unless_traces_are_on() {
        assert!(Span::of_request("POST", None).is_none() && Span::of_delivery(EventId([1; 16]), true).is_none());
        assert!(Span::child_of(None, "append", SpanKind::Internal).is_none());
    }

    #[test]
    fn the_trace_of_an_event_begins_with_the_name_of_the_event() {
        let event = EventId(*b"0123456789abcdef");
        let context = TraceContext::of_event(event);
        assert!(hex::encode(context.trace).starts_with(&event.to_string()));
        assert_eq!(&context.span, b"89abcdef");
    }
}
