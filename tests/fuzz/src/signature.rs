//! Properties of `X-Signature`: a signature is accepted if and only if it is the HMAC-SHA1, under a configured secret, of the body or
//! of the bytes of its first element. A second reader finds the first element.

use super::json::event;
use super::source::Source;
use hmac::{Hmac, KeyInit, Mac};
use refersion_destination::domain::ApiKey;
use refersion_destination::segment::{AuthError, Authenticator, split_envelope};
use secrecy::SecretString;
use sha1::Sha1;

const SECRETS: [&str; 3] =
    ["abc123", "", "a secret of more than sixty-four bytes, which HMAC hashes before it uses it"];
const KEY: &[u8] = b"Basic YS5iOg==";

/// Checks the properties on an input decoded from `data`.
pub fn check(data: &[u8]) {
    let mut source = Source::new(data);
    let secrets: Vec<&str> = SECRETS.iter().copied().filter(|_| source.below(3) > 0).collect();
    let right_key = source.flag();
    let (count, other_secret, wanted) = (source.below(3), source.pick(&SECRETS), source.below(6));
    let (flipped, spelling) = (source.below(256), source.below(4));
    let body = body(&mut source);
    let contents: Vec<&[u8]> = [&body[..]].into_iter().chain(element_0(&body)).collect();
    let elements = split_envelope(&body).map(|events| events.sources()).unwrap_or_default();

    let signature = |place: usize| -> String {
        let secret = secrets.get(place).copied().unwrap_or(other_secret);
        let content = match wanted {
            0 | 1 => &body[..],
            2 | 3 => elements.first().map_or(&body[..], |first| first.as_bytes()),
            4 => elements.last().map_or(&b"x"[..], |last| last.as_bytes()),
            _ => body.split_last().map_or(&b"x"[..], |(_, rest)| rest),
        };
        let mut mac = hmac(secret, content);
        if flipped < 160 && wanted % 2 == 1 {
            mac[flipped / 8] ^= 1 << (flipped % 8);
        }
        match spelling {
            0 | 1 => hex::encode(mac),
            2 => format!(" {}\t", hex::encode_upper(mac)),
            _ => hex::encode(&mac[1..]),
        }
    };
    let signatures: Vec<String> = (0..count).map(signature).collect();
    verify(&secrets, right_key, &signatures, &body, &contents);
}

fn verify(secrets: &[&str], right_key: bool, signatures: &[String], body: &[u8], contents: &[&[u8]]) {
    let key = ApiKey::parse("a.b").expect("a key");
    let authenticator = Authenticator::new(key, secrets.iter().map(|secret| SecretString::from(*secret)).collect());
    let authorization = right_key.then_some(KEY);
    let pending = authenticator.check_headers(authorization.into_iter(), signatures.iter().map(String::as_bytes));
    let verified = pending.and_then(|pending| authenticator.verify_signatures(&pending, &[body]));

    let is_right = |signature: &String| {
        let rights =
            secrets.iter().flat_map(|secret| contents.iter().map(|content| hex::encode(hmac(secret, content))));
        rights.into_iter().any(|right| right.eq_ignore_ascii_case(signature.trim()))
    };
    let expected = if secrets.is_empty() || signatures.is_empty() {
        if right_key { Ok(()) } else { Err(AuthError::NoCredentials) }
    } else if signatures.iter().all(is_right) {
        Ok(())
    } else {
        Err(AuthError::WrongSignature)
    };
    assert_eq!(verified, expected, "{signatures:?} over {}", body.escape_ascii());
}

fn hmac(secret: &str, content: &[u8]) -> [u8; 20] {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.chain_update(content).finalize().into_bytes().into()
}

/// Any bytes, or an array of events that may break off.
fn body(source: &mut Source<'_>) -> Vec<u8> {
    if source.below(3) == 0 {
        return source.rest().to_vec();
    }
    let events: Vec<String> = (0..source.below(4))
        .map(|_| {
            let event = event(source);
            event.respelled(source)
        })
        .collect();
    let mut body = format!("{}[ {}\n]", source.pick(&["", " ", "\r\n", "\u{feff}"]), events.join(" ,")).into_bytes();
    if source.below(3) == 0 {
        let length = body.len().saturating_sub(source.below(64));
        body.truncate(length);
        body.extend(source.rest());
    }
    body
}

/// The first element of an array if it is complete, whatever follows it.
fn element_0(body: &[u8]) -> Option<&[u8]> {
    let inside = body
        .strip_prefix("\u{feff}".as_bytes())
        .unwrap_or(body)
        .trim_ascii_start()
        .strip_prefix(b"[")?
        .trim_ascii_start();
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut end = None;
    for (at, byte) in inside.iter().enumerate() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            if !in_text && depth == 0 {
                end = Some(at + 1);
                break;
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 1 => depth -= 1,
            b']' | b'}' if depth == 1 => {
                end = Some(at + 1);
                break;
            }
            b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => {
                end = Some(at);
                break;
            }
            _ => {}
        }
    }
    let element = &inside[..end.unwrap_or(inside.len())];
    let whole =
        std::str::from_utf8(element).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    whole.then_some(element)
}
