//! Bodies as they lie in the file: packed where that saves room, for of all that is kept of an event its body is the most.
//!
//! In goes a body, out comes what is kept of it, and back. Invariants: what comes back is what went in, to the byte; what is kept
//! as it came does not begin with the mark of what is packed (no JSON text does). Deliberately absent: a dictionary of what
//! events have in common, which would save far more, and could never be changed again.

use lz4_flex::block::{compress_into, decompress, get_maximum_output_size};

/// The first byte of what is packed; four with the length follow, little-endian.
const MARK: u8 = 1;
const HEAD: usize = 5;
/// Shorter bodies are kept as they came.
const SHORT: usize = 256;
/// No byte that is packed makes more than these.
const MOST_PER_BYTE: usize = 255;

/// What to keep of `body`.
pub fn pack(body: Vec<u8>) -> Vec<u8> {
    let marked = body.first() == Some(&MARK);
    let Ok(length) = u32::try_from(body.len()) else { return body };
    if body.len() < SHORT && !marked {
        return body;
    }
    let mut kept = vec![0; HEAD + get_maximum_output_size(body.len())];
    kept[0] = MARK;
    kept[1..HEAD].copy_from_slice(&length.to_le_bytes());
    match compress_into(&body, &mut kept[HEAD..]) {
        Ok(packed) if HEAD + packed < body.len() || marked => {
            kept.truncate(HEAD + packed);
            kept.shrink_to_fit();
            kept
        }
        _ => body,
    }
}

/// The body that was kept as `kept`. What no [`pack`] has made is left as it is.
pub fn unpack(kept: Vec<u8>) -> Vec<u8> {
    let body = packed(&kept).and_then(|(packed, length)| decompress(packed, length).ok());
    body.unwrap_or(kept)
}

/// How many bytes the body has that was kept as `kept`.
pub fn length(kept: &[u8]) -> usize {
    packed(kept).map_or(kept.len(), |(_, length)| length)
}

/// The part that is packed, and how many bytes it makes.
fn packed(kept: &[u8]) -> Option<(&[u8], usize)> {
    let (head, packed) = kept.split_first_chunk::<HEAD>()?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    (head[0] == MARK && length <= MOST_PER_BYTE * packed.len()).then_some((packed, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_repeats_itself_is_kept_in_fewer_bytes() {
        let body = br#"{"type":"identify","traits":{"email":"a@example.com"}}"#.repeat(20);
        let kept = pack(body.clone());
        assert!(kept.len() < body.len() / 4, "{} of {}", kept.len(), body.len());
        assert_eq!((length(&kept), unpack(kept)), (body.len(), body));
    }

    #[test]
    fn what_was_not_packed_is_left_as_it_is() {
        for kept in [&b""[..], b"\x01", b"\x01\xff\xff\xff\xff", b"\x01\x04\0\0\0\x70", b"{}"] {
            assert_eq!(unpack(kept.to_vec()), kept);
        }
    }

    proptest! {
        #[test]
        fn what_comes_back_is_what_went_in(body in proptest::collection::vec(prop_oneof![Just(1), Just(b'a'), any::<u8>()], 0..900)) {
            let kept = pack(body.clone());
            prop_assert_eq!(length(&kept), body.len());
            prop_assert_eq!(unpack(kept), body);
        }
    }
}
