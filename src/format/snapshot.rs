//! SNAPSHOT: what an opening would learn by reading the log up to one of its units, signed by the
//! log key. Derived: deletable, and only ever a reason to read less. It holds nothing that the
//! log does not show, so it is not sealed.
//!
//! ```text
//! off size field
//!   0   4  "CHS1"
//!   4   8  length of the whole file
//!  12  16  tenant
//!  28   8  number of the unit it is bound to        36  32  hash of that unit
//!  68   8  end: entries up to and with that unit    76  32  root of the log at end
//! 108   8  where the unit starts in its segment
//! 116  32  leaf hash of entry end - 1
//! 148   8  state: 1 + index of the last state entry below end, or 0
//! 156      popcount(end) x hash[32]: roots of the perfect subtrees of the tree, largest first
//!          u32 n, n x ( segment u32 | first unit u64 | first index u64 | previous unit[32] |
//!              length u64 ), strictly ascending: every segment; the last holds the unit
//!          u32 n, n x ( class u16 | bucket u32 | end u64 ), strictly ascending: body files
//!          u32 n, n x ( source[16] | high u64 | u32 m, m x ( first u64 | last u64 ) ), ascending:
//!              counting sources, and the numbers below high that did not come
//!          u32 n, n x ( first u64 | end u64 | rows u64 | time u64 | hash[32] ), ascending: runs
//!          lp32 facts: their own page says how
//!     64   Ed25519 of the log key over "chancery/v1/snapshot\0" || SHA-256 of all before
//! ```

use crate::base::id::{Hash32, SourceHandle, TenantId};
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex, TreeSize};
use crate::crypto::hash::sha256;
use crate::crypto::kdf::label;
use crate::format::run::RunInfo;
use crate::format::unit::SIGNATURE_BYTES;
use crate::format::wire::{Malformed, Reader, Result, Write, len_of};

/// First bytes of a snapshot, version included.
pub const MAGIC: [u8; 4] = *b"CHS1";

/// One segment of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Number in its name.
    pub number: u32,
    /// Number of its first unit.
    pub first_unit: u64,
    /// Index of its first entry.
    pub first: EntryIndex,
    /// Hash of the unit before it.
    pub prev: Hash32,
    /// Bytes of units.
    pub len: u64,
}

/// A counting source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counter {
    /// The source.
    pub source: SourceHandle,
    /// Highest number used.
    pub high: u64,
    /// First and last missing number of each gap below it, ascending.
    pub gaps: Vec<(u64, u64)>,
}

/// A snapshot's contents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Whose log.
    pub tenant: TenantId,
    /// Number of the unit.
    pub unit: u64,
    /// Its hash.
    pub hash: Hash32,
    /// Size of the log after it.
    pub end: TreeSize,
    /// Root of the log after it.
    pub root: Hash32,
    /// Where it starts in the last segment.
    pub offset: u64,
    /// Leaf hash of the last entry.
    pub prev: Hash32,
    /// Last state entry.
    pub state: Option<EntryIndex>,
    /// Edge of the tree.
    pub edge: Vec<Hash32>,
    /// Every segment.
    pub segments: Vec<Segment>,
    /// Committed ends of body files.
    pub ends: Vec<(ClassDay, u64)>,
    /// Counting sources.
    pub counters: Vec<Counter>,
    /// Runs of event id tags.
    pub runs: Vec<RunInfo>,
    /// What the vault is bound to, encoded.
    pub facts: Vec<u8>,
}

/// Encodes and signs.
pub fn encode(snapshot: &Snapshot, sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES]) -> Vec<u8> {
    let Snapshot { tenant, unit, hash, end, root, offset, prev, state, .. } = snapshot;
    let mut out = MAGIC.to_vec();
    out.put_u64(0);
    out.raw(&tenant.0);
    out.put_u64(*unit);
    out.raw(&hash.0);
    out.put_u64(end.0);
    out.raw(&root.0);
    out.put_u64(*offset);
    out.raw(&prev.0);
    out.put_u64(state.map_or(0, |i| i.0 + 1));
    put_lists(&mut out, snapshot);
    let len = (out.len() + SIGNATURE_BYTES) as u64;
    out.iter_mut().skip(MAGIC.len()).zip(len.to_be_bytes()).for_each(|(at, byte)| *at = byte);
    let signature = sign(&message(&out));
    out.raw(&signature);
    out
}

fn put_lists(out: &mut Vec<u8>, snapshot: &Snapshot) {
    let Snapshot { edge, segments, ends, counters, runs, facts, .. } = snapshot;
    edge.iter().for_each(|hash| out.raw(&hash.0));
    out.put_u32(len_of(segments.len()));
    for Segment { number, first_unit, first, prev, len } in segments {
        out.put_u32(*number);
        out.put_u64(*first_unit);
        out.put_u64(first.0);
        out.raw(&prev.0);
        out.put_u64(*len);
    }
    out.put_u32(len_of(ends.len()));
    for (class_day, end) in ends {
        out.put_u16(class_day.class.0);
        out.put_u32(class_day.day.0);
        out.put_u64(*end);
    }
    out.put_u32(len_of(counters.len()));
    for Counter { source, high, gaps } in counters {
        out.raw(&source.0);
        out.put_u64(*high);
        out.put_u32(len_of(gaps.len()));
        for (first, last) in gaps {
            out.put_u64(*first);
            out.put_u64(*last);
        }
    }
    out.put_u32(len_of(runs.len()));
    runs.iter().for_each(|run| run.put(out));
    out.put_lp32(facts);
}

