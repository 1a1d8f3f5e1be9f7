//! Reads the base URL of Refersion's API, and checks that API keys are not sent unencrypted unless the operator allows it.
//!
//! In: the layers, of the sections or of one of `[[accounts]]`. Out: https; or http to a loopback address; or, with
//! `allow_plain_http`, http to any address and a warning.

use super::problem::Noted;
use super::read::{Read, Reader};
use super::settings;
use super::values::found;
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
        reader.refuse(settings::REFERSION_BASE_URL.spec, |value| {
            format!(
                "found {}, expected https: API keys must not be sent unencrypted (http only to a loopback address, or with \
                 REFERSION_ALLOW_PLAIN_HTTP=true)",
                found(value)
            )
        });
        return Err(Noted);
    }
    reader.warn(settings::REFERSION_BASE_URL.spec, |value| {
        format!("found {}: API keys and personal data are sent unencrypted", found(value))
    });
    Ok(url)
}
