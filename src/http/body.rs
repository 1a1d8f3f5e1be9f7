//! Reads the body of a request under its limits, plain or gzip.
//!
//! In: headers and a body stream. Out: the bytes as they were sent; [`gunzip`] decompresses them, because a signature may be over either
//! form. Invariants: a body takes no more memory than [`MAX_BODY_BYTES`], before and after decompression; the number of bodies in memory
//! that are large, or may be once they are decompressed, is limited; a client that is refused while it sends can read the response,
//! unless it takes too long. tower-http's `RequestBodyLimit` and `RequestDecompression` do not fit: the first cannot limit the memory of
//! all requests together, the second drops the bytes as they were sent.

use super::limits::{MAX_BODY_BYTES, MAX_EVENT_BYTES};
use super::response::ApiResponse;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use flate2::bufread::GzDecoder;
use http_body_util::BodyExt as _;
use std::io::Read;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// How long a body may take to arrive. Segment itself stops waiting after 5 or 10 seconds.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a refused body is read, so that its client can read the response.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of a refused body is read, in bytes.
const MAX_DISCARDED_BYTES: usize = 2 * MAX_BODY_BYTES;
/// One permit for each body in memory that is longer than [`MAX_EVENT_BYTES`]; further ones wait for a permit.
static LARGE_BODIES: Semaphore = Semaphore::const_new(64);
/// The same for shorter gzip bodies that have arrived: of 5 KB, 4.5 MiB can be decompressed. Clients that send large bodies slowly delay none
/// of these.
static GZIP_BODIES: Semaphore = Semaphore::const_new(64);

/// The body of a request, as it was sent.
pub(super) struct RawBody {
    pub(super) bytes: Vec<u8>,
    /// Whether the bytes are gzip.
    pub(super) gzip: bool,
    pub(super) permit: LargeBodyPermit,
}

/// The permit to hold a large body, if the body is large or may be; released when dropped.
pub(super) type LargeBodyPermit = Option<SemaphorePermit<'static>>;

/// Reads `body`, which has these `headers` and may have `most` bytes.
pub(super) async fn read(most: usize, headers: &HeaderMap, body: &mut Body) -> Result<RawBody, ApiResponse> {
    read_within(BODY_TIMEOUT, most, headers, body).await
}

async fn read_within(
    limit: Duration,
    most: usize,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<RawBody, ApiResponse> {
    let gzip = is_gzip(headers)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > most) {
        return Err(ApiResponse::BodyTooLarge);
    }
    let capacity = declared.unwrap_or(0).min(MAX_EVENT_BYTES);
    let collected = async {
        let (bytes, permit) = collect(body, most, capacity).await?;
        Ok(RawBody { bytes, gzip, permit: if gzip { held_or_new(permit, &GZIP_BODIES).await } else { permit } })
    };
    timeout(limit, collected).await.unwrap_or(Err(ApiResponse::BodyTimeout))
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, ApiResponse> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).into_iter();
    let encoding = encodings.next().map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    match (encoding.as_deref(), encodings.next()) {
        (None | Some(b"" | b"identity"), None) => Ok(false),
        (Some(b"gzip" | b"x-gzip"), None) => Ok(true),
        _ => Err(ApiResponse::Invalid("Unsupported Content-Encoding: send the body plain or gzip".into())),
    }
}

/// Collects at most `most` bytes of the body, into a buffer with a first capacity of `capacity` bytes.
async fn collect(body: &mut Body, most: usize, capacity: usize) -> Result<(Vec<u8>, LargeBodyPermit), ApiResponse> {
    let (mut bytes, mut permit) = (Vec::with_capacity(capacity), None);
    while let Some(data) = next_data(body).await {
        let data = data.map_err(|_| ApiResponse::Invalid("The body ended early: send all of it".into()))?;
        if bytes.len() + data.len() > most {
            return Err(ApiResponse::BodyTooLarge);
        }
        if bytes.len() + data.len() > MAX_EVENT_BYTES {
            permit = held_or_new(permit, &LARGE_BODIES).await;
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, permit))
}

