//! HTTP as clients, proxies and attackers really write it.

use super::checked;
use crate::support::service::Service;
use crate::support::{API_KEY, Answer, basic, within};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection on which the test writes every byte.
struct Wire(BufReader<TcpStream>);

impl Wire {
    async fn open(address: SocketAddr) -> Self {
        Self(BufReader::new(within(TcpStream::connect(address)).await.expect("connects")))
    }

    async fn write(&mut self, bytes: &str) {
        within(self.0.write_all(bytes.as_bytes())).await.expect("writes");
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        within(self.0.read_line(&mut line)).await.expect("text");
        line.trim_end().to_owned()
    }

    /// Reads one response.
    async fn answer(&mut self) -> Answer {
        let start = self.line().await;
        let status = start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{start:?}"));
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.append(name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"));
        }
        let length =
            headers.get("content-length").map_or(0, |value| value.to_str().expect("text").parse().expect("a number"));
        let mut text = vec![0; length];
        within(self.0.read_exact(&mut text)).await.expect("a body");
        Answer { status, headers, text: String::from_utf8(text).expect("text") }
    }

    /// Whether the other side closed in order.
    async fn closed(&mut self) -> bool {
        within(self.0.read(&mut [0])).await.is_ok_and(|read| read == 0)
    }
}

const BODY: &str = r#"{"type":"delete","userId":"1"}"#;

/// A request with the account's key; `more` are further header lines, each with its line end.
fn request(version: &str, more: &str, body: &str) -> String {
    format!("POST /segment HTTP/{version}\r\nHost: x\r\nAuthorization: {}\r\n{more}\r\n{body}", basic(API_KEY))
}

#[tokio::test]
async fn a_request_is_understood_however_it_is_written() {
    let service = Service::start(&[]).await;
    let length = format!("Content-Length: {}\r\n", BODY.len());
    let (half, rest) = BODY.split_at(10);
    let chunked = format!("a\r\n{half}\r\n{:x};extension=1\r\n{rest}\r\n0\r\nTrailer: x\r\n\r\n", rest.len());
    let key = basic(API_KEY);
    for (claim, text) in [
        ("with a length", request("1.1", &length, BODY)),
        ("in chunks", request("1.1", "Transfer-Encoding: chunked\r\n", &chunked)),
        ("HTTP/1.0", request("1.0", &length, BODY)),
        ("HTTP/1.0 without a host", format!("POST /segment HTTP/1.0\r\nAuthorization: {key}\r\n{length}\r\n{BODY}")),
        (
            "names in capitals",
            format!("POST /segment HTTP/1.1\r\nHOST: x\r\nAUTHORIZATION: {key}\r\n{}\r\n{BODY}", length.to_uppercase()),
        ),
        (
            "names in small letters",
            format!("POST /segment HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\n{}\r\n{BODY}", length.to_lowercase()),
        ),
        (
            "an absolute target",
            format!("POST http://x/segment HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n{length}\r\n{BODY}"),
        ),
        (
            "bare line ends",
            format!("POST /segment HTTP/1.1\nHost: x\nAuthorization: {key}\nContent-Length: {}\n\n{BODY}", BODY.len()),
        ),
        ("the key twice", request("1.1", &format!("{length}Authorization: {key}\r\n"), BODY)),
        (
            "of another content type",
            request("1.1", &format!("{length}Content-Type: text/plain; charset=utf-16\r\n"), BODY),
        ),
        ("of no content type at all", request("1.1", &format!("{length}Content-Type:\r\n"), BODY)),
        (
            "accepting something else",
            request("1.1", &format!("{length}Accept: text/html\r\nAccept-Encoding: gzip\r\n"), BODY),
        ),
        (
            "with Segment's settings",
            request("1.1", &format!("{length}X-Segment-Settings: %%%\r\nUser-Agent: Segment.io/1.0\r\n"), BODY),
        ),
    ] {
        let mut wire = Wire::open(service.addresses.server).await;
        wire.write(&text).await;
        let answer = checked(wire.answer().await);
        assert!(matches!(answer.brief().as_str(), "200 delivered"), "{claim}: {}", answer.brief());
        assert!(!answer.headers.contains_key("content-encoding"), "{claim}");
    }
}

