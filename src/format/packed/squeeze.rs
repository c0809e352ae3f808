//! Raw DEFLATE (RFC 1951) of small things already in memory. It is not canonical, so nothing is
//! ever hashed in this form, and it never gives more than the length it is told to expect.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Effort: packing runs in the background, once for each byte.
const LEVEL: u32 = 9;
/// Bytes that one byte of DEFLATE can stand for at most: 258 from two bits, some less.
const EXPANSION_MAX: usize = 1_032;

/// Compresses.
pub(crate) fn squeeze(bytes: &[u8]) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    let mut out = Vec::with_capacity(bytes.len() / 2 + 64);
    loop {
        let taken = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
        let rest = bytes.get(taken..).unwrap_or_default();
        match deflate.compress_vec(rest, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => return out,
            _ => out.reserve(out.capacity().max(256)),
        }
    }
}

/// Decompresses exactly `len` bytes; `None` when the stream is damaged, longer or shorter, or
/// does not end with the input.
pub(crate) fn expand(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    // No stream gives more: what is said costs nothing before it is seen.
    if len / EXPANSION_MAX > bytes.len() {
        return None;
    }
    let mut inflate = Decompress::new(false);
    // One byte of room beyond `len`: a stream that fills it is longer than it says.
    let mut out = Vec::with_capacity(len.checked_add(1)?);
    let status = inflate.decompress_vec(bytes, &mut out, FlushDecompress::Finish).ok()?;
    let taken = usize::try_from(inflate.total_in()).ok()?;
    (status == Status::StreamEnd && taken == bytes.len() && out.len() == len).then_some(out)
}
