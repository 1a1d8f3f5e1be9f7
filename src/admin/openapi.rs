//! The OpenAPI description of both listeners: the file `config/openapi.json`, which is served at `/openapi.json`.
//!
//! [`openapi`] makes the description of the code, for the test that compares it with the file: `utoipa` describes the handlers and their
//! types, and this file adds the problems and credentials of all operations. The service serves the file, so the program does not contain
//! the code that makes it. Invariant, held by tests: an operation is described if it exists.

use super::problem::ProblemDetails;
use super::{
    accounts, affiliate_list, api_keys, backlog, dead_letters, email_conflicts, events, forget, health, lookup, reload,
    status,
};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use utoipa::OpenApi as _;

/// The description that is served.
const SERVED: &str = include_str!("../../config/openapi.json");

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "refersion-destination",
        version = "1",
        description = "A Segment webhook destination for Refersion: where Segment sends events (SERVER_LISTEN), and what operators \
                       use (OPS_LISTEN). Times are in milliseconds since 1970-01-01T00:00:00Z."
    ),
    components(schemas(ProblemDetails)),
    paths(
        health::healthz,
        health::readyz,
        health::metrics,
        status::status,
        reload::reload,
        accounts::list,
        accounts::show,
        affiliate_list::show,
        affiliate_list::learn,
        backlog::list,
        backlog::set_aside,
        events::list,
        events::show,
        dead_letters::list,
        dead_letters::show,
        dead_letters::reveal,
        dead_letters::replay,
        dead_letters::discard,
        email_conflicts::list,
        forget::forget,
        lookup::look_up,
        api_keys::list,
        api_keys::remove,
    )
)]
struct OperatorsListenerDoc;

const PUBLIC_SERVER: (&str, &str) = ("http://localhost:8080", "SERVER_LISTEN: for Segment");
const OPERATORS_SERVER: (&str, &str) = ("http://localhost:9090", "OPS_LISTEN: for operators");

/// The problems that the API may answer.
const PROBLEMS: [(u16, &str); 13] = [
    (400, "A parameter or the body is not valid"),
    (401, "The token is required, or wrong"),
    (403, "No token is configured, or the request comes from another site"),
    (404, "There is no such account, dead letter, event or key"),
    (405, "The path does not allow this method"),
    (408, "The body took too long to arrive"),
    (409, "The backlog is full, the account is not gone, or Refersion's list of affiliates cannot be read now"),
    (413, "The body is too large"),
    (415, "The body is not JSON, or it is compressed"),
    (422, "The configuration is refused"),
    (429, "Too many wrong tokens"),
    (500, "A bug of the service"),
    (503, "The store failed, or the service is shutting down"),
];
/// Problems of every operation of the API.
const ALWAYS: [u16; 6] = [401, 403, 405, 429, 500, 503];
/// Problems of an operation with a body.
const WITH_BODY: [u16; 3] = [408, 413, 415];

/// A text that is not blank.
const NOT_BLANK: &str = r"\S";
/// An e-mail address in ASCII. Addresses in Unicode are accepted, too.
const EMAIL: &str = r"^[!#-'*+./0-9=?A-Z^_`a-z{|}~-]+@[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$";

/// The description, made of the code. `public` is that of the public listener.
pub fn openapi(mut public: Value) -> Value {
    let document = serde_json::to_value(OperatorsListenerDoc::openapi());
    let mut document = document.unwrap_or_else(|_| unreachable!("its keys are texts"));
    if let Some(info) = document["info"].as_object_mut() {
        info.retain(|name, _| ["title", "version", "description"].contains(&name.as_str()));
    }
    document["servers"] = json!([server(OPERATORS_SERVER)]);
    each(&mut document["paths"], |path, name| match name {
        "/healthz" | "/readyz" => path["servers"] = json!([server(OPERATORS_SERVER), server(PUBLIC_SERVER)]),
        "/metrics" => {}
        _ => each(path, add_problems_and_credentials),
    });
    each(&mut public["paths"], |path, _| path["servers"] = json!([server(PUBLIC_SERVER)]));
    merge(&mut document["paths"], &public["paths"]);
    for kind in ["responses", "schemas", "securitySchemes"] {
        merge(&mut document["components"][kind], &public["components"][kind]);
    }
    for (schema, names) in
        [("ForgetRequest", &["user_id", "email"][..]), ("LookupRequest", &["user_id", "email", "message_id", "code"])]
    {
        require_one_of(&mut document["components"]["schemas"][schema], names);
    }
    let problems = PROBLEMS.map(|(code, description)| {
        let content = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}});
        (format!("Problem{code}"), json!({"description": description, "content": content}))
    });
    merge(&mut document["components"]["responses"], &Value::Object(problems.into_iter().collect()));
    let schemes = json!({
        "token": {"type": "http", "scheme": "bearer", "description": "OPS_TOKEN"},
        "password": {"type": "http", "scheme": "basic", "description": "OPS_TOKEN as the password, with any user name"},
    });
    merge(&mut document["components"]["securitySchemes"], &schemes);
    document
}

/// Answers with the description.
pub(super) async fn show() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], SERVED)
}

fn add_problems_and_credentials(operation: &mut Value, method: &str) {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let names = parameters.iter().any(|parameter| parameter["in"] == "path" || parameter["name"] == "account");
    let body = operation.get("requestBody").is_some();
    let is = |ids: &[&str]| ids.iter().any(|id| operation["operationId"] == *id);
    let problems = [
        (true, &ALWAYS[..]),
        (body || !parameters.is_empty(), &[400]),
        (names || is(&["forget_user", "look_up", "replay_dead_letters", "set_aside_backlog"]), &[404]),
        (body, &WITH_BODY),
        (is(&["replay_dead_letters", "set_aside_backlog", "show_affiliate_list", "learn_affiliates"]), &[409]),
        (is(&["reload_configuration"]), &[422]),
    ];
    for code in problems.iter().filter(|(has, _)| *has).flat_map(|(_, codes)| codes.iter()) {
        operation["responses"][code.to_string()] = json!({"$ref": format!("#/components/responses/Problem{code}")});
    }
    let mut credentials = vec![json!({"token": []}), json!({"password": []})];
    if method == "get" || operation["operationId"] == "look_up" {
        // On a loopback listener.
        credentials.insert(0, json!({}));
    }
    operation["security"] = credentials.into();
}

/// Adds to the schema of a request that one of these texts is required, and which text is an e-mail address.
fn require_one_of(schema: &mut Value, names: &[&str]) {
    let email = json!({"pattern": EMAIL, "maxLength": 254});
    merge(&mut schema["properties"]["email"], &email);
    let required = |name: &&str| {
        let pattern = if *name == "email" { EMAIL } else { NOT_BLANK };
        json!({"required": [name], "properties": {*name: {"type": "string", "pattern": pattern}}})
    };
    schema["anyOf"] = names.iter().map(required).collect();
}

fn server((url, description): (&str, &str)) -> Value {
    json!({"url": url, "description": description})
}

/// Calls `change` with each member of an object, and its name.
fn each(object: &mut Value, mut change: impl FnMut(&mut Value, &str)) {
    for (name, member) in object.as_object_mut().into_iter().flatten() {
        change(member, name);
    }
}

/// Adds the members of one object to another, which is made if it is absent.
fn merge(into: &mut Value, from: &Value) {
    if into.is_null() {
        *into = json!({});
    }
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        into.extend(from.iter().map(|(name, member)| (name.clone(), member.clone())));
    }
}