#[tokio::test]
async fn requests_may_follow_each_other_without_a_pause() {
    let service = Service::start(&[]).await;
    let with = |body: &str| request("1.1", &format!("Content-Length: {}\r\n", body.len()), body);
    let mut wire = Wire::open(service.addresses.server).await;
    wire.write(&[with(BODY), with("{"), with(r#"{"type":"page"}"#), with(BODY)].concat()).await;
    for expected in ["200 delivered", "400 rejected", "501 unsupported", "200 delivered"] {
        assert_eq!(checked(wire.answer().await).brief(), expected);
    }
}

#[tokio::test]
async fn a_client_that_asks_first_may_send_its_body_only_with_credentials_and_within_the_limit() {
    let service = Service::start(&[]).await;
    let ask = |length: usize| request("1.1", &format!("Content-Length: {length}\r\nExpect: 100-continue\r\n"), "");
    let mut wire = Wire::open(service.addresses.server).await;
    wire.write(&ask(BODY.len())).await;
    assert_eq!(wire.answer().await.status, 100);
    wire.write(BODY).await;
    assert_eq!(checked(wire.answer().await).brief(), "200 delivered");

    for (text, expected) in [
        (ask(5_000_000), "413 too_large"),
        (ask(30).replace("Authorization: Basic", "Authorization: Other"), "401 unauthorized"),
        (ask(30).replace("POST /segment", "DELETE /segment"), "405 method_not_allowed"),
        (ask(30).replace("POST /segment", "POST /elsewhere"), "404 not_found"),
    ] {
        let mut wire = Wire::open(service.addresses.server).await;
        wire.write(&text).await;
        assert_eq!(checked(wire.answer().await).brief(), expected, "without a byte of the body");
        assert!(wire.closed().await);
    }
}

/// Many clients write all of a body before they read. If they are refused meanwhile, they must receive the response and not a
/// broken connection: Segment would send that body again for four hours.
#[tokio::test]
async fn a_client_that_is_refused_while_it_sends_receives_the_response() {
    let service = Service::start(&[]).await;
    let most = 4 * 1024 * 1024 + 512 * 1024;
    let with = |length: usize| request("1.1", &format!("Content-Length: {length}\r\n"), &" ".repeat(length));
    let chunked = format!("{0:x}\r\n{1}\r\n0\r\n\r\n", most + 1, " ".repeat(most + 1));
    for (text, expected) in [
        (with(most).replace("Authorization: Basic", "Authorization: Other"), "401 unauthorized"),
        (with(most).replace("POST /segment", "POST /elsewhere"), "404 not_found"),
        (with(most).replace("POST /segment", "DELETE /segment"), "405 method_not_allowed"),
        (with(most + 1), "413 too_large"),
        (request("1.1", "Transfer-Encoding: chunked\r\n", &chunked), "413 too_large"),
    ] {
        let mut wire = Wire::open(service.addresses.server).await;
        wire.write(&text).await;
        assert_eq!(checked(wire.answer().await).brief(), expected);
    }
}

#[tokio::test]
async fn an_incomplete_body_is_not_an_event() {
    let service = Service::start(&[]).await;
    for text in [
        request("1.1", &format!("Content-Length: {}\r\n", BODY.len() + 1), BODY),
        request("1.1", "Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{BODY}\r\n", BODY.len())),
    ] {
        let mut wire = Wire::open(service.addresses.server).await;
        wire.write(&text).await;
        within(wire.0.get_mut().shutdown()).await.expect("half closed");
        let mut answer = Vec::new();
        within(wire.0.read_to_end(&mut answer)).await.expect("closed");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
    }
    assert_eq!(service.ready().await.json()["pending"], 0);
}

#[tokio::test]
async fn input_that_is_not_http_harms_nothing() {
    let service = Service::start(&[]).await;
    let many = format!("{}\r\n", "X-Many: x\r\n".repeat(200));
    let long = format!("X-Long: {}\r\n", "x".repeat(1_000_000));
    for text in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "POST /segment\r\n\r\n".to_owned(),
        request("1.1", "Content-Length: 5\r\nContent-Length: 6\r\n", BODY),
        request("1.1", "Content-Length: -1\r\n", BODY),
        request("1.1", "Content-Length: 99999999999999999999999\r\n", BODY),
        request("1.1", "Transfer-Encoding: chunked\r\n", "zz\r\n"),
        request("1.1", &many, BODY),
        request("1.1", &long, BODY),
    ] {
        let mut wire = Wire::open(service.addresses.server).await;
        // Err: refused before everything was written.
        let _ = within(wire.0.write_all(text.as_bytes())).await;
        let mut answer = Vec::new();
        // Err: the connection was reset, because more was written than was read.
        let _ = within(wire.0.read_to_end(&mut answer)).await;
        let shown = answer[..answer.len().min(200)].escape_ascii();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{shown}");
    }
    assert_eq!(service.ready().await.brief(), "200 ready");
}
