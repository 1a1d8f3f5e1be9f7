//! Authentication of a webhook request: by the account's API key as Basic credentials (HTTP Basic auth), or by a signature with a shared
//! secret.
//!
//! In: the values of the headers `Authorization` and `X-Signature`, and the body. Out: nothing, or an [`AuthError`] whose text says what
//! the customer has to change. Rules: a request must present at least one of the two. A wrong signature is refused, even beside the right
//! API key. A valid signature suffices, also beside other Basic credentials: customers add an `Authorization` header for their own
//! gateways. Without a signature, all Basic credentials must be the API key. `Authorization` of another scheme is ignored, and so is
//! `X-Signature` while no shared secret is configured. `X-Signature` is the HMAC-SHA1 of the body as received; for an array Segment signs
//! the bytes of element 0 only (recorded), so a signature of the whole body and one of element 0 are both accepted. The other elements of
//! such an array are accepted without a check. Comparisons of secrets take constant time, against timing attacks; the public half of an API
//! key is no secret. Where several accounts share an endpoint, [`find_authenticator`] finds the account by the API key;
//! [`presented_api_key`] returns a key that no configured account has. Deliberately absent: a check against a replay attack: Segment sends
//! no timestamp for it, and deduplication makes a replayed request harmless.

use crate::domain::ApiKey;
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use sha1::Sha1;

/// The credentials that one account accepts.
#[derive(Debug)]
pub struct Authenticator {
    api_key: ApiKey,
    /// One HMAC for each shared secret, without content yet.
    shared_secrets: Vec<Hmac<Sha1>>,
}

/// Why a request is not authentic. The customer reads the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There are neither Basic credentials nor a signature that could be checked.
    #[error(
        "No credentials: set the destination's API key to `publickey.secretkey` (sent as Basic credentials), \
         or sign the webhook with a shared secret known here"
    )]
    NoCredentials,
    /// Basic credentials that are not `base64("publickey.secretkey:")`.
    #[error("Wrong API key: the user name must be the whole `publickey.secretkey` configured here, the password empty")]
    WrongKey,
    /// An API key that no configured account has and that Refersion rejected.
    #[error(
        "Refersion rejects this API key: set the destination's API key to the `publickey.secretkey` of your Refersion account"
    )]
    KeyRejectedByRefersion,
    /// A signature that no shared secret has made.
    #[error("Wrong X-Signature: the shared secret of the webhook must be one of those configured here")]
    WrongSignature,
}

/// The decoded signatures of a request, which are checked when the body has arrived.
#[derive(Debug, PartialEq, Eq)]
pub struct PendingSignatures(Vec<[u8; 20]>);

/// The longest API key that [`presented_api_key`] returns, in bytes; Refersion's have about 50.
const MAX_PRESENTED_KEY: usize = 512;

