//! The stored form of bodies: compressed with LZ4 if that saves space.
//!
//! In: a body. Out: the bytes to store, and back. The format: byte 1, the length of the body as four bytes (little-endian), and an LZ4
//! block; or the body itself. Invariants: a body is read back unchanged, to the byte; a body that is stored without compression is not
//! empty, and begins neither with byte 1 nor with byte 0 (no JSON text does), so it differs from a body that was overwritten with zeros.
//! Deliberately absent: a dictionary of common parts of events. It would save far more, and could never be changed again.

use super::{MovedDeadLetter, NewEvent, StoreError};
use lz4_flex::block::{compress_into, decompress, get_maximum_output_size};
use tokio::task::spawn_blocking;

/// The first byte of a compressed body.
const MARK: u8 = 1;
/// The first byte of a body that was overwritten.
const ERASED: u8 = 0;
/// The mark and the length.
const HEADER: usize = 5;
/// The shortest body that is compressed. To compress an event of 1.2 KB is a quarter of the instructions of accepting it, and saves a quarter
/// of its space; if only bodies from 2 KiB on were compressed, single events would be accepted 5 % faster, and arrays 10 % slower.
const MIN_COMPRESSED: usize = 256;
/// The most bytes that a compressed byte can expand to, so a damaged length cannot ask for gigabytes.
const MAX_RATIO: usize = 255;

/// The most bodies that are packed at once without a thread for blocking work: packing a thousand takes some milliseconds.
const MAX_PACKED_INLINE: usize = 20;

/// Packs the bodies of events to append.
pub async fn pack_all(events: Vec<NewEvent>) -> Result<Vec<NewEvent>, StoreError> {
    if events.len() > MAX_PACKED_INLINE {
        // Err: the runtime is ending.
        return spawn_blocking(|| pack_each(events)).await.map_err(|_| StoreError::Closed);
    }
    Ok(pack_each(events))
}

/// Packs the bodies of dead letters to move to another account, and sorts them by their ids.
pub async fn pack_moved(mut moved: Vec<MovedDeadLetter>) -> Result<Vec<MovedDeadLetter>, StoreError> {
    moved.sort_unstable_by_key(|letter| letter.id);
    let (ids, events): (Vec<i64>, Vec<NewEvent>) = moved.into_iter().map(|moved| (moved.id, moved.event)).unzip();
    let packed = pack_all(events).await?;
    Ok(ids.into_iter().zip(packed).map(|(id, event)| MovedDeadLetter { id, event }).collect())
}

fn pack_each(mut events: Vec<NewEvent>) -> Vec<NewEvent> {
    for event in &mut events {
        event.body = pack(std::mem::take(&mut event.body));
    }
    events
}

/// The bytes to store for `body`.
pub fn pack(body: Vec<u8>) -> Vec<u8> {
    let marked = matches!(body.first(), None | Some(&(MARK | ERASED)));
    let Ok(length) = u32::try_from(body.len()) else { return body };
    if body.len() < MIN_COMPRESSED && !marked {
        return body;
    }
    let mut packed = vec![0; HEADER + get_maximum_output_size(body.len())];
    packed[0] = MARK;
    packed[1..HEADER].copy_from_slice(&length.to_le_bytes());
    match compress_into(&body, &mut packed[HEADER..]) {
        Ok(compressed) if HEADER + compressed < body.len() || marked => {
            packed.truncate(HEADER + compressed);
            packed.shrink_to_fit();
            packed
        }
        _ => body,
    }
}

/// The body for which `stored` was stored; `None` if it is damaged or was overwritten.
pub fn unpack(stored: &[u8]) -> Option<Vec<u8>> {
    match stored.first() {
        None | Some(&ERASED) => return None,
        Some(&MARK) => {}
        Some(_) => return Some(stored.to_vec()),
    }
    let (header, block) = stored.split_first_chunk::<HEADER>()?;
    let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
    let body = (length <= MAX_RATIO * block.len()).then(|| decompress(block, length).ok())??;
    (body.len() == length).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_repetitive_body_takes_fewer_bytes() {
        let body = br#"{"type":"identify","traits":{"email":"a@example.com"}}"#.repeat(20);
        let stored = pack(body.clone());
        assert!(stored.len() < body.len() / 4, "{} of {}", stored.len(), body.len());
        assert_eq!(unpack(&stored), Some(body));
    }

    #[test]
    fn a_damaged_body_is_refused() {
        let whole = pack(b"abcdefgh".repeat(100));
        let longer = [&whole[..1], &[whole[1].wrapping_add(1)], &whole[2..]].concat();
        for stored in [&b"\x01"[..], b"\x01\xff\xff\xff\xff", b"\x01\x04\0\0\0\x70", &whole[..whole.len() - 1], &longer]
        {
            assert_eq!(unpack(stored), None);
        }
        assert_eq!((unpack(b""), unpack(&[0; 40])), (None, None), "overwritten");
    }

    proptest! {
        #[test]
        fn a_body_is_read_back_unchanged(body in proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(b'a'), any::<u8>()], 0..900)) {
            prop_assert_eq!(unpack(&pack(body.clone())), Some(body));
        }
    }
}
