//! The plaintext of a group, compressed before it is sealed again (body algorithm 2). The
//! dictionary was made from names of fields and members alone, never from an event, so that
//! nothing in it is about anybody; `tests/it/packed` makes it again and compares.
//!
//! ```text
//! seed[32] | varint length of the expanded part | varint length of the frame | frame
//!          | zeros to a multiple of 16
//! frame: one zstd frame (RFC 8878) with dictionary 1, without its magic, checksum, content size
//!        and dictionary id; it expands to n u16 | n x (lp8 name | lp32 value)
//! ```
//!
//! It never gives more bytes than a group can hold, and what it gives is parsed and checked
//! against every commitment like any other plaintext. Where zstd gets no memory the process ends,
//! as it does wherever else there is none: never a verdict on bytes that could not be read.

use crate::format::body::Plain;
use crate::format::wire::{Malformed, Reader, Result, Write};
use std::alloc::{Layout, handle_alloc_error};
use std::sync::OnceLock;
use zeroize::Zeroizing;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{CCtx, CDict, CParameter, DCtx, DDict, ErrorCode};
use zstd::zstd_safe::{compress_bound, is_error_kind};

/// Dictionary 1, frozen: another one is another algorithm.
pub const DICTIONARY: &[u8] = include_bytes!("dictionary.1");
/// Effort: in the background, once for each group.
const LEVEL: i32 = 9;
/// Multiple the result is padded to, so that lengths say less.
const PAD_BYTES: usize = 16;
/// First bytes of every zstd frame; left out, because they are always the same.
const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A group at most: an event of 1 MiB, its names and lengths.
const EXPANDED_MAX: u64 = 2 << 20;
/// Bytes of the seed.
const SEED_BYTES: usize = 32;

/// Compresses plaintexts.
pub struct Squeezer(CCtx<'static>);

impl Squeezer {
    /// Takes the dictionary in.
    ///
    /// # Errors
    /// `Malformed` when zstd refuses it: a build that cannot compress.
    pub fn new() -> Result<Squeezer> {
        static ENCODER: OnceLock<CDict<'static>> = OnceLock::new();
        let refused = |_| Malformed { offset: 0, what: "zstd refuses its dictionary" };
        let dictionary = ENCODER.get_or_init(|| made(CDict::try_create(DICTIONARY, LEVEL)));
        let mut zstd = made(CCtx::try_create());
        zstd.ref_cdict(dictionary).map_err(refused)?;
        for left_out in
            [CParameter::ChecksumFlag, CParameter::ContentSizeFlag, CParameter::DictIdFlag]
        {
            zstd.set_parameter(left_out(false)).map_err(refused)?;
        }
        Ok(Squeezer(zstd))
    }

    /// The compressed form of an algorithm 1 plaintext; `None` when it would not be shorter.
    pub fn squeeze(&mut self, plain: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (seed, rest) = plain.split_first_chunk::<SEED_BYTES>()?;
        // Padding is not told from the last value's bytes here; expanding needs none of it.
        let fields = rest.get(..fields_len(rest)?)?;
        let mut frame = Zeroizing::new(Vec::with_capacity(compress_bound(fields.len())));
        self.0.compress2(&mut *frame, fields).map_err(no_memory_ends_it).ok()?;
        let frame = frame.strip_prefix(&FRAME_MAGIC)?;
        let mut out = Zeroizing::new(Vec::with_capacity(plain.len()));
        out.raw(seed);
        out.put_varint(fields.len() as u64);
        out.put_varint(frame.len() as u64);
        out.raw(frame);
        let padded = out.len().next_multiple_of(PAD_BYTES);
        out.resize(padded, 0);
        (out.len() < plain.len()).then_some(out)
    }
}

/// What zstd made; it makes nothing only when there is no memory.
fn made<T>(made: Option<T>) -> T {
    made.unwrap_or_else(|| handle_alloc_error(Layout::new::<T>()))
}

/// Passes an error on, unless it says that there was no memory.
fn no_memory_ends_it(code: ErrorCode) -> ErrorCode {
    if is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_memory_allocation) {
        handle_alloc_error(Layout::new::<CCtx<'_>>());
    }
    code
}

/// Length of the fields at the start of `bytes`.
fn fields_len(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes);
    for _ in 0..reader.u16("count").ok()? {
        reader.lp8("name").ok()?;
        reader.lp32("value").ok()?;
    }
    Some(reader.offset())
}

/// Expands and reads a compressed plaintext.
///
/// # Errors
/// `Malformed` when it is not one, or would expand beyond what a group can hold.
pub fn expand(bytes: &[u8]) -> Result<Plain> {
    let mut reader = Reader::new(bytes);
    let seed = Zeroizing::new(reader.array("seed")?);
    let len = reader.varint("expanded length")?;
    let frame_len = usize::try_from(reader.varint("frame length")?).unwrap_or(usize::MAX);
    let frame = reader.take(frame_len, "frame")?;
    if reader.rest().len() >= PAD_BYTES {
        return Err(reader.malformed("padding too long"));
    }
    reader.zeros("padding")?;
    let wrong = reader.malformed("frame does not expand to what it says");
    let len = usize::try_from(len).ok().filter(|_| len <= EXPANDED_MAX).ok_or(wrong.clone())?;
    let mut framed = Zeroizing::new(Vec::with_capacity(frame.len() + 4));
    framed.raw(&FRAME_MAGIC);
    framed.raw(frame);
    let mut fields = Zeroizing::new(vec![0; len]);
    static DECODER: OnceLock<DDict<'static>> = OnceLock::new();
    let dictionary = DECODER.get_or_init(|| made(DDict::try_create(DICTIONARY)));
    let mut zstd = made(DCtx::try_create());
    zstd.ref_ddict(dictionary).map_err(|_| wrong.clone())?;
    match zstd.decompress(fields.as_mut_slice(), &framed).map_err(no_memory_ends_it) {
        Ok(written) if written == len => crate::format::body::decode_fields(seed, &fields),
        _ => Err(wrong),
    }
}
