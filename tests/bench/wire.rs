//! HTTP/1.1 as the load generator speaks it: one blocking connection, kept alive, one request at a time.
//!
//! A thread per connection and two system calls per exchange: the generator shares two cores with what it measures.
//! Deliberately absent: chunked bodies and reconnecting. Whoever answers otherwise, or hangs up, fails the benchmark.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    body_at: usize,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("a connection")
    }

    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, answer: Vec::new(), body_at: 0 })
    }

    /// Sends a whole request and reads the whole answer; its status.
    pub fn exchange(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).expect("the request goes out");
        self.answer.clear();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = self.stream.read(&mut chunk).expect("an answer");
            assert!(read > 0, "hung up after {:?}", String::from_utf8_lossy(&self.answer));
            self.answer.extend_from_slice(&chunk[..read]);
            if let Some((status, length)) = self.head()
                && self.answer.len() >= self.body_at + length
            {
                return status;
            }
        }
    }

    /// The status and the length of the body, once the head is there.
    fn head(&mut self) -> Option<(u16, usize)> {
        let end = self.answer.windows(4).take(4096).position(|four| four == b"\r\n\r\n")?;
        self.body_at = end + 4;
        let head = std::str::from_utf8(&self.answer[..end]).expect("text");
        let status = head.get(9..12).and_then(|code| code.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().expect("a length"))
        });
        Some((status, length.unwrap_or(0)))
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.answer[self.body_at..]
    }
}

/// A `GET` on a connection of its own; `None` where nobody listens.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut connection = Connection::try_open(address).ok()?;
    let status = connection.exchange(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes());
    Some((status, String::from_utf8_lossy(connection.body()).into_owned()))
}
