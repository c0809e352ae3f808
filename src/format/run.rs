//! RUN: event id tags of a stretch of the log, sorted, with a filter in front. Derived from
//! entries, bound by a snapshot, replaced as a whole. It holds keyed tags that the log shows
//! anyway, and nothing else of an event.
//!
//! ```text
//! off size field
//!   0   4  "CHD1"
//!   4  16  tenant
//!  20   8  first index       28  8  end index (exclusive)
//!  36   8  n rows, above 0   44  8  log time of the newest of them
//!  52      n x ( tag[16] | index u64 ), strictly ascending by tag
//!          ceil(n / 128) x ( first tag[16] | SHA-256 of the chunk's 128 rows or fewer )
//!          b x 64 bytes: the filter, b = ceil(12 n / 512)
//! ```
//!
//! Filter: a tag's block is floor(u64(tag[0..8]) * b / 2^64); in it the seven bits are set that the
//! nine-bit digits of u64(tag[8..16]), lowest first, name; bit i is bit i mod 8, lowest first, of
//! byte i / 8.

use crate::base::id::{EventIdTag, Hash32, TenantId};
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::crypto::hash::sha256;
use crate::crypto::kdf::label;
use crate::format::wire::{Reader, Result, Write};

/// First bytes of a run, version included.
pub const MAGIC: [u8; 4] = *b"CHD1";
/// Bytes before the first row.
pub const HEAD_BYTES: usize = 52;
/// Bytes of a row.
pub const ROW_BYTES: usize = 24;
/// Rows of a chunk: what one look-up reads and hashes, 3 KiB.
pub const CHUNK_ROWS: usize = 128;
/// Bytes of a chunk's line in the table.
pub const LINE_BYTES: usize = 48;
/// Bytes of a block of the filter: a cache line.
pub const BLOCK_BYTES: usize = 64;
/// Bits of the filter a row: with seven of them set in one block, one absent tag in 170 passes.
const ROW_BITS: usize = 12;
const TAG_BITS: usize = 7;

/// A row: the tag and the entry it was seen in.
pub type Row = (EventIdTag, EntryIndex);

/// What a snapshot says of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunInfo {
    /// First entry it covers.
    pub first: EntryIndex,
    /// Entry after the last one it covers.
    pub end: EntryIndex,
    /// Rows.
    pub rows: u64,
    /// Log time of the newest entry in it.
    pub until: UtcNanos,
    /// Hash of all but the rows, which the table in it binds.
    pub hash: Hash32,
}

impl RunInfo {
    /// Bytes before the first row.
    pub fn head(&self, tenant: &TenantId) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.raw(&MAGIC);
        out.raw(&tenant.0);
        out.put_u64(self.first.0);
        out.put_u64(self.end.0);
        out.put_u64(self.rows);
        out.put_u64(self.until.0);
        out
    }

    /// Appends what a snapshot holds of it.
    pub fn put(&self, out: &mut Vec<u8>) {
        let RunInfo { first, end, rows, until, hash } = self;
        out.put_u64(first.0);
        out.put_u64(end.0);
        out.put_u64(*rows);
        out.put_u64(until.0);
        out.raw(&hash.0);
    }

    /// Reads what a snapshot holds of a run.
    ///
    /// # Errors
    /// `Malformed` for an empty run.
    pub fn read(reader: &mut Reader<'_>) -> Result<RunInfo> {
        let first = EntryIndex(reader.u64("run first")?);
        let end = EntryIndex(reader.u64("run end")?);
        let rows = reader.u64("run rows")?;
        let until = UtcNanos(reader.u64("run time")?);
        let hash = Hash32(reader.array("run hash")?);
        match end > first && rows > 0 && rows <= end.0 - first.0 {
            true => Ok(RunInfo { first, end, rows, until, hash }),
            false => Err(reader.malformed("run contradicts itself")),
        }
    }
}

/// Bytes of a row.
pub fn encode_row((tag, index): &Row) -> [u8; ROW_BYTES] {
    let mut out = [0; ROW_BYTES];
    let (left, right) = out.split_at_mut(EventIdTag::LEN);
    left.copy_from_slice(&tag.0);
    right.copy_from_slice(&index.0.to_be_bytes());
    out
}

/// Reads the rows of a chunk.
pub fn decode_rows(bytes: &[u8]) -> impl Iterator<Item = Row> + '_ {
    bytes.chunks_exact(ROW_BYTES).filter_map(|row| {
        let (tag, index) = row.split_first_chunk::<16>()?;
        Some((EventIdTag(*tag), EntryIndex(u64::from_be_bytes(index.try_into().ok()?))))
    })
}

/// Blocks of the filter of so many rows.
pub fn blocks(rows: u64) -> u64 {
    rows.saturating_mul(ROW_BITS as u64).div_ceil(BLOCK_BYTES as u64 * 8)
}

/// Chunks of so many rows.
pub fn chunks(rows: u64) -> u64 {
    rows.div_ceil(CHUNK_ROWS as u64)
}

/// The hash by which a snapshot binds a run: over head, table and filter.
pub fn hash(head: &[u8], table: &[u8], filter: &[u8]) -> Hash32 {
    sha256(&[label::RUN, head, table, filter])
}

/// Which block a tag lies in, and which of its bytes have which bits.
fn bits(tag: &EventIdTag, blocks: u64) -> (usize, [(usize, u8); TAG_BITS]) {
    let [a, b] = [tag.0.first_chunk::<8>(), tag.0.last_chunk::<8>()]
        .map(|half| half.copied().map_or(0, u64::from_be_bytes));
    let block = ((u128::from(a) * u128::from(blocks)) >> 64) as usize;
    let mut found = [(0, 0); TAG_BITS];
    for (at, bit) in found.iter_mut().enumerate() {
        let number = (b >> (9 * at)) & 511;
        *bit = ((number / 8) as usize, 1 << (number % 8));
    }
    (block * BLOCK_BYTES, found)
}

/// The filter of these tags.
pub fn filter(tags: impl ExactSizeIterator<Item = EventIdTag>) -> Vec<u8> {
    let blocks = blocks(tags.len() as u64);
    let mut out = vec![0; usize::try_from(blocks).unwrap_or(0) * BLOCK_BYTES];
    for tag in tags {
        let (block, bits) = bits(&tag, blocks);
        for (byte, mask) in bits {
            out.iter_mut().skip(block + byte).take(1).for_each(|b| *b |= mask);
        }
    }
    out
}

/// Whether a filter lets a tag pass: always when it is in the run, seldom otherwise.
pub fn passes(filter: &[u8], tag: &EventIdTag) -> bool {
    let (block, bits) = bits(tag, (filter.len() / BLOCK_BYTES) as u64);
    let Some(block) = filter.get(block..block + BLOCK_BYTES) else { return true };
    bits.iter().all(|(byte, mask)| block.get(*byte).is_some_and(|b| b & mask != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_passes_what_is_in_it_and_little_else() {
        let tag = |n: u64| EventIdTag(sha256(&[&n.to_be_bytes()]).0[..16].try_into().unwrap());
        let made = filter((0..5_000).map(tag).collect::<Vec<_>>().into_iter());
        assert_eq!(made.len() as u64, blocks(5_000) * 64);
        assert!((0..5_000).all(|n| passes(&made, &tag(n))));
        let strangers = (5_000..105_000).filter(|n| passes(&made, &tag(*n))).count();
        assert!((200..1_200).contains(&strangers), "{strangers} of 100,000 pass");
    }
}
