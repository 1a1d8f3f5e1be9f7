//! Who is believed: the account's API key as Basic credentials, or a signature under a shared secret.
//!
//! In go the presented header values and the account's secrets; out comes belief, or a [`Disbelief`] that says what to do.
//! Rules: at least one of the two must be presented; a presented one that is wrong is disbelieved, whatever the other says.
//! `Authorization` of another scheme is ignored (customers add such headers for their own gateways), and so is
//! `X-Signature` while no shared secret is configured. `X-Signature` is the HMAC-SHA1 of the body as received; for an array
//! Segment signs the bytes of element 0 only (recorded), so either is accepted. All comparisons take constant time.
//! Where several accounts share a door, [`choose`] tells by the key whose request it is; where any key may come, [`presented`]
//! takes it out.
//! Deliberately absent: protection against replays, for which Segment sends no timestamp; deduplication makes them harmless.

use crate::domain::ApiKey;
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use sha1::Sha1;

/// What one account believes.
#[derive(Debug)]
pub struct Trust {
    api_key: ApiKey,
    /// The signature of nothing yet, under each shared secret.
    shared_secrets: Vec<Hmac<Sha1>>,
}

/// Why a request is not believed. The text is what the customer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// Neither credentials nor a signature that could be checked.
    #[error(
        "No credentials: set the destination's API key to `publickey.secretkey` (sent as Basic credentials), \
         or sign the webhook with a shared secret known here"
    )]
    Nothing,
    /// Basic credentials that are not `base64("publickey.secretkey:")`.
    #[error("Wrong API key: the user name must be the whole `publickey.secretkey` configured here, the password empty")]
    WrongKey,
    /// The key of no account here, which Refersion was asked about.
    #[error(
        "Refersion refuses this API key: set the destination's API key to the `publickey.secretkey` of your Refersion account"
    )]
    RefusedKey,
    /// A signature under none of the shared secrets.
    #[error("Wrong X-Signature: the shared secret of the webhook must be one of those configured here")]
    WrongSignature,
}

/// Signatures that remain to be checked against the body.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims(Vec<[u8; 20]>);

/// The longest key pair that may be presented by whom nobody knows yet, in bytes; Refersion's are about 50.
const LONGEST_KEY: usize = 512;

/// Padding may be missing: some clients leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Trust {
    /// An account's key and its shared secrets, of which several may be valid at once.
    pub fn new(api_key: ApiKey, shared_secrets: Vec<SecretString>) -> Self {
        let hmac = |secret: SecretString| {
            let hmac = Hmac::new_from_slice(secret.expose_secret().as_bytes());
            hmac.unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"))
        };
        Self { api_key, shared_secrets: shared_secrets.into_iter().map(hmac).collect() }
    }

    /// Judges what can be judged before the body is read; what is left must pass [`Trust::verify`].
    pub fn judge<'a>(
        &self,
        authorizations: impl Iterator<Item = &'a [u8]>,
        signatures: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Claims, Disbelief> {
        let mut by_key = false;
        for credentials in authorizations.filter_map(basic) {
            by_key = true;
            if !self.is_key(user(credentials).as_deref()) {
                return Err(Disbelief::WrongKey);
            }
        }
        let mut claims = Vec::new();
        if !self.shared_secrets.is_empty() {
            for signature in signatures {
                let mut claim = [0; 20];
                hex::decode_to_slice(signature.trim_ascii(), &mut claim).map_err(|_| Disbelief::WrongSignature)?;
                claims.push(claim);
            }
        }
        if by_key || !claims.is_empty() { Ok(Claims(claims)) } else { Err(Disbelief::Nothing) }
    }

    /// Checks the claimed signatures: each must be over one of `forms` (the body as received, and decompressed), or over
    /// element 0 of one that is an array, under one of the shared secrets.
    pub fn verify(&self, claims: &Claims, forms: &[&[u8]]) -> Result<(), Disbelief> {
        if claims.0.is_empty() {
            return Ok(());
        }
        let contents: Vec<&[u8]> =
            forms.iter().copied().chain(forms.iter().filter_map(|form| element_0(form))).collect();
        let signed = |claim: &[u8; 20]| {
            let secrets = self.shared_secrets.iter();
            secrets.fold(false, |found, secret| contents.iter().any(|content| signs(secret, content, claim)) | found)
        };
        if claims.0.iter().all(signed) { Ok(()) } else { Err(Disbelief::WrongSignature) }
    }

    /// Whether `key` is of this account, be its secret right or wrong.
    pub fn is_of(&self, key: &ApiKey) -> bool {
        self.api_key.public() == key.public()
    }

    fn is_key(&self, user: Option<&[u8]>) -> bool {
        user.is_some_and(|user| self.api_key.matches(user))
    }
}

