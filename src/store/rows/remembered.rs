//! Rows of remembered traits: the columns that a delivery reads.

use super::{Columns, Damaged, timestamp};
use crate::delivery::SealedTraits;

/// Reads the sealed bytes and the moment from which they no longer count, in this order.
pub fn sealed(row: &impl Columns, at: usize) -> Result<SealedTraits, Damaged> {
    let damaged = Damaged("remembered_traits.sealed");
    let sealed = row.blob(at, damaged.0)?.ok_or(damaged)?.to_vec();
    Ok(SealedTraits { sealed, expires_at: timestamp(row, at + 1, "remembered_traits.expires_at")? })
}
