//! The OpenAPI description of the public listener's paths: for events, and for the pages that connect a source. The description of the
//! operators' listener has the health checks, and serves the whole description as a file.

use super::response::{ApiResponse, DESCRIPTIONS, ItemResult, ResponseBody};
use super::{connect, limits::MAX_EVENTS, webhook};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    paths(
        webhook::shared_endpoint,
        webhook::account_endpoint,
        connect::show,
        connect::submit,
        connect::again,
        connect::callback
    ),
    components(schemas(ResponseBody, ItemResult)),
    modifiers(&CredentialsAndResponses)
)]
struct PublicListenerDoc;

/// Credentials and responses that the operations share.
struct CredentialsAndResponses;

impl Modify for CredentialsAndResponses {
    fn modify(&self, openapi: &mut OpenApi) {
        let key = HttpBuilder::new().scheme(HttpAuthScheme::Basic);
        let key = key.description(Some("Refersion's two keys, joined by a dot, as the user name; no password"));
        let signature = ApiKeyValue::with_description(
            "X-Signature",
            "HMAC-SHA1 of the body under a shared secret, in hexadecimal digits",
        );
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(key.build()));
        components.add_security_scheme("signature", SecurityScheme::ApiKey(ApiKey::Header(signature)));
        components.responses.extend(event_responses());
    }
}

/// The responses to events, by the names under which operations refer to them.
fn event_responses() -> impl Iterator<Item = (String, RefOr<Response>)> {
    DESCRIPTIONS.into_iter().map(|(code, description)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ResponseBody"))).build();
        let response = ResponseBuilder::new().description(description).content("application/json", content);
        (format!("Event{code}"), response.build().into())
    })
}

impl IntoResponses for ApiResponse {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let response =
            |(code, _): (&str, _)| (code.to_owned(), Ref::new(format!("#/components/responses/Event{code}")).into());
        DESCRIPTIONS.into_iter().map(response).collect()
    }
}

/// Schemas of bodies: forms, and events that are certainly accepted. Many other events are accepted, too: an e-mail address is found in
/// several places, and no other member must have a certain type.
fn body_schemas() -> Value {
    let event = json!({"$ref": "#/components/schemas/SegmentEvent"});
    let several = json!({"type": "array", "minItems": 1, "maxItems": MAX_EVENTS, "items": event});
    let user_id = |constraint: Value| with(constraint, json!({"description": "The merchant's own id of the user"}));
    let identify = json!({"userId": user_id(json!({})), "traits": traits_schema()});
    // No placeholder such as `0` or `null`, which names nobody.
    let delete = json!({"userId": user_id(json!({"type": "string", "pattern": "^[0-9A-Za-z]+[1-9][0-9A-Za-z_-]*$"}))});
    json!({
        "SegmentEvent": {
            "description": "An event. It may have any other member, but `batch`",
            "oneOf": [
                event_schema("identify", &["type", "traits"], identify),
                event_schema("delete", &["type", "userId"], delete),
            ],
            "not": {"required": ["batch"]},
        },
        "SegmentBatch": {
            "description": "Events as Segment's SDKs send them",
            "type": "object",
            "required": ["batch"],
            "properties": {"batch": several},
        },
        "ConnectForm": {
            "type": "object",
            "required": ["state", "api_key"],
            "properties": {"state": {"type": "string"}, "api_key": {"type": "string"}},
        },
        "AgainForm": {"type": "object", "required": ["state"], "properties": {"state": {"type": "string"}}},
        "SegmentEvents": {"anyOf": [event, several, {"$ref": "#/components/schemas/SegmentBatch"}]},
    })
}

/// The schema of an event of this type, with its own members.
fn event_schema(kind: &str, required: &[&str], own: Value) -> Value {
    let common = json!({
        "type": {"type": "string", "enum": [kind]},
        "messageId": {"description": "By which a repeat is recognised"},
        "timestamp": {"description": "Since when what it says is true"},
    });
    json!({"type": "object", "required": required, "properties": with(common, own)})
}

fn traits_schema() -> Value {
    json!({
        "type": "object",
        "required": ["email", "name"],
        "properties": {
            "email": {"type": "string", "maxLength": 60, "pattern": r"^[0-9A-Za-z._+-]+@[0-9A-Za-z-]+\.[0-9A-Za-z-]+$"},
            "name": {"type": "string", "pattern": "^[A-Za-z]+ [A-Za-z]+$", "description": "Or `firstName`, `lastName`"},
            "address": {"description": "An object with `street`, `city`, `state`, `postalCode`, `country`"},
            "phone": {},
            "company": {"description": "A text, or an object with `name`"},
        },
    })
}

/// An object with the members of both.
fn with(object: Value, more: Value) -> Value {
    let members = [object, more].into_iter().filter_map(|object| object.as_object().cloned());
    members.flatten().collect()
}

/// The paths for events, each with its methods.
pub fn openapi() -> Value {
    let mut openapi = PublicListenerDoc::openapi();
    let paths = &mut openapi.paths.paths;
    let sdk = super::SDK_PATHS.map(|path| {
        let item = paths.get("/segment").cloned().unwrap_or_default();
        (path.to_owned(), with_id(item, &path.replace('/', "_")))
    });
    for (_, item) in paths.iter_mut().filter(|(path, _)| path.starts_with("/segment")) {
        add_put_and_patch(item);
    }
    paths.extend(sdk);
    let mut document = serde_json::to_value(&openapi).unwrap_or_else(|_| unreachable!("its keys are texts"));
    let items = document["paths"].as_object_mut().into_iter().flatten();
    for (_, operation) in items.filter_map(|(_, item)| item.as_object_mut()).flatten() {
        if let Some(Value::Object(body)) = operation.get_mut("requestBody") {
            body.insert("required".to_owned(), true.into());
        }
    }
    let schemas = &mut document["components"]["schemas"];
    *schemas = with(schemas.take(), body_schemas());
    document
}

/// The same operation with another id.
fn with_id(mut item: PathItem, suffix: &str) -> PathItem {
    if let Some(operation) = &mut item.post {
        operation.operation_id = operation.operation_id.as_ref().map(|id| format!("{id}{suffix}"));
    }
    item
}

/// Segment's Webhooks destination can be set to these methods; they mean the same.
fn add_put_and_patch(item: &mut PathItem) {
    item.put = with_id(item.clone(), "_by_put").post;
    item.patch = with_id(item.clone(), "_by_patch").post;
}
