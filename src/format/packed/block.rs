//! A block: a run of whole units without what follows from the rest. Decoding gives back exactly
//! the bytes of the units, hashes and signatures included; it does not judge them.
//!
//! ```text
//!    0   4  length of the block          4   4  CRC-32 of all that follows
//!    8   8  length of the units          16  8  number of the first unit
//!   24   8  index of the first entry     32 32  hash of the unit before, zero at 0
//!   64  32  leaf hash of the entry before, zero at 0
//!   96   4  length of the compressible part when expanded
//!  100      lp32 raw DEFLATE of the compressible part | lp32 random part
//!
//! compressible: lp32 units | columns of the entries (`columns`)
//!   units: varint count x ( varint entries | varint writer epoch
//!     | varint 0 = no state entry before, else distance from first to it | varint n
//!     | n x ( varint class | varint bucket | varint start | varint length ) )
//! random: lp32 units: each root[32] | signature[64]; lp32 entries (`columns`)
//! ```

use crate::base::id::{Hash32, TenantId};
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex, TreeSize};
use crate::crypto::hash::leaf_hash;
use crate::format::entry;
use crate::format::packed::columns::{Columns, Rows};
use crate::format::packed::squeeze::{expand, squeeze};
use crate::format::unit::{self, BodySpan, UnitHead};
use crate::format::wire::{Malformed, Reader, Result, Write, len_of};

/// Bytes before the compressible part.
pub const HEAD_BYTES: usize = 100;
/// A block is closed once its units are longer: what one read of an entry has to rebuild.
pub const UNITS_BYTES_AIM: usize = 256 * 1024;
/// Units of a block together: the longest unit there can be (10,000 entries of 16 KiB).
pub const UNITS_BYTES_MAX: u64 = 192 << 20;

/// Where a block stands: what its first unit and entry follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// Number of the first unit.
    pub unit: u64,
    /// Index of the first entry.
    pub entry: EntryIndex,
    /// Hash of the unit before.
    pub unit_hash: Hash32,
    /// Leaf hash of the entry before.
    pub leaf: Hash32,
}

impl Start {
    /// The beginning of a log.
    pub const ZERO: Start =
        Start { unit: 0, entry: EntryIndex(0), unit_hash: Hash32::ZERO, leaf: Hash32::ZERO };
}

/// Packs a run of units, end to end in `units`; returns the block and what follows it.
///
/// # Errors
/// `Malformed` when they are not whole units of this tenant that continue `start`, or do not come
/// back to the byte: then they stay as they are.
pub fn pack(tenant: &TenantId, start: Start, units: &[u8]) -> Result<(Vec<u8>, Start)> {
    let (mut heads, mut roots, mut columns) = (Vec::new(), Vec::new(), Columns::default());
    let (mut next, mut count) = (start, 0u64);
    let mut reader = Reader::new(units);
    let mut rows = Vec::new();
    while !reader.rest().is_empty() {
        let at = reader.malformed("unit of a block");
        let head = unit::decode_head(&mut reader.clone())?;
        let bytes = reader.take(usize::try_from(head.len).unwrap_or(usize::MAX), "unit")?;
        let unit = unit::decode(bytes)?;
        if (head.number, head.first, head.prev) != (next.unit, next.entry, next.unit_hash) {
            return Err(at);
        }
        for bytes in &unit.entries {
            let entry = entry::decode(bytes)?;
            if (entry.index, entry.prev, &entry.head.tenant) != (next.entry, next.leaf, tenant) {
                return Err(at);
            }
            columns.push(&entry);
            next.entry = EntryIndex(next.entry.0 + 1);
            next.leaf = leaf_hash(bytes);
        }
        put_head(&mut heads, &head);
        roots.raw(&head.root.0);
        roots.raw(&unit.signature);
        (next.unit, next.unit_hash) = (head.number + 1, unit.hash);
        count += 1;
    }
    rows.put_varint(count);
    rows.raw(&heads);
    let block = seal(start, units.len() as u64, &rows, &roots, columns);
    match unpack(tenant, &block) {
        Ok(back) if back.units == units => Ok((block, next)),
        _ => Err(Malformed { offset: 0, what: "units that do not come back as they were" }),
    }
}

fn seal(start: Start, len: u64, heads: &[u8], roots: &[u8], columns: Columns) -> Vec<u8> {
    let (columns, random) = columns.finish();
    let mut plain = Vec::with_capacity(heads.len() + columns.len() + 4);
    plain.put_lp32(heads);
    plain.raw(&columns);
    let mut out = Vec::with_capacity(random.len() + roots.len() + plain.len() / 4 + 128);
    out.raw(&[0; 8]);
    out.put_u64(len);
    out.put_u64(start.unit);
    out.put_u64(start.entry.0);
    out.raw(&start.unit_hash.0);
    out.raw(&start.leaf.0);
    out.put_u32(len_of(plain.len()));
    out.put_lp32(&squeeze(&plain));
    out.put_u32(len_of(roots.len() + random.len() + 8));
    out.put_lp32(roots);
    out.put_lp32(&random);
    let len: u32 = len_of(out.len());
    let crc = crc32fast::hash(out.get(8..).unwrap_or_default());
    let front = len.to_be_bytes().into_iter().chain(crc.to_be_bytes());
    out.iter_mut().zip(front).for_each(|(slot, byte)| *slot = byte);
    out
}

fn put_head(out: &mut Vec<u8>, head: &UnitHead) {
    out.put_varint(head.end.0 - head.first.0);
    out.put_varint(head.epoch);
    out.put_varint(head.state_before.map_or(0, |at| head.first.0 - at.0));
    out.put_varint(head.spans.len() as u64);
    for span in &head.spans {
        out.put_varint(u64::from(span.class_day.class.0));
        out.put_varint(u64::from(span.class_day.day.0));
        out.put_varint(span.start);
        out.put_varint(span.end - span.start);
    }
}

