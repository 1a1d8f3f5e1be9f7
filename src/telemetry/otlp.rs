//! The exporter of spans: OTLP over HTTP, with the crates of OpenTelemetry.
//!
//! In: spans that have ended. Out: requests to the collector that the environment names. The processor of the SDK collects the spans on a
//! separate thread, and drops them while its queue is full. Requests run on the service's runtime, with the same HTTP client library as
//! calls to Refersion. Invariant: a failure to send is logged by OpenTelemetry at its own levels, and has no other effect.

use async_trait::async_trait;
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor};
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

    pub(super) fn record(&self, span: SpanData) {
        self.processor.on_end(SpanData { instrumentation_scope: self.scope.clone(), ..span });
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
