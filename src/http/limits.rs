//! How much a request may hold. The texts of the answers repeat these figures.

/// The largest single event: 128 KiB. Segment's own ingest caps events at 32 KB before it adds its fields.
pub(super) const MAX_OBJECT: usize = 128 * 1024;
/// The largest array or batch: 4.5 MiB. Segment's batches end at 4 MB.
pub(super) const MAX_ARRAY: usize = 4 * 1024 * 1024 + 512 * 1024;
/// The most events of an array: each costs an answer, however small it is. Segment's batches end at 4,000.
pub(super) const MAX_EVENTS: usize = 50_000;
