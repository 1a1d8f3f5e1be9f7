//! Traces: the spans of requests and deliveries that a collector receives, by OTLP over HTTP.
//!
//! The collector is a small one of these tests: it decodes what the service sends and keeps the spans.

use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{API_KEY, Answer, basic, http, identify, leaks, poll_until, within};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// A trace that a client began, and its span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector of spans.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    /// Listens on a free port; the URL for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    async fn start(&self) -> String {
        let router = Router::new().route("/v1/traces", post(receive)).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn spans(&self) -> Vec<Span> {
        let scopes = self.requests().into_iter().flat_map(|request| request.resource_spans);
        scopes.flat_map(|spans| spans.scope_spans).flat_map(|spans| spans.spans).collect()
    }

    /// Waits until there is a span of this name for which `holds`.
    async fn until(&self, name: &str, holds: impl Fn(&Span) -> bool) -> Span {
        let find = || self.spans().into_iter().find(|span| span.name == name && holds(span));
        within(poll_until(|| std::future::ready(find()), Option::is_some)).await.expect("found")
    }
}

async fn receive(State(collector): State<Collector>, body: Bytes) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    collector.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    ExportTraceServiceResponse::default().encode_to_vec()
}

/// The text of an attribute.
fn text(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Attribute::StringValue(text) => Some(text.clone()),
        Attribute::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Posts an event as part of a trace of which the client says whether it is recorded.
async fn send(process: &Process, event: &Value, sampled: bool) -> Answer {
    let traceparent = format!("00-{TRACE}-{PARENT}-0{}", u8::from(sampled));
    let request = http().post(format!("{}/segment", process.server)).header("Authorization", basic(API_KEY));
    Answer::to(request.header("traceparent", traceparent).body(event.to_string())).await
}

#[tokio::test]
async fn a_request_leads_to_its_append_and_by_the_event_to_its_delivery_and_calls() {
    let (collector, refersion, folder) =
        (Collector::default(), Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let url = collector.start().await;
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), ("OTEL_BSP_SCHEDULE_DELAY", "50"), ("SERVER_WAIT", "30s")];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    let answer = send(&process, &identify("1", "u1", &json!({})), true).await;
    assert_eq!(answer.brief(), "200 delivered");
    let event = answer.json()["event"].as_str().expect("a name").to_owned();

    let request = collector.until("receive", |_| true).await;
    assert_eq!((hex::encode(&request.trace_id), hex::encode(&request.parent_span_id)), (TRACE.into(), PARENT.into()));
    for (name, expected) in
        [("account", "main"), ("status", "delivered"), ("http.response.status_code", "200"), ("event.id", &*event)]
    {
        assert_eq!(text(&request, name).as_deref(), Some(expected), "{request:?}");
    }
    let append = collector.until("append", |_| true).await;
    assert_eq!((&append.trace_id, &append.parent_span_id), (&request.trace_id, &request.span_id));
    let [link] = &append.links[..] else { panic!("{append:?}") };
    assert!(hex::encode(&link.trace_id).starts_with(&event), "{append:?}");

    let delivery = collector.until("deliver", |_| true).await;
    assert_eq!((&delivery.trace_id, &delivery.span_id), (&link.trace_id, &link.span_id));
    assert_eq!(text(&delivery, "outcome").as_deref(), Some("created"), "{delivery:?}");
    let call = collector.until("new", |_| true).await;
    assert_eq!((&call.trace_id, &call.parent_span_id), (&delivery.trace_id, &delivery.span_id));
    assert_eq!(text(&call, "reply").as_deref(), Some("created"), "{call:?}");

    let resource = collector.requests()[0].resource_spans[0].resource.clone().expect("a resource");
    assert!(format!("{resource:?}").contains("refersion-destination"), "{resource:?}");
    leaks::check(&format!("{:?}", collector.spans()));
}

#[tokio::test]
async fn a_trace_that_the_client_does_not_record_is_not_recorded_and_retries_are_spans_of_the_first_delivery() {
    let (collector, refersion, folder) =
        (Collector::default(), Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let url = collector.start().await;
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), ("SERVER_WAIT", "30s")];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    refersion.sandbox.script([refersion_destination::sandbox::Fault::status(500)]);
    assert_eq!(send(&process, &identify("1", "u1", &json!({})), false).await.brief(), "200 delivered");
    process.terminate();
    let (status, log) = process.ended().await;
    assert!(status.success(), "{log}");

    // What was recorded last is sent before the process ends.
    let spans = collector.spans();
    assert!(spans.iter().all(|span| !["receive", "append"].contains(&&*span.name)), "{spans:?}");
    let deliveries: Vec<&Span> = spans.iter().filter(|span| span.name == "deliver").collect();
    let [first, .., last] = deliveries[..] else { panic!("{spans:?}") };
    assert_eq!(text(first, "outcome").as_deref(), Some("retry"), "{first:?}");
    assert_eq!((&last.trace_id, &last.parent_span_id), (&first.trace_id, &first.span_id));
}

#[tokio::test]
async fn a_collector_that_is_not_there_delays_nothing() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("SERVER_WAIT", "30s")];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    for n in 0..20 {
        let event = identify(&n.to_string(), &format!("u{n}"), &json!({}));
        assert_eq!(process.send(&event).await.expect("an answer").brief(), "200 delivered");
    }
    process.terminate();
    assert!(process.ended().await.0.success());
}
