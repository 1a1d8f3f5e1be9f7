//! Authentication by Basic credentials and signatures, over the wire.

use super::{checked, post};
use crate::support::service::Service;
use crate::support::{API_KEY, Answer, basic, http, identify};
use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha1::Sha1;
use std::io::Write;

pub(super) fn sign(secret: &str, content: &[u8]) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any length");
    hex::encode(mac.chain_update(content).finalize().into_bytes())
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn wrong_or_missing_credentials_are_a_401() {
    let service = Service::start(&[("SEGMENT_SHARED_SECRETS", "abc123")]).await;
    let body = identify("1", "jo", &json!({})).to_string();
    let right = basic(API_KEY);
    let without_colon = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(API_KEY));
    let (signed, forged) = (sign("abc123", body.as_bytes()), sign("abc124", body.as_bytes()));
    let (nothing, key, signature) = ("No credentials", "Wrong API key", "Wrong X-Signature");
    for (headers, why) in [
        (&[][..], nothing),
        (&[("Authorization", "Bearer of-a-gateway")], nothing),
        (&[("Authorization", "")], nothing),
        (&[("Authorization", "Basic")], key),
        (&[("Authorization", "Basic Og==")], key),
        (&[("Authorization", basic("segment").as_str())], key),
        (&[("Authorization", basic("pub_test").as_str())], key),
        (&[("Authorization", basic("pub_test.sec_tes").as_str())], key),
        (&[("Authorization", basic("pub_test.sec_test:more").as_str())], key),
        (&[("Authorization", without_colon.as_str())], key),
        (&[("Authorization", &right), ("Authorization", "Basic Og==")], key),
        (&[("X-Signature", "")], signature),
        (&[("X-Signature", "é")], signature),
        (&[("X-Signature", &signed[1..])], signature),
        (&[("X-Signature", &forged)], signature),
        (&[("Authorization", &right), ("X-Signature", &forged)], signature),
        (&[("Authorization", "Basic Og=="), ("X-Signature", &forged)], signature),
        (&[("X-Signature", &signed), ("X-Signature", &forged)], signature),
    ] {
        let answer = post(&service.url("/segment"), headers, body.clone()).await;
        assert_eq!(answer.brief(), "401 unauthorized", "{headers:?}");
        assert!(answer.message().starts_with(why), "{headers:?}: {}", answer.message());
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    assert_eq!(service.ready().await.json()["pending"], 0);
    assert_eq!(service.refersion.sandbox.calls_total(), 0);
}