/// Which of `trusts` the presented Basic credentials are the key of; `None` where none are presented. Every key is compared,
/// so that how long it takes does not tell which one it was. Nobody is believed by this: that is [`Trust::judge`]'s part.
pub fn choose<'a, 'b>(
    trusts: impl Iterator<Item = &'b Trust>,
    mut authorizations: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<usize>, Disbelief> {
    let Some(credentials) = authorizations.find_map(basic) else { return Ok(None) };
    let user = user(credentials);
    let is_key = |trust: &Trust| trust.is_key(user.as_deref());
    let found = trusts.enumerate().fold(None, |found, (place, trust)| if is_key(trust) { Some(place) } else { found });
    found.map(Some).ok_or(Disbelief::WrongKey)
}

/// The key pair that the Basic credentials hold, if they hold one: whose it is, and whether it is right, is not said.
pub fn presented<'a>(mut authorizations: impl Iterator<Item = &'a [u8]>) -> Option<ApiKey> {
    let user = user(authorizations.find_map(basic)?)?;
    let text = std::str::from_utf8(&user).ok().filter(|text| text.len() <= LONGEST_KEY)?;
    ApiKey::parse(text).ok()
}

/// The credentials of an `Authorization` header of scheme Basic.
fn basic(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (scheme, credentials) = value.split_at_checked(5)?;
    let separated = credentials.first().is_none_or(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(b"basic") && separated).then_some(credentials)
}

/// The user name of credentials without a password.
fn user(credentials: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = BASE64.decode(credentials.trim_ascii()).ok()?;
    (decoded.pop() == Some(b':')).then_some(decoded)
}

/// The bytes of the first element of an array, read no further than to its end: nobody is believed yet.
fn element_0(body: &[u8]) -> Option<&[u8]> {
    let elements = body.trim_ascii_start().strip_prefix(b"[")?;
    let first = serde_json::Deserializer::from_slice(elements).into_iter::<&RawValue>().next()?.ok()?;
    Some(first.get().as_bytes())
}

