//! Properties of `Authorization`: which credentials an account accepts, and which account a request is for.
//!
//! A request is accepted only if it presents the whole key, as a second decoder reads it; the key is accepted in every spelling of
//! the header; no error repeats the credentials.

use super::source::Source;
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, NO_PAD};
use refersion_destination::domain::ApiKey;
use refersion_destination::segment::{AuthError, Authenticator, find_authenticator};

const KEYS: [&str; 3] = ["pub_zq9.sec_zq9", "a.b", "pub_zq9.sec_zq8"];
/// Decodes whatever any base64 decoder might.
const LENIENT: GeneralPurpose = GeneralPurpose::new(&ALPHABET, NO_PAD.with_decode_allow_trailing_bits(true));
const STRICT: GeneralPurpose = GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new());

/// Checks the properties on an input decoded from `data`.
pub fn check(data: &[u8]) {
    let mut source = Source::new(data);
    let key = source.below(KEYS.len());
    let headers: Vec<Vec<u8>> = (0..source.below(4)).map(|_| header(&mut source)).collect();
    let authenticators: Vec<Authenticator> = KEYS.iter().map(|key| authenticator(key)).collect();
    let presented = || headers.iter().map(Vec::as_slice);

    let basics: Vec<&[u8]> = presented().filter_map(credentials).collect();
    let is = |key: &str, basic: &[u8]| user(basic).is_some_and(|user| user == key.as_bytes());
    match authenticators[key].check_headers(presented(), std::iter::empty()) {
        Ok(_) => {
            assert!(!basics.is_empty() && basics.iter().all(|basic| is(KEYS[key], basic)), "accepted: {headers:?}");
        }
        Err(AuthError::NoCredentials) => assert!(basics.is_empty(), "not seen: {headers:?}"),
        Err(AuthError::WrongKey) => assert!(!presented().all(|header| is_spelled(header, KEYS[key])), "{headers:?}"),
        Err(AuthError::WrongSignature | AuthError::KeyRejectedByRefersion) => panic!("neither was checked"),
    }
    match find_authenticator(authenticators.iter(), presented()) {
        Ok(None) => assert!(basics.is_empty(), "{headers:?}"),
        Ok(Some(place)) => assert!(basics.first().is_some_and(|first| is(KEYS[place], first)), "{headers:?}"),
        Err(why) => {
            assert_eq!(why, AuthError::WrongKey);
            assert!(
                !KEYS.iter().any(|key| presented().next().is_some_and(|first| is_spelled(first, key))),
                "{headers:?}"
            );
        }
    }
    for why in
        [AuthError::NoCredentials, AuthError::WrongKey, AuthError::WrongSignature, AuthError::KeyRejectedByRefersion]
    {
        assert!(!format!("{why} {why:?} {authenticators:?}").contains("zq"));
    }
}

fn authenticator(key: &str) -> Authenticator {
    Authenticator::new(ApiKey::parse(key).expect("a key"), Vec::new())
}

/// A header: any bytes, or credentials that are right or nearly so.
fn header(source: &mut Source<'_>) -> Vec<u8> {
    if source.below(4) == 0 {
        return source.text().into_bytes();
    }
    let scheme = source.pick(&["Basic ", "basic  ", "BASIC\t", " Basic ", "Basic", "Bearer ", "BasicX "]);
    let mut credentials = source.pick(&KEYS).as_bytes().to_vec();
    credentials.extend(source.pick(&[":", "", "::", ":x", ":"]).as_bytes());
    if source.below(3) == 0 {
        let place = source.below(credentials.len());
        credentials[place] ^= source.byte();
    }
    let mut encoded = STRICT.encode(credentials);
    match source.below(5) {
        0 => encoded = encoded.trim_end_matches('=').to_owned(),
        1 => encoded.push('='),
        2 => encoded.insert(source.below(encoded.len()), source.byte().into()),
        _ => {}
    }
    [scheme.as_bytes(), encoded.as_bytes(), source.pick(&["", " ", "\t"]).as_bytes()].concat()
}

/// The credentials behind the scheme Basic, still encoded.
fn credentials(header: &[u8]) -> Option<&[u8]> {
    let header = header.trim_ascii();
    let (scheme, rest) = (header.get(..5)?, &header[5..]);
    let separated = rest.first().is_none_or(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(b"basic") && separated).then(|| rest.trim_ascii())
}

/// The user name of credentials without a password, decoded leniently.
fn user(credentials: &[u8]) -> Option<Vec<u8>> {
    let last = credentials.iter().rposition(|byte| *byte != b'=')?;
    let decoded = LENIENT.decode(&credentials[..=last]).ok()?;
    Some(decoded.trim_ascii().strip_suffix(b":")?.trim_ascii().to_vec())
}

/// Whether `header` is what a client would send for `key`.
fn is_spelled(header: &[u8], key: &str) -> bool {
    let encoded = STRICT.encode(format!("{key}:"));
    [format!("Basic {encoded}"), format!("Basic {}", encoded.trim_end_matches('='))]
        .iter()
        .any(|right| right.as_bytes() == header)
}
