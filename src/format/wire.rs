//! Reading and writing fixed big-endian binary. A reader never panics and never reads past its
//! end; trailing bytes are refused by `done`.

use std::fmt;

/// Bytes that are not what the format says: the verdict `MALFORMED`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Where, in bytes from the start of the thing.
    pub offset: usize,
    /// What was expected there.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MALFORMED at byte {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for Malformed {}

/// Result of decoding.
pub type Result<T> = std::result::Result<T, Malformed>;

/// A cursor over bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, offset: 0 }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// An error at the current place.
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.offset, what }
    }

    /// Takes `len` bytes.
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(self.malformed(what))?;
        self.bytes = tail;
        self.offset += len;
        Ok(head)
    }

    /// Takes exactly `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk().ok_or(self.malformed(what))?;
        self.bytes = tail;
        self.offset += N;
        Ok(*head)
    }

    /// Takes a byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    /// Takes a u16.
    pub fn u16(&mut self, what: &'static str) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    /// Takes a u32.
    pub fn u32(&mut self, what: &'static str) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    /// Takes a u64.
    pub fn u64(&mut self, what: &'static str) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// Takes a byte string with a one-byte length.
    pub fn lp8(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let len = self.u8(what)?;
        self.take(usize::from(len), what)
    }

    /// Takes a byte string with a two-byte length.
    pub fn lp16(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let len = self.u16(what)?;
        self.take(usize::from(len), what)
    }

    /// Takes a byte string with a four-byte length.
    pub fn lp32(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let len = self.u32(what)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX), what)
    }

    /// Takes an unsigned LEB128 number of at most 64 bits, in its shortest form only.
    pub fn varint(&mut self, what: &'static str) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part || (byte == 0 && shift > 0) {
                return Err(self.malformed(what));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed(what))
    }

    /// Takes a difference, folded so that small ones of either sign are short.
    pub fn zigzag(&mut self, what: &'static str) -> Result<i64> {
        let folded = self.varint(what)?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    /// Takes a magic value.
    pub fn magic<const N: usize>(&mut self, magic: &[u8; N], what: &'static str) -> Result<()> {
        let at = *self;
        match self.array::<N>(what)? == *magic {
            true => Ok(()),
            false => Err(at.malformed(what)),
        }
    }

    /// Requires that all of the rest is zero, and takes it.
    pub fn zeros(&mut self, what: &'static str) -> Result<()> {
        match self.bytes.iter().all(|b| *b == 0) {
            true => self.take(self.bytes.len(), what).map(|_| ()),
            false => Err(self.malformed(what)),
        }
    }

    /// Requires that nothing is left.
    pub fn done(&self) -> Result<()> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => Err(self.malformed("trailing bytes")),
        }
    }
}

/// Appending to a byte vector. Lengths that do not fit are the caller's bug: callers check
/// against `base::limits` first, and the writer saturates nothing, it asserts.
pub trait Write {
    /// Appends bytes as they are.
    fn raw(&mut self, bytes: &[u8]);

    /// Appends a byte.
    fn put_u8(&mut self, value: u8) {
        self.raw(&[value]);
    }

    /// Appends a u16.
    fn put_u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends a u32.
    fn put_u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends a u64.
    fn put_u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends an unsigned LEB128 number.
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }

    /// Appends a difference, folded so that small ones of either sign are short.
    fn put_zigzag(&mut self, value: i64) {
        self.put_varint((value << 1).cast_unsigned() ^ (value >> 63).cast_unsigned());
    }

    /// Appends a byte string of at most 255 bytes with its length.
    fn put_lp8(&mut self, bytes: &[u8]) {
        self.put_u8(len_of(bytes.len()));
        self.raw(bytes);
    }

    /// Appends a byte string of at most 65,535 bytes with its length.
    fn put_lp16(&mut self, bytes: &[u8]) {
        self.put_u16(len_of(bytes.len()));
        self.raw(bytes);
    }

    /// Appends a byte string of less than 4 GiB with its length.
    fn put_lp32(&mut self, bytes: &[u8]) {
        self.put_u32(len_of(bytes.len()));
        self.raw(bytes);
    }
}

impl Write for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A length or count in the width the format gives it.
///
/// # Panics
/// If it does not fit: a limit was not checked before encoding, which is our bug.
pub fn len_of<T: TryFrom<usize>>(len: usize) -> T {
    match T::try_from(len) {
        Ok(len) => len,
        Err(_) => panic!("length {len} does not fit its field: a limit was not checked"),
    }
}
