//! The limits of a body, and its encodings.

use super::authentication::{gzip, sign};
use super::{each, post, send_raw};
use crate::support::service::Service;
use crate::support::{API_KEY, basic, identify};
use serde_json::json;

const OBJECT: usize = 128 * 1024;
const ARRAY: usize = 4 * 1024 * 1024 + 512 * 1024;

/// An event of exactly `length` bytes.
fn event(id: usize, length: usize) -> String {
    let of = |padding: &str| identify(&id.to_string(), &format!("user{id}"), &json!({"padding": padding})).to_string();
    of(&"x".repeat(length - of("").len()))
}

/// An array of events of exactly `length` bytes.
fn array(length: usize) -> String {
    const EACH: usize = 100_000;
    let mut events: Vec<_> = (0..length / EACH - 1).map(|id| event(id, EACH - 1)).collect();
    let used = 2 + events.len() * EACH;
    events.push(event(events.len(), length - used));
    format!("[{}]", events.join(","))
}

#[tokio::test]
async fn an_event_of_128_kib_is_accepted_and_one_byte_more_is_not() {
    let service = Service::start(&[]).await;
    for (body, expected) in [
        (event(1, OBJECT), "200 delivered"),
        (event(2, OBJECT + 1), "413 too_large"),
        (event(3, 3 * 1024 * 1024), "413 too_large"),
        (format!("{} ", event(1, OBJECT)), "413 too_large"),
    ] {
        assert_eq!(send_raw(&service, body.clone()).await.brief(), expected, "{} bytes", body.len());
    }
}

#[tokio::test]
async fn an_array_of_four_and_a_half_mib_is_accepted_and_one_byte_more_is_not() {
    let service = Service::start(&[]).await;
    let whole = array(ARRAY);
    assert_eq!(whole.len(), ARRAY);
    assert_eq!(send_raw(&service, format!("{whole} ")).await.brief(), "413 too_large");
    let batch = format!(r#"{{"batch":{}}}"#, array(ARRAY - 10));
    assert_eq!(send_raw(&service, whole).await.brief(), "202 accepted");
    assert_eq!(send_raw(&service, batch).await.brief(), "200 duplicate");
}

#[tokio::test]
async fn only_the_event_that_is_too_large_is_refused_in_an_array() {
    let service = Service::start(&[]).await;
    let answer = send_raw(&service, format!("[{},{}]", event(1, OBJECT + 1), event(2, OBJECT))).await;
    assert_eq!((answer.brief().as_str(), each(&answer).as_str()), ("202 accepted", "too_large accepted"));
    let answer = send_raw(&service, format!("[{}]", event(1, OBJECT + 1))).await;
    assert_eq!((answer.brief().as_str(), each(&answer).as_str()), ("413 too_large", "too_large"));
}

#[tokio::test]
async fn a_body_is_plain_or_gzip() {
    let service = Service::start(&[]).await;
    let plain = event(1, 1000).into_bytes();
    let zipped = gzip(&plain);
    let (half, rest) = plain.split_at(500);
    let members = [gzip(half), gzip(rest)].concat();
    for (encoding, body, expected) in [
        ("gzip", &zipped, "200 delivered"),
        ("GZip", &zipped, "200 duplicate"),
        (" x-gzip ", &zipped, "200 duplicate"),
        ("gzip", &members, "400 rejected"),
        ("identity", &plain, "200 duplicate"),
        ("", &plain, "200 duplicate"),
        ("gzip", &plain, "400 rejected"),
        ("gzip", &zipped[..zipped.len() - 1].to_vec(), "400 rejected"),
        ("gzip", &[zipped.clone(), b"more".to_vec()].concat(), "400 rejected"),
        ("gzip", &Vec::new(), "400 rejected"),
        ("identity", &zipped, "400 rejected"),
        ("gzip, gzip", &gzip(&zipped), "400 rejected"),
        ("gzip", &gzip(&zipped), "400 rejected"),
        ("deflate", &plain, "400 rejected"),
        ("br", &plain, "400 rejected"),
    ] {
        let headers = [("Authorization", &*basic(API_KEY)), ("Content-Encoding", encoding)];
        let answer = post(&service.url("/segment"), &headers, body.clone()).await;
        assert_eq!(answer.brief(), expected, "{encoding:?}, {} bytes", body.len());
    }
    let twice = [("Authorization", &*basic(API_KEY)), ("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")];
    assert_eq!(post(&service.url("/segment"), &twice, gzip(&zipped)).await.brief(), "400 rejected");
}

#[tokio::test]
async fn a_body_that_is_too_large_once_decompressed_is_refused() {
    let service = Service::start(&[]).await;
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    let bombs = bomb.repeat(20);
    for (body, expected) in [
        (gzip(event(1, OBJECT).as_bytes()), "200 delivered"),
        (gzip(event(2, OBJECT + 1).as_bytes()), "413 too_large"),
        (gzip(array(ARRAY).as_bytes()), "202 accepted"),
        (gzip(format!("{} ", array(ARRAY)).as_bytes()), "413 too_large"),
        (bomb, "413 too_large"),
        (bombs, "413 too_large"),
    ] {
        let headers = [("Authorization", &*basic(API_KEY)), ("Content-Encoding", "gzip")];
        let answer = post(&service.url("/segment"), &headers, body.clone()).await;
        assert_eq!(answer.brief(), expected, "{} bytes", body.len());
    }
}

#[tokio::test]
async fn a_signed_body_that_is_too_large_once_decompressed_is_a_413_too() {
    let service = Service::start(&[("SEGMENT_SHARED_SECRETS", "abc123")]).await;
    let plain = format!("{} ", array(ARRAY));
    let zipped = gzip(plain.as_bytes());
    for over in [plain.as_bytes(), &zipped] {
        let headers = [("X-Signature", &*sign("abc123", over)), ("Content-Encoding", "gzip")];
        assert_eq!(post(&service.url("/segment"), &headers, zipped.clone()).await.brief(), "413 too_large");
    }
}