fn signs(secret: &Hmac<Sha1>, content: &[u8], claim: &[u8; 20]) -> bool {
    secret.clone().chain_update(content).verify_slice(claim).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [&str; 2] = ["abc123", "old"];
    const BODY: &[u8] = br#"{"type":"delete","userId":"5678","context":[],"integrations":[]}"#;
    const SIGNATURE: &[u8] = b"782bad1d8658615f31c2b1c3953b420055180988"; // recorded from Segment's package, secret abc123

    fn trust(secrets: &[&str]) -> Trust {
        let key = ApiKey::parse("pub.sec").expect("valid");
        Trust::new(key, secrets.iter().map(|secret| SecretString::from(*secret)).collect())
    }

    fn believed(
        secrets: &[&str],
        authorization: &[&[u8]],
        signature: &[&[u8]],
        contents: &[&[u8]],
    ) -> Result<(), Disbelief> {
        let trust = trust(secrets);
        let claims = trust.judge(authorization.iter().copied(), signature.iter().copied())?;
        trust.verify(&claims, contents)
    }

    #[test]
    fn credentials_are_believed_or_not() {
        use Disbelief::{Nothing, WrongKey};
        for (authorization, expected) in [
            (&b"Basic cHViLnNlYzo="[..], Ok(())),
            (b"basic  cHViLnNlYzo=", Ok(())),
            (b"BASIC cHViLnNlYzo", Ok(())),
            (b"Basic cHViLnNlYw==", Err(WrongKey)),
            (b"Basic cHViLnNlYzpw", Err(WrongKey)),
            (b"Basic cHViLnNlYzo6", Err(WrongKey)),
            (b"Basic c2VnbWVudDo=", Err(WrongKey)),
            (b"Basic Og==", Err(WrongKey)),
            (b"Basic ", Err(WrongKey)),
            (b"Basic", Err(WrongKey)),
            (b"Basic %%%", Err(WrongKey)),
            (b"Bearer cHViLnNlYzo=", Err(Nothing)),
            (b"BasicX cHViLnNlYzo=", Err(Nothing)),
            (b"", Err(Nothing)),
            (b"\xff\xff\xff\xff\xff\xff", Err(Nothing)),
        ] {
            assert_eq!(believed(&[], &[authorization], &[], &[BODY]), expected, "{}", authorization.escape_ascii());
        }
        assert_eq!(believed(&[], &[], &[], &[BODY]), Err(Nothing));
        assert_eq!(believed(&[], &[b"Bearer x", b"Basic cHViLnNlYzo="], &[], &[BODY]), Ok(()));
        assert_eq!(believed(&[], &[b"Basic cHViLnNlYzo=", b"Basic Og=="], &[], &[BODY]), Err(WrongKey));
    }

    #[test]
    fn a_key_that_is_none_is_not_presented() {
        let of = |user: &str| {
            let header = format!("Basic {}", BASE64.encode(user));
            presented([&b"Bearer x"[..], header.as_bytes()].into_iter()).map(|key| key.public().to_owned())
        };
        assert_eq!(of("pub_x.sec_x:"), Some("pub_x".to_owned()));
        let long = |length: usize| format!("p.{}:", "s".repeat(length - 2));
        assert_eq!(of(&long(LONGEST_KEY)), Some("p".to_owned()));
        for none in ["pub_x.sec_x", "pub_x.sec_x:password", "pub_x:", ".:", "p\u{fc}b.sec:", &long(LONGEST_KEY + 1)] {
            assert_eq!(of(none), None, "{none}");
        }
        assert!(presented(std::iter::once(&b"Bearer x"[..])).is_none());
        let trust = trust(&[]);
        let is_of = |key| trust.is_of(&ApiKey::parse(key).expect("valid"));
        assert!(is_of("pub.other") && !is_of("pu.sec"));
    }

    #[test]
    fn signatures_are_believed_or_not() {
        use Disbelief::{Nothing, WrongKey, WrongSignature};
        let key: &[&[u8]] = &[b"Basic cHViLnNlYzo="];
        let wrong_key: &[&[u8]] = &[b"Basic c2VnbWVudDo="];
        let (none, right): (&[&[u8]], &[&[u8]]) = (&[], &[SIGNATURE]);
        let wrong: &[&[u8]] = &[b"0000000000000000000000000000000000000000"];
        let other: &[u8] = br#"[{"type":"delete"}]"#;
        let array = [&b" [\n"[..], BODY, b" , 5, broken"].concat();
        let second = [&b"[5,"[..], BODY, b"]"].concat();
        for (claim, secrets, authorization, signature, contents, expected) in [
            ("a right signature", &SECRETS[..], none, right, &[BODY][..], Ok(())),
            ("a wrong one", &SECRETS, none, wrong, &[BODY], Err(WrongSignature)),
            ("right over the other form", &SECRETS, none, right, &[other, BODY], Ok(())),
            ("right over element 0", &SECRETS, none, right, &[&array], Ok(())),
            ("right over element 1", &SECRETS, none, right, &[&second], Err(WrongSignature)),
            ("right over another body", &SECRETS, none, right, &[other], Err(WrongSignature)),
            ("the other secret", &SECRETS[1..], none, right, &[BODY], Err(WrongSignature)),
            ("no secret configured", &[], none, right, &[BODY], Err(Nothing)),
            ("no secret configured, right key", &[], key, wrong, &[BODY], Ok(())),
            ("right key, wrong signature", &SECRETS, key, wrong, &[BODY], Err(WrongSignature)),
            ("right key, right signature", &SECRETS, key, right, &[BODY], Ok(())),
            ("wrong key, right signature", &SECRETS, wrong_key, right, &[BODY], Err(WrongKey)),
            ("not hex", &SECRETS, none, &[b"zz"], &[BODY], Err(WrongSignature)),
            ("empty", &SECRETS, none, &[b""], &[BODY], Err(WrongSignature)),
            ("too short", &SECRETS, none, &[&SIGNATURE[..38]], &[BODY], Err(WrongSignature)),
            ("two, one wrong", &SECRETS, none, &[SIGNATURE, b"00"], &[BODY], Err(WrongSignature)),
            ("upper case", &SECRETS, none, &[b"782BAD1D8658615F31C2B1C3953B420055180988"], &[BODY], Ok(())),
        ] {
            assert_eq!(believed(secrets, authorization, signature, contents), expected, "{claim}");
        }
    }
}
