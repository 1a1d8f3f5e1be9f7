//! The description of both listeners: it is kept in the repository, and every part of it is true.

use super::{read, service};
use serde_json::Value;
use std::path::Path;

const KEPT: &str = "config/openapi.json";

/// The document is served as it is kept. After a change of the API, `KEEP_OPENAPI=1 cargo test openapi` writes it anew.
#[tokio::test]
async fn the_kept_description_is_the_one_that_is_served() {
    let service = service(&[]).await;
    let served = super::get(&service, "/openapi.json").await;
    assert_eq!((served.status, &served.headers["content-type"]), (200, &"application/json".parse().expect("a value")));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(KEPT);
    if std::env::var_os("KEEP_OPENAPI").is_some() {
        std::fs::write(&path, &served.text).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == served.text, "{KEPT} is not what is served: KEEP_OPENAPI=1 cargo test openapi writes it anew");
}

#[tokio::test]
async fn the_description_has_every_path_of_both_listeners_each_operation_with_an_id_of_its_own() {
    let service = service(&[]).await;
    let document = read(&service, "/openapi.json").await;
    let paths: Vec<&str> = document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
    let expected = [
        "/api/v1/accounts",
        "/api/v1/accounts/{account}",
        "/api/v1/accounts/{account}/affiliate-list",
        "/api/v1/backlog",
        "/api/v1/dead-letters",
        "/api/v1/dead-letters/discard",
        "/api/v1/dead-letters/replay",
        "/api/v1/dead-letters/{id}",
        "/api/v1/dead-letters/{id}/reveal",
        "/api/v1/email-conflicts",
        "/api/v1/events/{seq}",
        "/api/v1/forget",
        "/api/v1/keys",
        "/api/v1/keys/{account}",
        "/api/v1/lookup",
        "/api/v1/reload",
        "/api/v1/status",
        "/connect",
        "/connect/again",
        "/connect/callback",
        "/healthz",
        "/metrics",
        "/readyz",
        "/segment",
        "/segment/{account}",
        "/v1/batch",
        "/v1/import",
    ];
    assert_eq!(paths, expected);
    let operations =
        document["paths"].as_object().into_iter().flatten().filter_map(|(_, item)| item.as_object()).flatten();
    let ids: Vec<&Value> = operations.filter_map(|(_, operation)| operation.get("operationId")).collect();
    let different: std::collections::BTreeSet<&str> = ids.iter().filter_map(|id| id.as_str()).collect();
    assert_eq!(ids.len(), different.len(), "{ids:?}");
}

/// Every reference leads to a schema, and no schema is left over.
#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    let service = service(&[]).await;
    let document = read(&service, "/openapi.json").await;
    let text = document.to_string();
    let prefix = "\"#/components/schemas/";
    let named: std::collections::BTreeSet<&str> =
        text.split(prefix).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let schemas: std::collections::BTreeSet<&str> =
        document["components"]["schemas"].as_object().expect("schemas").keys().map(String::as_str).collect();
    assert_eq!(named, schemas);
}
