//! Parsers for secrets, which are never shown in a problem.

use super::{Parsed, list};
use crate::domain::{ApiKey, SealKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use toml::Value;

/// An API key.
pub(in crate::config) fn api_key(value: &Value) -> Parsed<ApiKey> {
    let text = value.as_str().ok_or("found no text (not shown), expected `publickey.secretkey` in quotes")?;
    ApiKey::parse(text).map_err(|error| format!("found {error}"))
}

/// Shared secrets. They are never shown in a problem.
pub(in crate::config) fn shared_secrets(value: &Value) -> Parsed<Vec<SecretString>> {
    let secrets = list(value).ok_or("found something else (not shown), expected a list of texts")?;
    Ok(secrets.into_iter().map(SecretString::from).collect())
}

/// The shortest token; a shorter one can be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

/// The token of operators. It is never shown in a problem.
pub(in crate::config) fn token(value: &Value) -> Parsed<SecretString> {
    let expected = format!(
        "expected at least {MIN_TOKEN_LENGTH} characters of ASCII without blanks, such as `openssl rand -hex 32` prints"
    );
    match value.as_str().map(str::trim) {
        Some(text) if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(format!("found a blank or a character outside of ASCII (not shown), {expected}"))
        }
        Some(text) if text.len() < MIN_TOKEN_LENGTH => {
            Err(format!("found {} characters (not shown), {expected}", text.len()))
        }
        Some(text) => Ok(text.into()),
        None => Err(format!("found no text (not shown), {expected}")),
    }
}

/// The client secret of an app at Segment. It is never shown in a problem.
pub(in crate::config) fn client_secret(value: &Value) -> Parsed<SecretString> {
    match value.as_str().map(str::trim) {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.into()),
        _ => Err("found something else (not shown), expected the app's client secret: ASCII without blanks".to_owned()),
    }
}

/// One or more seal keys. They are never shown in a problem.
pub(in crate::config) fn seal_keys(value: &Value) -> Parsed<Vec<SealKey>> {
    let expected = "expected 32 random bytes as base64 or hex, as `openssl rand -base64 32` prints them; of several, the \
                    first seals and all open";
    let key = |text: String| {
        let bytes = hex::decode(&text).ok().or_else(|| STANDARD.decode(&text).ok());
        bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(SealKey::new)
    };
    match list(value).map(|texts| texts.into_iter().map(key).collect::<Option<Vec<_>>>()) {
        Some(Some(keys)) if !keys.is_empty() => Ok(keys),
        Some(_) => Err(format!("found another text (not shown), {expected}")),
        None => Err(format!("found something else (not shown), {expected}")),
    }
}
