//! UNIT: one group commit, self-describing, never rewritten. It never holds a body.
//!
//! ```text
//! off size field
//!   0   4  "CHU1"
//!   4   8  length of the whole unit in bytes
//!  12   8  number, from 0, without gaps
//!  20   8  writer epoch: above that of every unit an earlier opening wrote
//!  28  32  hash of the previous unit, zero at 0
//!  60   8  first index      68  8  end index (exclusive)
//!  76  32  root of the log at end
//! 108   8  state entries: 1 + index of the last entry before `first` that is not an event,
//!          disclosure, scan or conflict; 0 = none. A reader can follow these back instead of
//!          reading the log; nothing but the writer vouches for them.
//! 116   2  n body files
//! 118      n x class u16 | bucket u32 | start u64 | end u64, ascending by (class, bucket)
//!          (end - first) x lp16 entry
//!     32   hash = SHA-256("chancery/v1/unit\0" || all bytes before the first entry)
//!     64   Ed25519 signature of the log key over "chancery/v1/unit-signature\0" || hash
//! ```
//!
//! The root binds the entries, so the hash need not cover them again. The signature lets recovery
//! believe what lies beyond the last checkpoint: without it, anyone who can write to the disk
//! could append acts that the next opening would carry out.

use crate::base::entry::Kind;
use crate::base::id::Hash32;
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex, TreeSize};
use crate::crypto::hash::sha256;
use crate::crypto::kdf::label;
use crate::format::wire::{Reader, Result, Write, len_of};

/// First bytes of a unit, version included.
pub const MAGIC: [u8; 4] = *b"CHU1";
/// Bytes of a unit's head without its body files.
pub const HEAD_BYTES: usize = 118;
/// Bytes of one body file in a unit's head.
pub const SPAN_BYTES: usize = 22;
/// Bytes of the hash that ends a unit.
pub const HASH_BYTES: usize = 32;
/// Bytes of the signature after it.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes after the last entry.
pub const TRAILER_BYTES: usize = HASH_BYTES + SIGNATURE_BYTES;
/// Body files of one unit at most: 24 classes on two days, with room.
pub const SPANS_MAX: usize = 64;
/// Bytes of the longest head.
pub const HEAD_LONGEST: usize = HEAD_BYTES + SPANS_MAX * SPAN_BYTES;

/// Part of a body file that belongs to one unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BodySpan {
    /// Which body file.
    pub class_day: ClassDay,
    /// First byte.
    pub start: u64,
    /// First byte after.
    pub end: u64,
}

/// All of a unit but its entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitHead {
    /// Length in bytes of the whole unit.
    pub len: u64,
    /// Number, from 0.
    pub number: u64,
    /// Writer epoch.
    pub epoch: u64,
    /// Hash of the previous unit.
    pub prev: Hash32,
    /// Index of the first entry.
    pub first: EntryIndex,
    /// Size of the log after this unit.
    pub end: TreeSize,
    /// Root of the log after this unit.
    pub root: Hash32,
    /// Last state entry before `first`.
    pub state_before: Option<EntryIndex>,
    /// Body files written by this commit.
    pub spans: Vec<BodySpan>,
}

/// Whether an entry changes what the vault must know at start.
pub fn is_state(kind: Kind) -> bool {
    !matches!(kind, Kind::Event | Kind::Disclose | Kind::Scan | Kind::Conflict)
}

impl UnitHead {
    /// Bytes from the magic to the first entry.
    pub fn head_len(&self) -> usize {
        HEAD_BYTES + self.spans.len() * SPAN_BYTES
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.head_len());
        out.raw(&MAGIC);
        out.put_u64(self.len);
        out.put_u64(self.number);
        out.put_u64(self.epoch);
        out.raw(&self.prev.0);
        out.put_u64(self.first.0);
        out.put_u64(self.end.0);
        out.raw(&self.root.0);
        out.put_u64(self.state_before.map_or(0, |i| i.0 + 1));
        out.put_u16(len_of(self.spans.len()));
        for span in &self.spans {
            out.put_u16(span.class_day.class.0);
            out.put_u32(span.class_day.day.0);
            out.put_u64(span.start);
            out.put_u64(span.end);
        }
        out
    }

    /// The unit's hash.
    pub fn hash(&self) -> Hash32 {
        sha256(&[label::UNIT, &self.encode()])
    }
}