/// The permit that the body has, or a new one of these.
async fn held_or_new(held: LargeBodyPermit, permits: &'static Semaphore) -> LargeBodyPermit {
    match held {
        Some(permit) => Some(permit),
        // Err: the semaphore is never closed.
        None => permits.acquire().await.ok(),
    }
}

/// Reads the rest of a refused body and drops it. A client that writes into a closed connection may never read the response, and would send
/// everything again. A client that sent `Expect` has not begun to send the body.
pub(super) async fn discard(headers: &HeaderMap, body: &mut Body) {
    if headers.contains_key(EXPECT) {
        return;
    }
    let discarded = async {
        let mut read = 0;
        while let Some(Ok(data)) = next_data(body).await {
            read += data.len();
            if read > MAX_DISCARDED_BYTES {
                return;
            }
        }
    };
    // Err: the client is too slow; the connection is closed.
    let _ = timeout(DISCARD_TIMEOUT, discarded).await;
}

/// As [`discard`], after this error. After the timeout of the body, its rest is not read before the answer.
pub(super) async fn discard_after(error: &ApiResponse, headers: &HeaderMap, body: &mut Body) {
    if !matches!(error, ApiResponse::BodyTimeout) {
        discard(headers, body).await;
    }
}

/// The next bytes of the body; empty for trailers.
async fn next_data(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    Some(body.frame().await?.map(|frame| frame.into_data().unwrap_or_default()))
}

/// Decompresses one gzip member; every client sends one. Further members are refused: decompressing a hundred thousand empty ones takes a
/// second, and the request is not authenticated yet.
pub(super) fn gunzip(compressed: &[u8]) -> Result<Vec<u8>, ApiResponse> {
    let mut content = Vec::new();
    let mut decoder = GzDecoder::new(compressed);
    let read = decoder.by_ref().take(MAX_BODY_BYTES as u64 + 1).read_to_end(&mut content);
    if content.len() > MAX_BODY_BYTES {
        Err(ApiResponse::BodyTooLarge)
    } else if read.is_ok() && decoder.into_inner().is_empty() {
        Ok(content)
    } else {
        Err(ApiResponse::Invalid("Invalid gzip: the body is not what its Content-Encoding says".into()))
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

    /// The response to a body of which `sent` bytes arrive and one more is declared.
    async fn stalled(sent: usize) -> String {
        let limit = Duration::from_millis(50);
        let handler = post(move |request: Request| async move {
            let (head, mut body) = request.into_parts();
            read_within(limit, MAX_BODY_BYTES, &head.headers, &mut body)
                .await
                .err()
                .unwrap_or(ApiResponse::InternalError)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(axum::serve(listener, Router::new().route("/", handler)).into_future());
        let mut client = TcpStream::connect(address).await.expect("connects");
        let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", sent + 1);
        client.write_all(&[head.as_bytes(), &vec![b' '; sent]].concat()).await.expect("writes");
        let mut response = String::new();
        client.read_to_string(&mut response).await.expect("closed in order");
        response
    }

    #[tokio::test]
    async fn only_a_body_that_is_or_may_be_large_takes_a_permit_and_one_that_stalls_releases_it() {
        let available = || [LARGE_BODIES.available_permits(), GZIP_BODIES.available_permits()];
        let [large, gzip] = available();
        for (encoding, length, left) in [
            ("identity", MAX_EVENT_BYTES, [large, gzip]),
            ("identity", MAX_EVENT_BYTES + 1, [large - 1, gzip]),
            ("gzip", 1, [large, gzip - 1]),
            ("gzip", MAX_EVENT_BYTES + 1, [large - 1, gzip]),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, encoding.parse().expect("a value"))]);
            let read = read(MAX_BODY_BYTES, &headers, &mut Body::from(vec![b' '; length])).await.ok();
            let body = read.expect("whole");
            assert_eq!((body.bytes.len(), available()), (length, left));
            drop(body);
        }
        for length in [1, MAX_EVENT_BYTES + 1] {
            let response = stalled(length).await;
            assert!(response.starts_with("HTTP/1.0 503 "), "{response}");
        }
        assert_eq!(available(), [large, gzip]);
    }
}
