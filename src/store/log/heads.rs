//! Heads of the units of one segment, read one after the other. It judges a unit by its own hash
//! only, and never changes anything.

use crate::base::id::Hash32;
use crate::format::unit::{self, UnitHead};
use crate::format::wire::Reader;
use crate::store::disk::DiskFile;
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::packed::segment::Opened;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of one read: the end of a unit and the next one's head lie side by side, so a walk over
/// large units costs one read a unit, and one over small units a read for many.
const BLOCK_BYTES: u64 = 16 << 10;
/// Bytes of the longest head.
const HEAD_BYTES_MAX: u64 = unit::HEAD_LONGEST as u64;

/// What stands at an offset: a head and its hash, or why there is none.
pub(crate) type Found = std::result::Result<(UnitHead, Hash32), String>;

/// A segment whose heads are read.
pub(crate) struct Heads {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Length of the file when it was opened.
    pub(crate) len: u64,
    block: Vec<u8>,
    block_at: u64,
}

impl Heads {
    /// Starts reading in a segment.
    pub(crate) fn of(segment: Opened) -> Result<Heads> {
        let len = segment.file.len()?;
        let Opened { path, file, .. } = segment;
        Ok(Heads { path, file, len, block: Vec::new(), block_at: 0 })
    }

    /// The head and hash at `offset`, or why there is none.
    pub(crate) fn at(&mut self, offset: u64) -> Result<Found> {
        let bytes = self.bytes(offset, HEAD_BYTES_MAX.min(self.len.saturating_sub(offset)))?;
        if bytes.starts_with(b"CHU") && !bytes.starts_with(&unit::MAGIC) {
            let what = "written by a newer version of Chancery: upgrade this program";
            if bytes.get(3).is_some_and(|v| v.is_ascii_digit() && *v > b'1') {
                return Err(Error::new(ErrorKind::TooNew, &self.path, what));
            }
        }
        let head = match unit::decode_head(&mut Reader::new(bytes)) {
            Ok(head) => head,
            Err(e) => return Ok(Err(e.to_string())),
        };
        if head.len > self.len.saturating_sub(offset) {
            return Ok(Err("unit is cut short".to_owned()));
        }
        let trailer = offset + head.len - unit::TRAILER_BYTES as u64;
        let bytes = self.bytes(trailer, unit::HASH_BYTES as u64)?;
        let hash = head.hash();
        match bytes == hash.0 {
            true => Ok(Ok((head, hash))),
            false => Ok(Err("unit hash is wrong".to_owned())),
        }
    }

    /// `count` bytes at `offset`, from the block at hand or a new one.
    fn bytes(&mut self, offset: u64, count: u64) -> Result<&[u8]> {
        let held = offset >= self.block_at
            && offset.saturating_add(count) <= self.block_at + self.block.len() as u64;
        if !held {
            let take = BLOCK_BYTES.max(count).min(self.len.saturating_sub(offset));
            self.block.resize(usize::try_from(take).unwrap_or(0), 0);
            self.block_at = offset;
            self.file.read_exact_at(offset, &mut self.block)?;
        }
        let from = usize::try_from(offset - self.block_at).unwrap_or(usize::MAX);
        let to = from.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
        let short = || Error::corrupt(&self.path, "shorter than it must be");
        self.block.get(from..to).ok_or_else(short)
    }
}
