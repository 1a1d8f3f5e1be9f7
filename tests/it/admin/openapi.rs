//! The description of both listeners: the file that is served is the one that the code makes, and every part of it is true.

use super::{problem, read, request, service};
use crate::support::Answer;
use refersion_destination::{admin, http};
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

const KEPT: &str = "config/openapi.json";
const MAX_LINE: usize = 140;

/// After a change of the API, `KEEP_OPENAPI=1 cargo test openapi` writes the file anew.
#[test]
fn the_kept_description_is_the_one_that_the_code_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(KEPT);
    let mut made = String::new();
    lay_out(&mut made, &admin::openapi(http::openapi()), 0, 0);
    made.push('\n');
    if std::env::var_os("KEEP_OPENAPI").is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "{KEPT} is not what the code makes: KEEP_OPENAPI=1 cargo test openapi writes it anew");
}

#[tokio::test]
async fn the_kept_description_is_the_one_that_is_served() {
    let service = service(&[]).await;
    let served = super::get(&service, "/openapi.json").await;
    assert_eq!((served.status, &served.headers["content-type"]), (200, &"application/json".parse().expect("a value")));
    assert!(served.json() == admin::openapi(http::openapi()), "the program was built with another file");
}

/// JSON in lines of up to [`MAX_LINE`] characters: whatever fits in a line is in one. `used`: what the line holds already.
fn lay_out(text: &mut String, value: &Value, depth: usize, used: usize) {
    let line = value.to_string();
    let (open, close, members): (_, _, Vec<(String, &Value)>) = match value {
        _ if depth + used + line.len() < MAX_LINE => return text.push_str(&line),
        Value::Object(object) => (
            '{',
            '}',
            object.iter().map(|(name, value)| (format!("{}: ", Value::from(name.as_str())), value)).collect(),
        ),
        Value::Array(array) => ('[', ']', array.iter().map(|value| (String::new(), value)).collect()),
        _ => return text.push_str(&line),
    };
    text.push(open);
    for (index, (name, value)) in members.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma}\n{:depth$} {name}", "").expect("a String takes everything");
        lay_out(text, value, depth + 1, name.len());
    }
    write!(text, "\n{:depth$}{close}", "").expect("a String takes everything");
}

/// The operations of the description: path, method, and what is said of it.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let members = item.as_object().into_iter().flatten().filter(|(name, _)| *name != "servers");
        found.extend(members.map(|(method, operation)| (&**path, &**method, operation)));
    }
    found
}

/// The pages that connect a source are left out: the service is not set up for them.
#[tokio::test]
async fn every_operation_that_is_described_is_served() {
    let service = service(&[]).await;
    let document = admin::openapi(http::openapi());
    for (path, method, _) in operations(&document).into_iter().filter(|(path, ..)| !path.starts_with("/connect")) {
        let method: Method = method.to_uppercase().parse().expect("a method");
        let concrete = path.replace("{account}", "main").replace("{id}", "1").replace("{seq}", "1");
        let answer = if document["paths"][path]["servers"][0]["url"] == "http://localhost:8080" {
            Answer::to(service.http.request(method.clone(), service.url(&concrete))).await
        } else {
            Answer::to(request(&service, &method, &concrete)).await
        };
        assert_ne!(answer.status, 405, "{method} {path}: {}", answer.text);
        assert!(answer.status != 404 || problem(&answer) == "404 not-found", "{method} {path}: {}", answer.text);
    }
}

#[test]
fn every_operation_of_the_code_is_described_once() {
    let document = admin::openapi(http::openapi());
    let ids: Vec<&str> = operations(&document).iter().filter_map(|(.., it)| it["operationId"].as_str()).collect();
    let different: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), operations(&document).len(), "{ids:?}");
    assert_eq!(ids.len(), different.len(), "{ids:?}");
    let sources = crate::architecture::sources();
    let after = |code| str::split(code, "operation_id = \"").skip(1).filter_map(|rest| rest.split('"').next());
    let named: Vec<&str> = sources.iter().flat_map(|source| after(&source.code)).collect();
    assert!(named.len() > 20, "{named:?}");
    let missing: Vec<&&str> = named.iter().filter(|id| !different.contains(*id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Every reference leads to a schema or a response, and none is left over.
#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    let service = service(&[]).await;
    let document = read(&service, "/openapi.json").await;
    let text = document.to_string();
    for kind in ["schemas", "responses"] {
        let prefix = format!("\"#/components/{kind}/");
        let named: BTreeSet<&str> = text.split(&prefix).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let described = document["components"][kind].as_object().expect("an object").keys().map(String::as_str);
        assert_eq!(named, described.collect(), "{kind}");
    }
}
