//! The file as it streams in: exact lengths, no more in memory than one piece.

use crate::base::limits::ENTRY_BYTES_MAX;
use crate::format::complete::{Fault, Result};
use crate::format::note::NOTE_BYTES_MAX;
use std::io::{ErrorKind, Read};

/// Bytes in order.
pub(crate) struct Source<'a> {
    from: &'a mut dyn Read,
    read: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn new(from: &'a mut dyn Read) -> Self {
        Source { from, read: 0 }
    }

    fn fill(&mut self, into: &mut [u8], what: &str) -> Result<()> {
        match self.from.read_exact(into) {
            Ok(()) => {
                self.read += into.len() as u64;
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                let detail = format!("the file ends within {what} that begins at {}", self.read);
                Err(Fault::malformed(detail))
            }
            Err(e) => Err(Fault::Read(e)),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    pub(crate) fn u8(&mut self, what: &str) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u16(&mut self, what: &str) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// Exactly `len` bytes into `into`, which the caller uses again; `len` is bounded by him.
    pub(crate) fn bytes(&mut self, into: &mut Vec<u8>, len: usize, what: &str) -> Result<()> {
        into.resize(len, 0);
        self.fill(into, what)
    }

    /// A note with its length before it.
    pub(crate) fn note(&mut self, may_be_empty: bool, what: &str) -> Result<Vec<u8>> {
        let len = self.u32(what)? as usize;
        if len > NOTE_BYTES_MAX || (len == 0 && !may_be_empty) {
            return Err(Fault::malformed(format!("{what} of {len} bytes")));
        }
        let mut note = Vec::new();
        self.bytes(&mut note, len, what)?;
        Ok(note)
    }

    /// An entry with its length before it. Its grammar is the caller's.
    pub(crate) fn entry(&mut self, into: &mut Vec<u8>) -> Result<()> {
        let len = usize::from(self.u16("an entry")?);
        if len > ENTRY_BYTES_MAX {
            return Err(Fault::malformed(format!("an entry of {len} bytes")));
        }
        self.bytes(into, len, "an entry")
    }

    /// Nothing may follow.
    pub(crate) fn done(&mut self) -> Result<()> {
        let mut byte = [0];
        loop {
            return match self.from.read(&mut byte) {
                Ok(0) => Ok(()),
                Ok(_) => Err(Fault::malformed(format!("bytes follow at {}", self.read))),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => Err(Fault::Read(e)),
            };
        }
    }
}
