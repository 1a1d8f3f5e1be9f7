//! Reading a request's body under its limits, plain or gzip.
//!
//! Out come the bytes as they came over the wire and, when asked, what they hold: a signature may be over either.
//! Invariants: never more memory than the limit for an array, before and after decompression; bodies beyond the limit for
//! an event are held by so many requests at once and no more; who is refused while still sending hears of it.

use super::answer::Answer;
use super::limits::{MAX_ARRAY, MAX_OBJECT};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use flate2::bufread::GzDecoder;
use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// A body that takes longer than this is given up; Segment itself gives up after 5 or 10 seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long and how much of a refused body is read, so that its sender can read the answer.
const COURTESY: (Duration, usize) = (Duration::from_secs(5), 2 * MAX_ARRAY);
/// How many bodies beyond [`MAX_OBJECT`] this process holds at once; further ones wait for their turn.
static LARGE: Semaphore = Semaphore::const_new(64);

/// A request's body.
pub(super) struct Received {
    /// As it came over the wire.
    pub(super) bytes: Vec<u8>,
    /// Whether these bytes are gzip.
    pub(super) gzip: bool,
}

/// The right to hold a large body, where it is one; given back when dropped.
pub(super) type Room = Option<SemaphorePermit<'static>>;

/// Reads `body`, which came with `headers`.
pub(super) async fn read(headers: &HeaderMap, body: &mut Body) -> Result<(Received, Room), Answer> {
    read_within(PATIENCE, headers, body).await
}

async fn read_within(patience: Duration, headers: &HeaderMap, body: &mut Body) -> Result<(Received, Room), Answer> {
    let gzip = is_gzip(headers)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_ARRAY) {
        return Err(Answer::TooLarge);
    }
    let (bytes, room) =
        timeout(patience, collect(body, declared.unwrap_or(0).min(MAX_OBJECT))).await.unwrap_or(Err(Answer::Slow))?;
    Ok((Received { bytes, gzip }, room))
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Answer> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).into_iter();
    let encoding = encodings.next().map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    match (encoding.as_deref(), encodings.next()) {
        (None | Some(b"" | b"identity"), None) => Ok(false),
        (Some(b"gzip" | b"x-gzip"), None) => Ok(true),
        _ => Err(Answer::Invalid("Unsupported Content-Encoding: send the body plain or gzip".into())),
    }
}

/// `declared` is how long the body is to be: memory is asked for once, and used as far as bytes come.
async fn collect(body: &mut Body, declared: usize) -> Result<(Vec<u8>, Room), Answer> {
    let (mut bytes, mut room) = (Vec::with_capacity(declared), None);
    while let Some(data) = next(body).await {
        let data = data.map_err(|_| Answer::Invalid("The body broke off: send it whole".into()))?;
        if bytes.len() + data.len() > MAX_ARRAY {
            return Err(Answer::TooLarge);
        }
        if bytes.len() + data.len() > MAX_OBJECT && room.is_none() {
            // Err: the semaphore is never closed.
            room = LARGE.acquire().await.ok();
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, room))
}

/// Reads what is left of a refused body and lets it go. A sender that writes into a closed connection may never see the
/// answer, and would send it all again. Who asked first (`Expect`) has not begun to send.
pub(super) async fn discard(headers: &HeaderMap, body: &mut Body) {
    let (patience, most) = COURTESY;
    if headers.contains_key(EXPECT) {
        return;
    }
    let discarded = async {
        let mut read = 0;
        while let Some(Ok(data)) = next(body).await {
            read += data.len();
            if read > most {
                return;
            }
        }
    };
    // Err: it was not worth waiting for.
    let _ = timeout(patience, discarded).await;
}

/// The next bytes; trailers are no bytes.
async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// What `compressed` holds: one gzip member, as every client sends it. A body of a hundred thousand empty ones would cost a
/// second, and nobody is believed yet.
pub(super) fn gunzip(compressed: &[u8]) -> Result<Vec<u8>, Answer> {
    let mut content = Vec::new();
    let mut decoder = GzDecoder::new(compressed);
    let read = decoder.by_ref().take(MAX_ARRAY as u64 + 1).read_to_end(&mut content);
    if content.len() > MAX_ARRAY {
        Err(Answer::TooLarge)
    } else if read.is_ok() && decoder.into_inner().is_empty() {
        Ok(content)
    } else {
        Err(Answer::Invalid("Invalid gzip: the body is not what its Content-Encoding says".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::extract::Request;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Reads a body of `sent` bytes whose sender promised one more and waits.
    async fn stalled(sent: usize) -> String {
        let patience = Duration::from_millis(50);
        let door = post(move |request: Request| async move {
            let (head, mut body) = request.into_parts();
            read_within(patience, &head.headers, &mut body).await.err().unwrap_or(Answer::Bug)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(axum::serve(listener, Router::new().route("/", door)).into_future());
        let mut sender = TcpStream::connect(address).await.expect("connects");
        let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", sent + 1);
        sender.write_all(&[head.as_bytes(), &vec![b' '; sent]].concat()).await.expect("writes");
        let mut answer = String::new();
        sender.read_to_string(&mut answer).await.expect("closed in order");
        answer
    }

    #[tokio::test]
    async fn only_a_large_body_takes_room_and_one_that_stalls_gives_it_back() {
        let free = LARGE.available_permits();
        for (length, taken) in [(MAX_OBJECT, 0), (MAX_OBJECT + 1, 1)] {
            let read = read(&HeaderMap::new(), &mut Body::from(vec![b' '; length])).await.ok();
            let (received, room) = read.expect("whole");
            assert_eq!((received.bytes.len(), free - LARGE.available_permits()), (length, taken));
            drop(room);
        }
        for length in [1, MAX_OBJECT + 1] {
            let answer = stalled(length).await;
            assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
        }
        assert_eq!(LARGE.available_permits(), free);
    }
}
