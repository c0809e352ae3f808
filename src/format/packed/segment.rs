//! The frame around the blocks of a packed segment: its head, and the rows that find a block by
//! place, unit or entry. Layout: `format/packed`. It holds no unit's bytes and judges none.

use crate::base::id::TenantId;
use crate::base::unit::EntryIndex;
use crate::format::packed::block::Start;
use crate::format::wire::{Reader, Result, Write, len_of};

/// First bytes, version included.
pub const MAGIC: [u8; 4] = *b"CHP1";
/// Last bytes.
pub const END: [u8; 8] = *b"CHP1END\0";
/// Bytes before the first block.
pub const HEAD_BYTES: usize = 24;
/// Bytes after the last row.
pub const TRAILER_BYTES: usize = 32;
/// Bytes of a row.
pub const ROW_BYTES: usize = 32;

/// The head of a packed segment.
pub fn head(segment: u32, tenant: &TenantId) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    out.raw(&MAGIC);
    out.put_u32(segment);
    out.raw(&tenant.0);
    out
}

/// Reads a head.
///
/// # Errors
/// `Malformed` when it is not one.
pub fn decode_head(bytes: &[u8]) -> Result<(u32, TenantId)> {
    let mut reader = Reader::new(bytes);
    reader.magic(&MAGIC, "packed segment magic")?;
    let segment = reader.u32("segment number")?;
    let tenant = TenantId(reader.array("tenant")?);
    reader.done()?;
    Ok((segment, tenant))
}

/// Where a block lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Offset of its first unit in the segment it was made from.
    pub plain: u64,
    /// Offset of the block in the packed file.
    pub packed: u64,
    /// Number of its first unit.
    pub unit: u64,
    /// Index of its first entry.
    pub entry: EntryIndex,
}

impl Row {
    /// The row of a block.
    pub fn of(start: &Start, plain: u64, packed: u64) -> Row {
        Row { plain, packed, unit: start.unit, entry: start.entry }
    }
}

/// The rows of a packed segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rows {
    /// Ascending in every column; never empty.
    pub rows: Vec<Row>,
    /// Length of the segment it was made from.
    pub plain_len: u64,
    /// Offset of the first row: the end of the last block.
    pub packed_end: u64,
}

impl Rows {
    /// The end of a packed segment: rows and trailer.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rows.len() * ROW_BYTES + TRAILER_BYTES);
        for row in &self.rows {
            out.put_u64(row.plain);
            out.put_u64(row.packed);
            out.put_u64(row.unit);
            out.put_u64(row.entry.0);
        }
        out.put_u64(self.plain_len);
        out.put_u64(self.packed_end);
        out.put_u32(len_of(self.rows.len()));
        out.put_u32(crc32fast::hash(&out));
        out.raw(&END);
        out
    }

    /// Reads the trailer, the last `TRAILER_BYTES` of a file: offset and number of the rows.
    ///
    /// # Errors
    /// `Malformed` when it is not one.
    pub fn trailer(bytes: &[u8]) -> Result<(u64, u32)> {
        let mut reader = Reader::new(bytes);
        reader.u64("length")?;
        let at = reader.u64("offset of the rows")?;
        let count = reader.u32("number of rows")?;
        reader.u32("crc")?;
        reader.magic(&END, "end of a packed segment")?;
        reader.done()?;
        Ok((at, count))
    }

    /// Reads rows and trailer.
    ///
    /// # Errors
    /// `Malformed` when they contradict themselves or the CRC is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Rows> {
        let mut reader = Reader::new(bytes);
        let covered = bytes.len().checked_sub(12).and_then(|end| bytes.get(..end));
        let covered = covered.ok_or(reader.malformed("rows cut short"))?;
        let count = (bytes.len().saturating_sub(TRAILER_BYTES)) / ROW_BYTES;
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..count {
            let row = Row {
                plain: reader.u64("row")?,
                packed: reader.u64("row")?,
                unit: reader.u64("row")?,
                entry: EntryIndex(reader.u64("row")?),
            };
            let rises = rows.last().is_none_or(|last| {
                last.plain < row.plain
                    && last.packed < row.packed
                    && last.unit < row.unit
                    && last.entry < row.entry
            });
            if !rises {
                return Err(reader.malformed("rows not ascending"));
            }
            rows.push(row);
        }
        let plain_len = reader.u64("length")?;
        let packed_end = reader.u64("offset of the rows")?;
        let counted = usize::try_from(reader.u32("number of rows")?) == Ok(count);
        let crc = reader.u32("crc")?;
        reader.magic(&END, "end of a packed segment")?;
        reader.done()?;
        let first = rows.first().map(|row| (row.plain, row.packed));
        let last = rows.last().map(|row| row.plain < plain_len && row.packed < packed_end);
        let whole = first == Some((0, HEAD_BYTES as u64)) && last == Some(true);
        match counted && whole && crc == crc32fast::hash(covered) {
            true => Ok(Rows { rows, plain_len, packed_end }),
            false => Err(reader.malformed("rows contradict themselves")),
        }
    }

    /// The block that holds byte `plain` of the segment it was made from: its position, where its
    /// units start and end there, and where it starts and ends here.
    pub fn at(&self, plain: u64) -> Option<Place> {
        let after = self.rows.partition_point(|row| row.plain <= plain);
        let number = after.checked_sub(1)?;
        let (row, next) = (self.rows.get(number)?, self.rows.get(after));
        let plain_end = next.map_or(self.plain_len, |next| next.plain);
        let packed_end = next.map_or(self.packed_end, |next| next.packed);
        let (plain_at, packed) = (row.plain, row.packed..packed_end);
        (plain < plain_end).then_some(Place { number, plain: plain_at..plain_end, packed })
    }
}

/// A block found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Position among the blocks.
    pub number: usize,
    /// Its units in the segment it was made from.
    pub plain: std::ops::Range<u64>,
    /// Its bytes in the packed file.
    pub packed: std::ops::Range<u64>,
}
