//! The requirements of an event, and the responses to events that do not meet them.

use super::{send, send_raw};
use crate::support::service::Service;
use serde_json::json;

#[tokio::test]
async fn an_invalid_event_is_a_400_with_a_remedy() {
    let service = Service::start(&[]).await;
    for (body, why) in [
        (&b""[..], "No event: "),
        (b" \r\n\t", "No event: "),
        (b"[]", "No event: "),
        (b" [ ] ", "No event: "),
        (br#"{"batch":[]}"#, "No event: "),
        (b"{", "Invalid JSON: "),
        (b"}", "Invalid JSON: "),
        (b"{}{}", "Invalid JSON: "),
        (br#"{"type":"identify"}x"#, "Invalid JSON: "),
        (br#"{"type":"identify",}"#, "Invalid JSON: "),
        (br#"{"type":identify}"#, "Invalid JSON: "),
        (b"{'type':'identify'}", "Invalid JSON: "),
        (b"type=identify&userId=1", "Invalid JSON: "),
        (b"\xef\xbb\xbf{}", "Missing type: "),
        (b"{\"type\":\"ident\xffify\"}", "Invalid JSON: the body is not UTF-8 text"),
        (b"\xfe\xff\0{\0}", "Invalid JSON: the body is not UTF-8 text"),
        (b"\x1f\x8b\x08\0", "Invalid JSON: the body is not UTF-8 text"),
        (b"[{},", "Invalid JSON: "),
        (b"null", "Invalid event: "),
        (b"5", "Invalid event: "),
        (b"\"identify\"", "Invalid event: "),
        (b"{}", "Missing type: "),
        (br#"{"batch":5}"#, "Missing type: "),
        (br#"{"type":null}"#, "Missing type: "),
        (br#"{"type":" "}"#, "Missing type: "),
        (br#"{"type":5}"#, "Invalid type: "),
        (br#"{"type":["identify"]}"#, "Invalid type: "),
    ] {
        let answer = send_raw(&service, body).await;
        let shown = body.escape_ascii();
        assert_eq!(answer.brief(), "400 rejected", "{shown}");
        assert!(answer.message().starts_with(why), "{shown}: {}", answer.message());
    }
    assert_eq!(service.ready().await.json()["pending"], 0);
}

#[tokio::test]
async fn a_missing_or_invalid_trait_is_a_400_that_names_it() {
    let service = Service::start(&[]).await;
    let identify = |traits| json!({"type": "identify", "userId": "jo", "traits": traits});
    for (body, why) in [
        (identify(json!({"name": "Peter Gibbons"})), "Missing email address"),
        (identify(json!(null)), "Missing email address"),
        (identify(json!({"email": "peter@example.com"})), "Missing name"),
        (identify(json!({"name": "  ", "email": "peter@example.com"})), "Missing name"),
        (identify(json!({"name": "Peter", "email": "Peter Gibbons"})), "Invalid email address"),
        (identify(json!({"name": "Peter", "email": "peter@example.com\r\nX: y"})), "Invalid email address"),
        (json!({"type": "identify"}), "Missing email address"),
        (json!({"type": "delete"}), "Missing userId"),
        (json!({"type": "delete", "userId": {}, "email": []}), "Missing userId"),
    ] {
        let answer = send(&service, &body).await;
        assert_eq!(answer.brief(), "400 rejected", "{body}");
        assert!(answer.message().starts_with(why), "{body}: {}", answer.message());
    }
    assert_eq!(service.refersion.sandbox.calls_total(), 0);
    assert_eq!(service.ready().await.json()["dead_letters"], 0, "what was never accepted is not kept");
}

#[tokio::test]
async fn an_unsupported_type_is_a_501_and_only_a_plain_word_of_it_is_repeated() {
    let service = Service::start(&[]).await;
    for (kind, shown) in [
        ("track", "track"),
        ("page", "page"),
        ("screen", "screen"),
        ("group", "group"),
        ("alias", "alias"),
        (" Track ", "Track"),
        ("peter@example.com", "unknown"),
        ("<script>", "unknown"),
        ("a\r\nSet-Cookie: b", "unknown"),
        ("identifyidentifyidentify", "unknown"),
    ] {
        let answer = send(&service, &json!({"type": kind, "userId": "jo"})).await;
        assert_eq!(answer.brief(), "501 unsupported", "{kind}");
        let expected = format!("unsupported event type {shown}: this destination supports identify and delete");
        assert_eq!(answer.message(), expected);
    }
}