/// Base64 of credentials in `Authorization`. It is accepted without padding, which some clients leave out.
pub const CREDENTIALS_BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Authenticator {
    /// An authenticator that accepts the API key of an account and its shared secrets, of which several may be valid at once.
    pub fn new(api_key: ApiKey, shared_secrets: Vec<SecretString>) -> Self {
        let hmac = |secret: SecretString| {
            let hmac = Hmac::new_from_slice(secret.expose_secret().as_bytes());
            hmac.unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"))
        };
        Self { api_key, shared_secrets: shared_secrets.into_iter().map(hmac).collect() }
    }

    /// Checks the headers, before the body is read. The request is authentic only if the signatures returned pass
    /// [`verify_signatures`](Self::verify_signatures), too.
    pub fn check_headers<'a>(
        &self,
        authorizations: impl Iterator<Item = &'a [u8]>,
        signatures: impl Iterator<Item = &'a [u8]>,
    ) -> Result<PendingSignatures, AuthError> {
        let mut pending = Vec::new();
        if self.has_shared_secrets() {
            for header in signatures {
                let mut signature = [0; 20];
                hex::decode_to_slice(header.trim_ascii(), &mut signature).map_err(|_| AuthError::WrongSignature)?;
                pending.push(signature);
            }
        }
        if pending.is_empty() {
            self.check_api_key(authorizations)?;
        }
        Ok(PendingSignatures(pending))
    }

    /// Checks that there are Basic credentials, and that all of them hold the API key.
    fn check_api_key<'a>(&self, authorizations: impl Iterator<Item = &'a [u8]>) -> Result<(), AuthError> {
        let mut result = Err(AuthError::NoCredentials);
        for credentials in authorizations.filter_map(basic_credentials) {
            if !self.accepts_api_key(user_name(credentials).as_deref()) {
                return Err(AuthError::WrongKey);
            }
            result = Ok(());
        }
        result
    }

    /// Checks the signatures: each must be over one of `forms` (the body as received, and decompressed), or over element 0
    /// of a form that is an array, under one of the shared secrets.
    pub fn verify_signatures(&self, pending: &PendingSignatures, forms: &[&[u8]]) -> Result<(), AuthError> {
        if pending.0.is_empty() {
            return Ok(());
        }
        let contents: Vec<&[u8]> =
            forms.iter().copied().chain(forms.iter().filter_map(|form| element_0(form))).collect();
        let is_right = |signature: &[u8; 20]| {
            let secrets = self.shared_secrets.iter();
            secrets
                .fold(false, |found, secret| contents.iter().any(|content| signs(secret, content, signature)) | found)
        };
        if pending.0.iter().all(is_right) { Ok(()) } else { Err(AuthError::WrongSignature) }
    }

    /// Whether signatures are checked.
    pub fn has_shared_secrets(&self) -> bool {
        !self.shared_secrets.is_empty()
    }

    /// Whether `key` has the public half of this account's API key, whether its secret half is right or wrong.
    pub fn has_public_part_of(&self, key: &ApiKey) -> bool {
        self.api_key.public() == key.public()
    }

    fn accepts_api_key(&self, user_name: Option<&[u8]>) -> bool {
        user_name.is_some_and(|name| self.api_key.matches(name))
    }
}

/// The index of the authenticator that accepts the API key in the Basic credentials; `None` without Basic credentials. Compares every key,
/// so that the time does not show which one matched. Looks only at the first credentials: the request still has to pass
/// [`Authenticator::check_headers`].
pub fn find_authenticator<'a, 'b>(
    authenticators: impl Iterator<Item = &'b Authenticator>,
    mut authorizations: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<usize>, AuthError> {
    let Some(credentials) = authorizations.find_map(basic_credentials) else { return Ok(None) };
    let name = user_name(credentials);
    let found = authenticators.enumerate().fold(None, |found, (index, authenticator)| {
        if authenticator.accepts_api_key(name.as_deref()) { Some(index) } else { found }
    });
    found.map(Some).ok_or(AuthError::WrongKey)
}

/// The API key in the Basic credentials, if they hold one. Checks only its form, not whether an account has it.
pub fn presented_api_key<'a>(mut authorizations: impl Iterator<Item = &'a [u8]>) -> Option<ApiKey> {
    let name = user_name(authorizations.find_map(basic_credentials)?)?;
    let text = std::str::from_utf8(&name).ok().filter(|text| text.len() <= MAX_PRESENTED_KEY)?;
    ApiKey::parse(text).ok()
}

/// The credentials of an `Authorization` header of scheme Basic, still encoded.
fn basic_credentials(header: &[u8]) -> Option<&[u8]> {
    let header = header.trim_ascii();
    let (scheme, credentials) = header.split_at_checked(5)?;
    let separated = credentials.first().is_none_or(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(b"basic") && separated).then_some(credentials)
}

/// The user name of credentials without a password, without white space around it: pasting a key adds some.
fn user_name(credentials: &[u8]) -> Option<Vec<u8>> {
    let decoded = CREDENTIALS_BASE64.decode(credentials.trim_ascii()).ok()?;
    Some(decoded.trim_ascii_end().strip_suffix(b":")?.trim_ascii().to_vec())
}