#[tokio::test]
async fn a_valid_signature_suffices_and_a_wrong_one_is_refused_beside_any_credentials() {
    let signing = Service::start(&[("SEGMENT_SHARED_SECRETS", "abc123")]).await;
    let plain = Service::start(&[]).await;
    let body = r#"{"type":"delete","userId":"1"}"#;
    let signature = |secret| Some(sign(secret, body.as_bytes()));
    let (right, wrong) = (Some(basic(API_KEY)), Some(basic("gateway:password")));
    let (other, pasted) = (Some("Bearer x".to_owned()), Some(basic(&format!(" {API_KEY}\r\n"))));
    let (none, ok) = (None::<String>, "");
    let (nothing, key, sig) = ("No credentials", "Wrong API key", "Wrong X-Signature");
    for (authorization, signature, expected, without_secret) in [
        (&none, None, nothing, nothing),
        (&none, signature("abc123"), ok, nothing),
        (&none, signature("other"), sig, nothing),
        (&other, None, nothing, nothing),
        (&other, signature("abc123"), ok, nothing),
        (&other, signature("other"), sig, nothing),
        (&right, None, ok, ok),
        (&right, signature("abc123"), ok, ok),
        (&right, signature("other"), sig, ok),
        (&pasted, None, ok, ok),
        (&wrong, None, key, key),
        (&wrong, signature("abc123"), ok, key),
        (&wrong, signature("other"), sig, key),
    ] {
        let headers = [("Authorization", authorization.as_deref()), ("X-Signature", signature.as_deref())];
        let headers: Vec<_> = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        for (service, expected) in [(&signing, expected), (&plain, without_secret)] {
            for path in ["/segment", "/segment/main"] {
                let answer = post(&service.url(path), &headers, body).await;
                let brief = if expected == ok { "200 delivered" } else { "401 unauthorized" };
                assert_eq!(answer.brief(), brief, "{path} {headers:?}");
                assert!(expected == ok || answer.message().starts_with(expected), "{path} {headers:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_signature_may_be_over_the_body_in_either_form_or_over_element_0_of_an_array() {
    let service = Service::start(&[("SEGMENT_SHARED_SECRETS", "abc123,old")]).await;
    let odd = br#"{ "type":"delete" ,"userId":"\u00e9", "n": 1.0e3 }"#;
    let array = [b"\n[ ".as_slice(), odd, b" , {\"type\":\"delete\",\"userId\":\"2\"} ]"].concat();
    let (zipped, zipped_array) = (gzip(odd), gzip(&array));
    let mut altered = odd.to_vec();
    altered[40] ^= 1;
    let (yes, no, zip) = ("200 delivered", "401 unauthorized", Some(("Content-Encoding", "gzip")));
    for (claim, body, over, encoding, expected) in [
        ("the object", &odd[..], &odd[..], None, yes),
        ("one byte changed", &altered, odd, None, no),
        ("the object with a line end", &[odd, &b"\n"[..]].concat(), odd, None, no),
        ("the whole array", &array, &array, None, yes),
        ("element 0", &array, odd, None, yes),
        ("element 1", &array, br#"{"type":"delete","userId":"2"}"#, None, no),
        ("element 0 with the blanks around it", &array, &[&b" "[..], odd, b" "].concat(), None, no),
        ("nothing", &array, b"", None, no),
        ("the compressed bytes", &zipped, &zipped, zip, yes),
        ("the plain bytes of what is compressed", &zipped, odd, zip, yes),
        ("element 0 of a compressed array", &zipped_array, odd, zip, yes),
        ("what is broken and signed", b"{", b"{", None, "400 rejected"),
        ("what is broken and not signed", b"{", b"}", None, no),
        ("what is not gzip, signed", b"{", b"{", zip, "400 rejected"),
        ("what is not gzip, not signed", b"{", b"}", zip, no),
    ] {
        for (secret, expected) in [("abc123", expected), ("old", expected), ("older", no)] {
            let signature = sign(secret, over);
            let headers: Vec<_> = encoding.into_iter().chain([("X-Signature", signature.as_str())]).collect();
            let answer = post(&service.url("/segment"), &headers, body.to_vec()).await;
            assert_eq!(answer.brief(), expected, "{claim}, {secret}");
        }
    }
}

#[tokio::test]
async fn signatures_are_ignored_without_a_shared_secret() {
    let service = Service::start(&[]).await;
    let body = r#"{"type":"delete","userId":"1"}"#;
    let (signature, key) = (sign("abc123", body.as_bytes()), basic(API_KEY));
    for (headers, expected) in [
        (&[("X-Signature", signature.as_str())][..], "401 unauthorized"),
        (&[("X-Signature", "junk"), ("Authorization", &key)], "200 delivered"),
        (&[("Authorization", "Bearer x"), ("Authorization", &key)], "200 delivered"),
        (&[("authorization", &key.replace("Basic", "bAsIc"))], "200 delivered"),
    ] {
        assert_eq!(post(&service.url("/segment"), headers, body).await.brief(), expected, "{headers:?}");
    }
    let unpadded = key.trim_end_matches('=').to_owned();
    let request = http().post(service.url("/segment")).header("Authorization", unpadded).body(body);
    assert_eq!(checked(Answer::to(request).await).brief(), "200 delivered");
}
