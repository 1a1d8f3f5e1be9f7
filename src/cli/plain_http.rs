//! One HTTP/1.1 request over a socket, to a service of our own on this machine or beside it.
//!
//! Deliberately plain: `http` only, one request per connection, answers with a length.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

/// Asks `url` by `method`, with further header lines (each ended by CRLF); the code and the body. No more than `most` bytes
/// of the answer are read.
pub(super) async fn ask(url: &Url, method: &str, headers: &str, body: &[u8], most: u64) -> io::Result<(u16, Vec<u8>)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    if url.scheme() != "http" {
        return Err(invalid("expected an http:// URL"));
    }
    let host = url.host_str().ok_or_else(|| invalid("expected a URL with a host"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    let mut answer = Vec::new();
    stream.take(most).read_to_end(&mut answer).await?;
    let line = String::from_utf8_lossy(&answer[..answer.len().min(16)]).into_owned();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    Ok((status.ok_or_else(|| invalid("the answer is not HTTP"))?, answer.split_off(end)))
}
