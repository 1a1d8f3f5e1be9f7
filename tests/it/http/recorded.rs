//! Recorded requests of Segment's own webhook package, if the recording lies beside the project.

use super::post;
use crate::support::say_skipped;
use crate::support::service::Service;
use serde_json::Value;
use std::path::Path;

const RECORDING: &str = "../shared/vectors/webhook-recorded/webhook-actions-3.497.0_secret-abc123.ndjson";

/// The recorded headers without those that a client writes itself.
fn headers(request: &Value) -> Vec<(&str, &str)> {
    let flat: Vec<&str> = request["rawHeaders"].as_array().expect("headers").iter().filter_map(Value::as_str).collect();
    let own = ["content-length", "host", "connection"];
    let pairs = flat.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    pairs.filter(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str())).collect()
}

#[tokio::test]
async fn signatures_of_segments_package_are_accepted_and_unsigned_requests_are_not() {
    let Ok(recording) = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDING)) else {
        return say_skipped("the recorded requests of Segment's package are not here");
    };
    let service = Service::start(&[("SEGMENT_SHARED_SECRETS", "new,abc123")]).await;
    for line in recording.lines() {
        let request: Value = serde_json::from_str(line).expect("JSON");
        let body = request["body"].as_str().expect("a body");
        let answer = post(&service.url("/segment"), &headers(&request), body.to_owned()).await;
        let signed = headers(&request).iter().any(|(name, _)| *name == "x-signature");
        assert_eq!(answer.status == 401, !signed, "{line}\n{}", answer.text);
        assert!(matches!(answer.status, 200 | 202 | 401), "{line}\n{}", answer.text);
        if signed {
            let altered = body.replacen("test", "tesu", 1).replacen("5678", "5679", 1);
            assert_eq!(post(&service.url("/segment"), &headers(&request), altered).await.status, 401, "{line}");
        }
    }
}