/// What the log key signs.
fn message(bytes: &[u8]) -> Vec<u8> {
    [label::SNAPSHOT, &sha256(&[bytes]).0].concat()
}

/// Reads a snapshot whose signature `verify` accepts.
///
/// # Errors
/// `Malformed` when the bytes are not exactly one snapshot with such a signature.
pub fn decode(
    bytes: &[u8],
    verify: impl FnOnce(&[u8], &[u8; SIGNATURE_BYTES]) -> bool,
) -> Result<Snapshot> {
    let short = Malformed { offset: bytes.len(), what: "snapshot is cut short" };
    let (body, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or(short)?;
    if !verify(&message(body), signature) {
        return Err(Malformed { offset: body.len(), what: "snapshot is not signed by this log" });
    }
    let mut reader = Reader::new(body);
    reader.magic(&MAGIC, "snapshot magic")?;
    if reader.u64("snapshot length")? != bytes.len() as u64 {
        return Err(reader.malformed("snapshot length"));
    }
    let tenant = TenantId(reader.array("tenant")?);
    let unit = reader.u64("unit number")?;
    let hash = Hash32(reader.array("unit hash")?);
    let end = TreeSize(reader.u64("end")?);
    let root = Hash32(reader.array("root")?);
    let offset = reader.u64("offset")?;
    let prev = Hash32(reader.array("last leaf")?);
    let state = reader.u64("state entry")?;
    if end.0 == 0 || state > end.0 {
        return Err(reader.malformed("snapshot contradicts itself"));
    }
    let state = state.checked_sub(1).map(EntryIndex);
    let mut edge = Vec::new();
    for _ in 0..end.0.count_ones() {
        edge.push(Hash32(reader.array("edge of the tree")?));
    }
    let segments = segments(&mut reader)?;
    let ends = ends(&mut reader)?;
    let counters = counters(&mut reader)?;
    let runs = runs(&mut reader)?;
    let facts = reader.lp32("facts")?.to_vec();
    reader.done()?;
    Ok(Snapshot {
        tenant,
        unit,
        hash,
        end,
        root,
        offset,
        prev,
        state,
        edge,
        segments,
        ends,
        counters,
        runs,
        facts,
    })
}

fn segments(reader: &mut Reader<'_>) -> Result<Vec<Segment>> {
    let mut out: Vec<Segment> = Vec::new();
    for _ in 0..reader.u32("segments")? {
        let segment = Segment {
            number: reader.u32("segment")?,
            first_unit: reader.u64("first unit")?,
            first: EntryIndex(reader.u64("first index")?),
            prev: Hash32(reader.array("previous unit")?),
            len: reader.u64("segment length")?,
        };
        let rises = |last: &Segment| {
            last.number < segment.number
                && last.first_unit <= segment.first_unit
                && last.first <= segment.first
        };
        if !out.last().is_none_or(rises) {
            return Err(reader.malformed("segments not ascending"));
        }
        out.push(segment);
    }
    Ok(out)
}

fn ends(reader: &mut Reader<'_>) -> Result<Vec<(ClassDay, u64)>> {
    let mut out: Vec<(ClassDay, u64)> = Vec::new();
    for _ in 0..reader.u32("body files")? {
        let class = ClassId(reader.u16("class")?);
        let day = Day(reader.u32("bucket")?);
        let class_day = ClassDay { class, day };
        let end = reader.u64("body end")?;
        if out.last().is_some_and(|(last, _)| *last >= class_day) {
            return Err(reader.malformed("body files not ascending"));
        }
        out.push((class_day, end));
    }
    Ok(out)
}

fn counters(reader: &mut Reader<'_>) -> Result<Vec<Counter>> {
    let mut out: Vec<Counter> = Vec::new();
    for _ in 0..reader.u32("counting sources")? {
        let source = SourceHandle(reader.array("source")?);
        let high = reader.u64("highest number")?;
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for _ in 0..reader.u32("gaps")? {
            let (first, last) = (reader.u64("gap")?, reader.u64("gap")?);
            let apart =
                gaps.last().is_none_or(|(_, end)| end.checked_add(1).is_some_and(|e| e < first));
            if !(first <= last && last < high && apart) {
                return Err(reader.malformed("gaps not ascending"));
            }
            gaps.push((first, last));
        }
        if out.last().is_some_and(|last| last.source >= source) {
            return Err(reader.malformed("sources not ascending"));
        }
        out.push(Counter { source, high, gaps });
    }
    Ok(out)
}

fn runs(reader: &mut Reader<'_>) -> Result<Vec<RunInfo>> {
    let mut out: Vec<RunInfo> = Vec::new();
    for _ in 0..reader.u32("runs")? {
        let run = RunInfo::read(reader)?;
        if out.last().is_some_and(|last| last.end > run.first) {
            return Err(reader.malformed("runs overlap"));
        }
        out.push(run);
    }
    Ok(out)
}
