//! Reading a request's body under its limits, plain or gzip.
//!
//! Out come two views: the bytes as they came over the wire and the text they hold. A signature may be over either.
//! Invariant: never more memory than the limit for an array, before and after decompression.

use super::answer::Answer;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::time::Duration;

/// The largest single event: 128 KiB. Segment's own ingest caps events at 32 KB before it adds its fields.
pub(super) const MAX_OBJECT: usize = 128 * 1024;
/// The largest array or batch: 4.5 MiB. Segment's batches end at 4 MB.
pub(super) const MAX_ARRAY: usize = 4 * 1024 * 1024 + 512 * 1024;
/// A body that takes longer than this is given up; Segment itself gives up before.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request's body.
pub(super) struct Body {
    /// As it came over the wire.
    pub(super) received: Bytes,
    /// Decompressed; the same as `received` where nothing was compressed.
    pub(super) content: Bytes,
}

/// Reads the body of `request`.
pub(super) async fn read(request: Request) -> Result<Body, Answer> {
    let encoding =
        request.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    let gzip = match encoding.as_deref() {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return Err(Answer::Invalid("Unsupported Content-Encoding: send the body plain or gzip".into())),
    };
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_ARRAY) {
        return Err(Answer::TooLarge);
    }
    let received = match tokio::time::timeout(PATIENCE, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            return Err(Answer::TooLarge);
        }
        Ok(Err(_)) => return Err(Answer::Invalid("The body broke off: send it whole".into())),
        Err(_) => return Err(Answer::Slow),
    };
    let content = if gzip { gunzip(&received)? } else { received.clone() };
    Ok(Body { received, content })
}

fn gunzip(compressed: &[u8]) -> Result<Bytes, Answer> {
    let mut content = Vec::new();
    let limit = MAX_ARRAY as u64 + 1;
    match MultiGzDecoder::new(compressed).take(limit).read_to_end(&mut content) {
        Ok(length) if length > MAX_ARRAY => Err(Answer::TooLarge),
        Ok(_) => Ok(content.into()),
        Err(_) => Err(Answer::Invalid("Invalid gzip: the body is not what its Content-Encoding says".into())),
    }
}