/// What a block gives back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpacked {
    /// Where it stands.
    pub start: Start,
    /// Its units, end to end.
    pub units: Vec<u8>,
}

/// Reads where a block stands and how long its units are, without rebuilding them.
///
/// # Errors
/// `Malformed` when it is not one block, or its CRC is wrong.
pub fn peek(bytes: &[u8]) -> Result<(Start, u64)> {
    front(&mut Reader::new(bytes))
}

fn front(reader: &mut Reader<'_>) -> Result<(Start, u64)> {
    let all = reader.rest();
    let len = reader.u32("block length")?;
    let crc = reader.u32("block crc")?;
    if u64::from(len) != all.len() as u64 || crc32fast::hash(reader.rest()) != crc {
        return Err(reader.malformed("block length or crc"));
    }
    let units = reader.u64("length of the units")?;
    let start = Start {
        unit: reader.u64("first unit")?,
        entry: EntryIndex(reader.u64("first entry")?),
        unit_hash: Hash32(reader.array("previous unit")?),
        leaf: Hash32(reader.array("previous leaf")?),
    };
    match units <= UNITS_BYTES_MAX {
        true => Ok((start, units)),
        false => Err(reader.malformed("units longer than 192 MiB")),
    }
}

/// Rebuilds the units of a block.
///
/// # Errors
/// `Malformed` when the bytes are not exactly one block.
pub fn unpack(tenant: &TenantId, bytes: &[u8]) -> Result<Unpacked> {
    let mut reader = Reader::new(bytes);
    let (start, len) = front(&mut reader)?;
    let plain_len = u64::from(reader.u32("expanded length")?);
    if plain_len > len.saturating_add(1 << 16) {
        return Err(reader.malformed("columns longer than their units"));
    }
    let plain = expand(reader.lp32("columns")?, usize::try_from(plain_len).unwrap_or(0))
        .ok_or(reader.malformed("columns do not expand"))?;
    let mut random = Reader::new(reader.lp32("random part")?);
    reader.done()?;
    let mut roots = Reader::new(random.lp32("roots")?);
    let mut plain = Reader::new(&plain);
    let mut heads = Reader::new(plain.lp32("unit heads")?);
    let mut rows = Rows::new(*tenant, plain.rest(), random.lp32("random of the entries")?)?;
    random.done()?;
    // What is said costs nothing before it is seen.
    let mut units = Vec::with_capacity(usize::try_from(len).unwrap_or(0).min(UNITS_BYTES_AIM));
    let mut next = start;
    for _ in 0..heads.varint("units")? {
        rebuild(&mut heads, &mut roots, &mut rows, &mut next, &mut units)?;
        if units.len() as u64 > len {
            return Err(heads.malformed("units longer than they say"));
        }
    }
    heads.done()?;
    roots.done()?;
    rows.done()?;
    match units.len() as u64 == len {
        true => Ok(Unpacked { start, units }),
        false => Err(reader.malformed("units shorter than they say")),
    }
}

/// Appends the next unit.
fn rebuild(
    heads: &mut Reader<'_>,
    roots: &mut Reader<'_>,
    rows: &mut Rows<'_>,
    next: &mut Start,
    out: &mut Vec<u8>,
) -> Result<()> {
    let first = next.entry;
    let count = heads.varint("entries of a unit")?;
    let epoch = heads.varint("writer epoch")?;
    let state = heads.varint("state entry")?;
    let wrong = heads.malformed("unit head contradicts itself");
    let state_before = match state {
        0 => None,
        by => Some(EntryIndex(first.0.checked_sub(by).ok_or(wrong.clone())?)),
    };
    let spans = spans(heads)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let entry = rows.next(next.entry, next.leaf)?;
        let bytes = entry::encode(&entry)?;
        next.leaf = leaf_hash(&bytes);
        next.entry = EntryIndex(next.entry.0.checked_add(1).ok_or(wrong.clone())?);
        entries.put_lp16(&bytes);
        if entries.len() as u64 > UNITS_BYTES_MAX {
            return Err(wrong);
        }
    }
    let mut head = UnitHead {
        len: 0,
        number: next.unit,
        epoch,
        prev: next.unit_hash,
        first,
        end: TreeSize(next.entry.0),
        root: Hash32(roots.array("root")?),
        state_before,
        spans,
    };
    let signature = roots.array("signature")?;
    let (bytes, hash) = unit::encode(&mut head, &entries, |_| signature);
    (next.unit, next.unit_hash) = (next.unit.checked_add(1).ok_or(wrong)?, hash);
    out.raw(&bytes);
    Ok(())
}

fn spans(heads: &mut Reader<'_>) -> Result<Vec<BodySpan>> {
    let count = heads.varint("body files")?;
    if count > unit::SPANS_MAX as u64 {
        return Err(heads.malformed("more than 64 body files"));
    }
    let mut spans = Vec::new();
    for _ in 0..count {
        let wrong = heads.malformed("body span");
        let class = u16::try_from(heads.varint("class")?).map_err(|_| wrong.clone())?;
        let day = u32::try_from(heads.varint("bucket")?).map_err(|_| wrong.clone())?;
        let start = heads.varint("start")?;
        let end = start.checked_add(heads.varint("length")?).ok_or(wrong)?;
        let class_day = ClassDay { class: ClassId(class), day: Day(day) };
        spans.push(BodySpan { class_day, start, end });
    }
    Ok(spans)
}