/// What the log key signs for a unit with this hash.
pub fn signed_message(hash: &Hash32) -> Vec<u8> {
    [label::UNIT_SIGNATURE, &hash.0].concat()
}

/// Encodes a unit around its entries, each already with its two-byte length in front.
/// `head.len` is filled in; `sign` signs `signed_message`. Returns the bytes and the unit's hash.
pub fn encode(
    head: &mut UnitHead,
    entries: &[u8],
    sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES],
) -> (Vec<u8>, Hash32) {
    head.len = (head.head_len() + entries.len() + TRAILER_BYTES) as u64;
    let mut out = head.encode();
    let hash = sha256(&[label::UNIT, &out]);
    out.reserve(entries.len() + TRAILER_BYTES);
    out.raw(entries);
    out.raw(&hash.0);
    out.raw(&sign(&signed_message(&hash)));
    (out, hash)
}

/// Reads a unit's head.
///
/// # Errors
/// `Malformed` when it is not the one encoding of a head.
pub fn decode_head(reader: &mut Reader<'_>) -> Result<UnitHead> {
    reader.magic(&MAGIC, "unit magic")?;
    let len = reader.u64("unit length")?;
    let number = reader.u64("unit number")?;
    let epoch = reader.u64("writer epoch")?;
    let prev = Hash32(reader.array("previous unit")?);
    let first = EntryIndex(reader.u64("first index")?);
    let end = TreeSize(reader.u64("end index")?);
    let root = Hash32(reader.array("root")?);
    let state = reader.u64("state entries")?;
    let count = usize::from(reader.u16("body files")?);
    if end.0 <= first.0 || (number == 0) != prev.is_zero() || state > first.0 {
        return Err(reader.malformed("unit head contradicts itself"));
    }
    if count > SPANS_MAX {
        return Err(reader.malformed("more than 64 body files"));
    }
    let mut spans: Vec<BodySpan> = Vec::with_capacity(count);
    for _ in 0..count {
        let class = ClassId(reader.u16("class")?);
        let day = Day(reader.u32("bucket")?);
        let (start, end) = (reader.u64("body start")?, reader.u64("body end")?);
        let class_day = ClassDay { class, day };
        if end <= start || spans.last().is_some_and(|last| last.class_day >= class_day) {
            return Err(reader.malformed("body files not ascending"));
        }
        spans.push(BodySpan { class_day, start, end });
    }
    let least = (HEAD_BYTES + count * SPAN_BYTES + TRAILER_BYTES) as u64;
    if len < least {
        return Err(reader.malformed("unit shorter than its head"));
    }
    let state_before = state.checked_sub(1).map(EntryIndex);
    Ok(UnitHead { len, number, epoch, prev, first, end, root, state_before, spans })
}

/// A unit with its entries borrowed.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    /// Its head.
    pub head: UnitHead,
    /// Its entries, in order.
    pub entries: Vec<&'a [u8]>,
    /// The hash after its entries; equals `head.hash()`.
    pub hash: Hash32,
    /// The signature it ends with, not checked here.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// Reads a whole unit and checks its own hash. The root must be checked by whoever has the tree.
///
/// # Errors
/// `Malformed` when the bytes are not exactly one unit.
pub fn decode(bytes: &[u8]) -> Result<Unit<'_>> {
    let mut reader = Reader::new(bytes);
    let head = decode_head(&mut reader)?;
    if head.len != bytes.len() as u64 {
        return Err(reader.malformed("unit length"));
    }
    let count = head.end.0 - head.first.0;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(reader.lp16("entry")?);
    }
    let hash = Hash32(reader.array("unit hash")?);
    let signature = reader.array("unit signature")?;
    reader.done()?;
    match hash == head.hash() {
        true => Ok(Unit { head, entries, hash, signature }),
        false => Err(reader.malformed("unit hash")),
    }
}
