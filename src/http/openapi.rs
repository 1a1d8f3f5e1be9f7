//! The OpenAPI description of the public listener's paths: for events, and for the pages that connect a source. Health is
//! described with the operators' listener, which serves the description, as a file.

use super::response::{ApiResponse, ItemResult, ResponseBody};
use super::{connect, webhook};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, PathItem};
use utoipa::{Modify, OpenApi as _};

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
    modifiers(&Shared)
)]
struct Events;

/// What the operations share: credentials and responses.
struct Shared;

impl Modify for Shared {
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
        components.responses.extend(ApiResponse::described().map(|(name, response)| (name, response.into())));
    }
}

/// The paths for events, each with its methods.
pub fn openapi() -> OpenApi {
    let mut openapi = Events::openapi();
    let paths = &mut openapi.paths.paths;
    let sdk = super::SDK_PATHS.map(|path| {
        let item = paths.get("/segment").cloned().unwrap_or_default();
        (path.to_owned(), with_id(item, &path.replace('/', "_")))
    });
    for (_, item) in paths.iter_mut().filter(|(path, _)| path.starts_with("/segment")) {
        add_put_and_patch(item);
    }
    paths.extend(sdk);
    openapi
}

/// The same operation under an id of its own.
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
