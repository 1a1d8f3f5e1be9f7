//! Reads the base URL of Refersion's API, and checks that API keys are not sent unencrypted unless the operator allows it.
//!
//! In: the layers, of the sections or of one of `[[accounts]]`. Out: https; or http to a loopback address; or, with
//! `allow_plain_http`, http to any address and a warning.

use super::read::{Read, Reader};
use super::settings;
use crate::domain::is_loopback;
use url::Url;

/// Reads the base URL, or notes why it is not allowed.
pub(super) fn read(reader: &mut Reader) -> Read<Url> {
    let url = reader.value(&settings::REFERSION_BASE_URL);
    let allowed = reader.value(&settings::REFERSION_ALLOW_PLAIN_HTTP);
    let (url, allowed) = (url?, allowed?);
    if url.scheme() == "https" || is_loopback(&url) {
        return Ok(url);
    }
    if !allowed {
        return Err(reader.refuse(
            settings::REFERSION_BASE_URL.spec,
            "https: API keys must not be sent unencrypted (http only to a loopback address, or with \
             REFERSION_ALLOW_PLAIN_HTTP=true)",
        ));
    }
    reader.warn(settings::REFERSION_BASE_URL.spec, ": API keys and personal data are sent unencrypted");
    Ok(url)
}
