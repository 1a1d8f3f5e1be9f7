//! HTTP/1.1 as the benchmark speaks it: reading the head of a response, and a blocking connection for single requests.
//!
//! In: bytes. Out: a status and a body. The load itself is sent by `load`, which reads responses with the same [`head`]. Deliberately
//! absent: chunked bodies and reconnecting. A server that uses either fails the benchmark.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a response may take; reached only when something is broken.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// The head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Where the body begins.
    body_at: usize,
    /// The length of head and body together, in bytes.
    pub total: usize,
}

/// Reads the head at the start of `bytes`; `None` while it is incomplete.
///
/// # Panics
/// Where `bytes` are no HTTP/1.1 response: the benchmark is wrong.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_at) = response.parse(bytes).expect("HTTP/1.1") else { return None };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |header| {
        std::str::from_utf8(header.value).ok().and_then(|value| value.parse().ok()).expect("a length")
    });
    Some(Head { status: response.code.expect("complete"), body_at, total: body_at + length })
}

/// A blocking connection, kept alive, with one request at a time.
pub struct Connection {
    stream: TcpStream,
    response: Vec<u8>,
    body_at: usize,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("a connection")
    }

    fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, response: Vec::new(), body_at: 0 })
    }

    /// Sends a whole request and reads the whole response; its status.
    pub fn exchange(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).expect("the request goes out");
        self.response.clear();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = self.stream.read(&mut chunk).expect("a response");
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&self.response));
            self.response.extend_from_slice(&chunk[..read]);
            if let Some(head) = head(&self.response).filter(|head| self.response.len() >= head.total) {
                self.body_at = head.body_at;
                return head.status;
            }
        }
    }

    /// The body of the last response.
    fn body(&self) -> &[u8] {
        &self.response[self.body_at..]
    }
}

/// A `GET` on a connection of its own; `None` where nothing listens.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut connection = Connection::try_open(address).ok()?;
    let status = connection.exchange(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes());
    Some((status, String::from_utf8_lossy(connection.body()).into_owned()))
}
