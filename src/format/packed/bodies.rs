//! A packed body file: the frames of a past class-day without what the log says too. It stands in
//! place of the file it was made from and is read by that file's offsets, because units name
//! spans of it for ever. It holds no key and opens nothing.
//!
//! ```text
//! file bodies/<class>/<YYYY-MM-DD>.seg
//!    0  32  as a plain body file's head, with "CHB2"
//!   32      blocks, end to end
//!           rows, one a block: offset in the plain file u64 | offset here u64
//!  -32   8  length of the plain file
//!  -24   8  offset of the first row
//!  -16   4  number of rows
//!  -12   4  CRC-32 of all from the first row to here
//!   -8   8  "CHB2END" 00
//!
//! block
//!    0   4  length of the block
//!    4   4  CRC-32 of all that follows
//!    8   8  offset of its first frame in the plain file
//!   16   8  index of its first frame's entry
//!   24      frames: varint index less the one before | varint offset less the one before
//!           | group u8 | algorithm u8 | nonce[12] | varint length | ciphertext || tag[16]
//! ```
//!
//! The record id is left out: the entry has it, and the associated data binds it.

use crate::base::id::{RecordId, TenantId};
use crate::base::unit::{ClassDay, EntryIndex};
use crate::format::body::{self, Frame};
use crate::format::wire::{Malformed, Reader, Result, Write, len_of};

/// First bytes of a packed body file.
pub const MAGIC: [u8; 4] = *b"CHB2";
/// Last bytes.
pub const END: [u8; 8] = *b"CHB2END\0";
/// Bytes after the last row.
pub const TRAILER_BYTES: usize = 32;
/// Bytes of a row.
pub const ROW_BYTES: usize = 16;
/// A block is closed once its frames are longer.
pub const BLOCK_BYTES_AIM: usize = 64 * 1024;
/// A block is never longer: one frame beyond the aim, of an event of 1 MiB and its names.
pub const BLOCK_BYTES_MAX: u64 = 4 << 20;

/// The head of a packed body file.
pub fn file_head(tenant: &TenantId, class_day: ClassDay) -> Vec<u8> {
    let mut head = body::file_head(tenant, class_day);
    head.iter_mut().zip(MAGIC).for_each(|(slot, byte)| *slot = byte);
    head
}

/// A frame and where it started in the plain file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed<'a> {
    /// Offset in the plain file.
    pub offset: u64,
    /// The frame; the record id of a packed one is zero: ask the entry.
    pub frame: Frame<'a>,
}

/// A block being filled. Frames must ascend by offset and by index.
#[derive(Default)]
pub struct Block {
    out: Vec<u8>,
    first: u64,
    last: (u64, u64),
}

impl Block {
    /// Appends a frame.
    pub fn push(&mut self, placed: &Placed<'_>) {
        let frame = &placed.frame;
        if self.out.is_empty() {
            self.first = placed.offset;
            self.last = (frame.index.0, placed.offset);
            self.out.raw(&[0; 8]);
            self.out.put_u64(placed.offset);
            self.out.put_u64(frame.index.0);
        }
        self.out.put_varint(frame.index.0.saturating_sub(self.last.0));
        self.out.put_varint(placed.offset.saturating_sub(self.last.1));
        self.last = (frame.index.0, placed.offset);
        self.out.put_u8(frame.group);
        self.out.put_u8(frame.alg);
        self.out.raw(&frame.nonce);
        self.out.put_varint(frame.sealed.len() as u64);
        self.out.raw(frame.sealed);
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The block, and the offset of its first frame in the plain file.
    pub fn finish(mut self) -> (Vec<u8>, u64) {
        let len: u32 = len_of(self.out.len());
        let crc = crc32fast::hash(self.out.get(8..).unwrap_or_default());
        let front = len.to_be_bytes().into_iter().chain(crc.to_be_bytes());
        self.out.iter_mut().zip(front).for_each(|(slot, byte)| *slot = byte);
        (self.out, self.first)
    }
}

/// The frames of a block.
///
/// # Errors
/// `Malformed` when the bytes are not exactly one block.
pub fn frames(bytes: &[u8]) -> Result<Vec<Placed<'_>>> {
    let mut reader = Reader::new(bytes);
    let len = reader.u32("block length")?;
    let crc = reader.u32("block crc")?;
    if u64::from(len) != bytes.len() as u64 || crc32fast::hash(reader.rest()) != crc {
        return Err(reader.malformed("block length or crc"));
    }
    let mut offset = reader.u64("first offset")?;
    let mut index = reader.u64("first index")?;
    let mut found: Vec<Placed<'_>> = Vec::new();
    while !reader.rest().is_empty() {
        let (by, on) = (reader.varint("index")?, reader.varint("offset")?);
        let wrong = reader.malformed("frames not ascending");
        index = index.checked_add(by).ok_or(wrong.clone())?;
        offset = offset.checked_add(on).ok_or(wrong.clone())?;
        let group = reader.u8("frame group")?;
        let alg = reader.u8("frame algorithm")?;
        let nonce = reader.array("frame nonce")?;
        let len = usize::try_from(reader.varint("frame length")?).unwrap_or(usize::MAX);
        let sealed = reader.take(len, "frame ciphertext")?;
        let (index, record) = (EntryIndex(index), RecordId::ZERO);
        let frame = Frame { index, group, alg, record, nonce, sealed, intact: body::known(alg) };
        let after = |last: &Placed<'_>| {
            (last.frame.index, last.frame.group) < (index, group) && last.offset < offset
        };
        if !found.last().map_or(by == 0 && on == 0, after) {
            return Err(wrong);
        }
        found.push(Placed { offset, frame });
    }
    match found.is_empty() {
        true => Err(reader.malformed("block without a frame")),
        false => Ok(found),
    }
}

