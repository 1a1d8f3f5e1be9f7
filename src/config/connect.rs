//! Reads `[connect]`: the app at Segment by which merchants connect their sources ("Enable with Segment").
//!
//! In: the layers. Out: none if no setting of the section is set; else the whole section, or every problem. Invariant: client secrets,
//! tokens and API keys are not sent unencrypted: https, or http to a loopback address.

use super::read::{Read, Reader};
use super::settings::{self, Setting};
use super::{ConnectConfig, Mode};
use crate::domain::is_loopback;
use url::Url;

/// Reads the section. A seal key is required with it in [`Mode::Live`].
pub(super) fn read(reader: &mut Reader, mode: Mode) -> Read<Option<ConnectConfig>> {
    let client_id = reader.optional(&settings::CONNECT_CLIENT_ID);
    let client_secret = reader.optional(&settings::CONNECT_CLIENT_SECRET);
    let redirect_url = reader.optional(&settings::CONNECT_REDIRECT_URL);
    let scope = reader.value(&settings::CONNECT_SCOPE);
    let auth_base_url = encrypted(&settings::CONNECT_AUTH_BASE_URL, reader);
    let api_base_url = encrypted(&settings::CONNECT_API_BASE_URL, reader);
    let set = [
        (settings::CONNECT_CLIENT_ID.spec, !matches!(client_id, Ok(None))),
        (settings::CONNECT_CLIENT_SECRET.spec, !matches!(client_secret, Ok(None))),
        (settings::CONNECT_REDIRECT_URL.spec, !matches!(redirect_url, Ok(None))),
    ];
    if set.iter().any(|(_, set)| *set) {
        for (spec, _) in set.iter().filter(|(_, set)| !set) {
            reader.missing(*spec, "required with the other settings of [connect]");
        }
        let why = "required with [connect], which seals what a browser keeps while a merchant connects";
        reader.require_seal_key(mode, why, "");
    }
    let (client_id, client_secret, redirect_url) = (client_id?, client_secret?, redirect_url?);
    let (scope, auth_base_url, api_base_url) = (scope?, auth_base_url?, api_base_url?);
    let all = client_id.zip(client_secret).zip(redirect_url);
    Ok(all.map(|((client_id, client_secret), redirect_url)| ConnectConfig {
        client_id,
        client_secret,
        redirect_url: Some(redirect_url),
        scope,
        auth_base_url,
        api_base_url,
    }))
}

fn encrypted(setting: &Setting<Url>, reader: &mut Reader) -> Read<Url> {
    let url = reader.value(setting)?;
    if url.scheme() != "https" && !is_loopback(&url) {
        let expected = "https: secrets must not be sent unencrypted (http only to a loopback address)";
        return Err(reader.refuse(setting.spec, expected));
    }
    Ok(url)
}
