//! The limits of a request: bytes of the payload, events and notes. The messages in `response` repeat these figures.

/// The largest single event, in bytes: 128 KiB. Segment's own ingest limits events to 32 KB before it adds its fields.
pub const MAX_EVENT_BYTES: usize = 128 * 1024;
/// The largest body (an array or a batch), in bytes: 4.5 MiB. Segment's batches end at 4 MB.
pub(super) const MAX_BODY_BYTES: usize = 4 * 1024 * 1024 + 512 * 1024;
/// The most events of one request. Each needs a result, however small the event is. Segment's batches end at 4,000.
pub(super) const MAX_EVENTS: usize = 50_000;
/// The most notes in the result of one event.
pub(super) const MAX_NOTES: usize = 10;
/// The most notes in the response to an array; the results of further events have none. A note is a short sentence, so a response has at
/// most about 100 KB of notes.
pub(super) const MAX_NOTES_OF_ARRAY: usize = 1_000;