/// The rows of a packed body file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rows {
    /// Offset in the plain file and here, of each block; ascending.
    pub rows: Vec<(u64, u64)>,
    /// Length of the plain file.
    pub plain_len: u64,
    /// Offset of the first row: the end of the last block.
    pub packed_end: u64,
}

impl Rows {
    /// The end of a packed body file: rows and trailer.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rows.len() * ROW_BYTES + TRAILER_BYTES);
        for (plain, packed) in &self.rows {
            out.put_u64(*plain);
            out.put_u64(*packed);
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
        reader.magic(&END, "end of a packed body file")?;
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
        let count = bytes.len().saturating_sub(TRAILER_BYTES) / ROW_BYTES;
        let mut rows: Vec<(u64, u64)> = Vec::new();
        for _ in 0..count {
            let row = (reader.u64("row")?, reader.u64("row")?);
            if rows.last().is_some_and(|last| last.0 >= row.0 || last.1 >= row.1) {
                return Err(reader.malformed("rows not ascending"));
            }
            rows.push(row);
        }
        let plain_len = reader.u64("length")?;
        let packed_end = reader.u64("offset of the rows")?;
        let counted = usize::try_from(reader.u32("number of rows")?) == Ok(count);
        let crc = reader.u32("crc")?;
        reader.magic(&END, "end of a packed body file")?;
        reader.done()?;
        let first =
            rows.first().is_none_or(|row| *row == (body::FILE_HEAD_BYTES, body::FILE_HEAD_BYTES));
        let last = rows.last().is_none_or(|row| row.0 < plain_len && row.1 < packed_end);
        match counted && first && last && crc == crc32fast::hash(covered) {
            true => Ok(Rows { rows, plain_len, packed_end }),
            false => Err(reader.malformed("rows contradict themselves")),
        }
    }

    /// Offset in the plain file of the first frame of the block at `packed`, as its row says.
    pub fn first_of(&self, packed: u64) -> Option<u64> {
        let at = self.rows.binary_search_by_key(&packed, |row| row.1).ok()?;
        self.rows.get(at).map(|row| row.0)
    }

    /// Where the blocks lie that hold bytes `start..end` of the plain file.
    pub fn covering(&self, start: u64, end: u64) -> std::ops::Range<u64> {
        let after = self.rows.partition_point(|row| row.0 <= start);
        let from = after.checked_sub(1).and_then(|at| self.rows.get(at)).map(|row| row.1);
        let until = self.rows.partition_point(|row| row.0 < end);
        let until = self.rows.get(until).map_or(self.packed_end, |row| row.1);
        from.unwrap_or(until)..until
    }
}

/// Splits bytes into the blocks they consist of.
///
/// # Errors
/// `Malformed` at the first that is cut short; blocks before it were given.
pub fn blocks(mut bytes: &[u8]) -> impl Iterator<Item = Result<&[u8]>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let len = bytes.first_chunk().map_or(0, |len| u32::from_be_bytes(*len));
        let split = usize::try_from(len).ok().filter(|len| *len >= 24);
        match split.and_then(|len| bytes.split_at_checked(len)) {
            Some((block, rest)) => {
                bytes = rest;
                Some(Ok(block))
            }
            None => {
                bytes = &[];
                Some(Err(Malformed { offset: 0, what: "block cut short" }))
            }
        }
    })
}