/// The bytes of the first element of an array. Reads only that element, because the request is not authentic yet.
fn element_0(body: &[u8]) -> Option<&[u8]> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let elements = text.trim_ascii_start().strip_prefix(b"[")?;
    let first = serde_json::Deserializer::from_slice(elements).into_iter::<&RawValue>().next()?.ok()?;
    Some(first.get().as_bytes())
}

fn signs(secret: &Hmac<Sha1>, content: &[u8], signature: &[u8; 20]) -> bool {
    secret.clone().chain_update(content).verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [&str; 2] = ["abc123", "old"];
    const BODY: &[u8] = br#"{"type":"delete","userId":"5678","context":[],"integrations":[]}"#;
    const SIGNATURE: &[u8] = b"782bad1d8658615f31c2b1c3953b420055180988"; // recorded from Segment's package, secret abc123

    fn authenticator(secrets: &[&str]) -> Authenticator {
        let key = ApiKey::parse("pub.sec").expect("valid");
        Authenticator::new(key, secrets.iter().map(|secret| SecretString::from(*secret)).collect())
    }

    fn authenticate(
        secrets: &[&str],
        authorization: &[&[u8]],
        signature: &[&[u8]],
        contents: &[&[u8]],
    ) -> Result<(), AuthError> {
        let authenticator = authenticator(secrets);
        let pending = authenticator.check_headers(authorization.iter().copied(), signature.iter().copied())?;
        authenticator.verify_signatures(&pending, contents)
    }

    #[test]
    fn credentials_are_accepted_if_they_are_the_account_s_key() {
        use AuthError::{NoCredentials, WrongKey};
        for (authorization, expected) in [
            (&b"Basic cHViLnNlYzo="[..], Ok(())),
            (b"basic  cHViLnNlYzo=", Ok(())),
            (b"BASIC cHViLnNlYzo", Ok(())),
            (b"Basic cHViLnNlYwo6", Ok(())),
            (b"Basic IHB1Yi5zZWMNCjo=", Ok(())),
            (b"Basic cHViLnNlYzoK", Ok(())),
            (b"Basic cHViLiBzZWM6", Err(WrongKey)),
            (b"Basic cHViLnNlYw==", Err(WrongKey)),
            (b"Basic cHViLnNlYzpw", Err(WrongKey)),
            (b"Basic cHViLnNlYzo6", Err(WrongKey)),
            (b"Basic c2VnbWVudDo=", Err(WrongKey)),
            (b"Basic Og==", Err(WrongKey)),
            (b"Basic ", Err(WrongKey)),
            (b"Basic", Err(WrongKey)),
            (b"Basic %%%", Err(WrongKey)),
            (b"Bearer cHViLnNlYzo=", Err(NoCredentials)),
            (b"BasicX cHViLnNlYzo=", Err(NoCredentials)),
            (b"", Err(NoCredentials)),
            (b"\xff\xff\xff\xff\xff\xff", Err(NoCredentials)),
        ] {
            assert_eq!(authenticate(&[], &[authorization], &[], &[BODY]), expected, "{}", authorization.escape_ascii());
        }
        assert_eq!(authenticate(&[], &[], &[], &[BODY]), Err(NoCredentials));
        assert_eq!(authenticate(&[], &[b"Bearer x", b"Basic cHViLnNlYzo="], &[], &[BODY]), Ok(()));
        assert_eq!(authenticate(&[], &[b"Basic cHViLnNlYzo=", b"Basic Og=="], &[], &[BODY]), Err(WrongKey));
    }

    #[test]
    fn a_presented_key_is_returned_if_it_has_the_form_of_a_key() {
        let of = |user: &str| {
            let header = format!("Basic {}", CREDENTIALS_BASE64.encode(user));
            presented_api_key([&b"Bearer x"[..], header.as_bytes()].into_iter()).map(|key| key.public().to_owned())
        };
        assert_eq!(of("pub_x.sec_x:"), Some("pub_x".to_owned()));
        let long = |length: usize| format!("p.{}:", "s".repeat(length - 2));
        assert_eq!(of(&long(MAX_PRESENTED_KEY)), Some("p".to_owned()));
        for none in
            ["pub_x.sec_x", "pub_x.sec_x:password", "pub_x:", ".:", "p\u{fc}b.sec:", &long(MAX_PRESENTED_KEY + 1)]
        {
            assert_eq!(of(none), None, "{none}");
        }
        assert!(presented_api_key(std::iter::once(&b"Bearer x"[..])).is_none());
        let authenticator = authenticator(&[]);
        let has_public_part_of = |key| authenticator.has_public_part_of(&ApiKey::parse(key).expect("valid"));
        assert!(has_public_part_of("pub.other") && !has_public_part_of("pu.sec"));
    }

    #[test]
    fn signatures_are_accepted_under_a_shared_secret_over_the_body_or_element_0() {
        use AuthError::{NoCredentials, WrongKey, WrongSignature};
        let key: &[&[u8]] = &[b"Basic cHViLnNlYzo="];
        let wrong_key: &[&[u8]] = &[b"Basic c2VnbWVudDo="];
        let (none, right): (&[&[u8]], &[&[u8]]) = (&[], &[SIGNATURE]);
        let wrong: &[&[u8]] = &[b"0000000000000000000000000000000000000000"];
        let other: &[u8] = br#"[{"type":"delete"}]"#;
        let array = [&b" [\n"[..], BODY, b" , 5, broken"].concat();
        let second = [&b"[5,"[..], BODY, b"]"].concat();
        let marked = [&b"\xef\xbb\xbf"[..], &array].concat();
        for (case, secrets, authorization, signature, contents, expected) in [
            ("a right signature", &SECRETS[..], none, right, &[BODY][..], Ok(())),
            ("a wrong one", &SECRETS, none, wrong, &[BODY], Err(WrongSignature)),
            ("right over the other form", &SECRETS, none, right, &[other, BODY], Ok(())),
            ("right over element 0", &SECRETS, none, right, &[&array], Ok(())),
            ("right over element 1", &SECRETS, none, right, &[&second], Err(WrongSignature)),
            ("right over another body", &SECRETS, none, right, &[other], Err(WrongSignature)),
            ("the other secret", &SECRETS[1..], none, right, &[BODY], Err(WrongSignature)),
            ("no secret configured", &[], none, right, &[BODY], Err(NoCredentials)),
            ("no secret configured, right key", &[], key, wrong, &[BODY], Ok(())),
            ("right key, wrong signature", &SECRETS, key, wrong, &[BODY], Err(WrongSignature)),
            ("right key, right signature", &SECRETS, key, right, &[BODY], Ok(())),
            ("wrong key, right signature", &SECRETS, wrong_key, right, &[BODY], Ok(())),
            ("wrong key, wrong signature", &SECRETS, wrong_key, wrong, &[BODY], Err(WrongSignature)),
            ("wrong key, no signature", &SECRETS, wrong_key, none, &[BODY], Err(WrongKey)),
            ("no secret configured, wrong key, right signature", &[], wrong_key, right, &[BODY], Err(WrongKey)),
            ("right over element 0 after a byte order mark", &SECRETS, none, right, &[&marked], Ok(())),
            ("not hex", &SECRETS, none, &[b"zz"], &[BODY], Err(WrongSignature)),
            ("empty", &SECRETS, none, &[b""], &[BODY], Err(WrongSignature)),
            ("too short", &SECRETS, none, &[&SIGNATURE[..38]], &[BODY], Err(WrongSignature)),
            ("two, one wrong", &SECRETS, none, &[SIGNATURE, wrong[0]], &[BODY], Err(WrongSignature)),
            ("two, the other wrong", &SECRETS, none, &[wrong[0], SIGNATURE], &[BODY], Err(WrongSignature)),
            ("two, one too short", &SECRETS, none, &[SIGNATURE, b"00"], &[BODY], Err(WrongSignature)),
            ("upper case", &SECRETS, none, &[b"782BAD1D8658615F31C2B1C3953B420055180988"], &[BODY], Ok(())),
        ] {
            assert_eq!(authenticate(secrets, authorization, signature, contents), expected, "{case}");
        }
    }
}
