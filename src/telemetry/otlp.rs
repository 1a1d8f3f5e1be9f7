//! The exporter of spans: OTLP over HTTP, with the crates of OpenTelemetry.
//!
//! In: spans that have ended. Out: requests to the collector that the environment names. The processor of the SDK collects the spans on a
//! separate thread, and drops them while its queue is full. Requests run on the service's runtime, with the same HTTP client library as
//! calls to Refersion. Invariant: a failure to send is logged by OpenTelemetry at its own levels, and has no other effect.

use super::traces::{AttributeValue, Span, SpanKind, TraceContext};
use async_trait::async_trait;
use opentelemetry::trace::{self, Link, SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};
use std::time::Duration;
use tokio::runtime::Handle;

/// The name of the service in traces, unless `OTEL_SERVICE_NAME` sets another.
const SERVICE: &str = "refersion-destination";

/// The timeout of one request: the default of OpenTelemetry.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The exporter.
#[derive(Debug)]
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Exporter {
    /// An exporter to the collector of the environment. Its requests run on `runtime`.
    pub(super) fn new(runtime: Handle) -> Result<Self, String> {
        // Err: already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| format!("cannot make the HTTP client for traces: {error}"))?;
        let exporter = SpanExporter::builder().with_http().with_http_client(ExportClient { http, runtime }).build();
        let exporter = exporter.map_err(|error| format!("cannot export traces: {error}"))?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&resource());
        let scope = InstrumentationScope::builder(SERVICE).with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { processor, scope })
    }

    pub(super) fn record(&self, span: Span) {
        self.processor.on_end(data(span, self.scope.clone()));
    }

    pub(super) fn stop(&self, timeout: Duration) {
        if let Err(error) = self.processor.shutdown_with_timeout(timeout) {
            tracing::debug!(%error, "the last spans could not be sent");
        }
    }
}

/// The description of this process in every export. The environment (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) takes precedence.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version.clone()).build();
    let named = resource
        .get(&Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if named { resource } else { Resource::builder().with_service_name(SERVICE).with_attribute(version).build() }
}

fn data(span: Span, instrumentation_scope: InstrumentationScope) -> SpanData {
    let mut links = SpanLinks::default();
    links.links = span.links.iter().map(|link| Link::with_context(context(*link, true))).collect();
    let attributes = span.attributes.into_iter().map(|(name, value)| match value {
        AttributeValue::Text(text) => KeyValue::new(name, Value::from(text)),
        AttributeValue::Number(number) => KeyValue::new(name, Value::from(number)),
    });
    SpanData {
        span_context: context(span.context, false),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: span.parent.is_some() && span.parent_is_remote,
        span_kind: match span.kind {
            SpanKind::Server => trace::SpanKind::Server,
            SpanKind::Client => trace::SpanKind::Client,
            SpanKind::Consumer => trace::SpanKind::Consumer,
            SpanKind::Internal => trace::SpanKind::Internal,
        },
        name: span.name.into(),
        start_time: span.began,
        end_time: span.ended,
        attributes: attributes.collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope,
    }
}

fn context(context: TraceContext, is_remote: bool) -> SpanContext {
    let (trace, span) = (TraceId::from_bytes(context.trace), SpanId::from_bytes(context.span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, is_remote, TraceState::NONE)
}

/// The HTTP client, for a thread outside of the runtime.
#[derive(Debug)]
struct ExportClient {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for ExportClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sending = async move {
            let response = http.execute(request.try_into()?).await?.error_for_status()?;
            let status = response.status();
            Ok::<_, HttpError>(Response::builder().status(status).body(response.bytes().await?)?)
        };
        self.runtime.spawn(sending).await?
    }
}
