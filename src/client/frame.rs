//! One event in the spool: a line with its length and a checksum before it. The page is
//! `clients/SPOOL.md`; the Python package reads and writes the same bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | length n of the event, lower-case hex |
//! | 1 | space |
//! | 8 | CRC-32 of those eight digits and the event, lower-case hex |
//! | 1 | space |
//! | n | the event: one JSON object without a line feed |
//! | 1 | line feed |
//!
//! It never looks into the event, and never believes a length whose checksum does not fit.

use crate::base::limits::EVENT_BYTES_MAX;

/// Bytes before the event.
pub const HEAD_BYTES: usize = 18;
/// A frame is no longer than this: the head, an event of 1 MiB, the line feed.
pub const FRAME_BYTES_MAX: usize = HEAD_BYTES + EVENT_BYTES_MAX + 1;

/// What a piece of a spool begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    /// A frame, and where the next one begins.
    Whole {
        /// The event.
        json: &'a [u8],
        /// Offset behind the frame.
        end: usize,
    },
    /// No frame; the next one may begin here.
    Damaged {
        /// Offset behind the next line feed.
        end: usize,
    },
    /// What is there may be the beginning of a frame.
    Short,
}

/// Appends the frame of an event.
pub fn encode(json: &[u8], out: &mut Vec<u8>) {
    let len = format!("{:08x}", json.len());
    let crc = checksum(len.as_bytes(), json);
    out.extend_from_slice(format!("{len} {crc:08x} ").as_bytes());
    out.extend_from_slice(json);
    out.push(b'\n');
}

/// Bytes that the frame of an event of `len` bytes takes.
pub fn frame_len(len: usize) -> usize {
    HEAD_BYTES + len + 1
}

fn checksum(len: &[u8], json: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(len);
    crc.update(json);
    crc.finalize()
}

/// Reads what `bytes` begin with. `is_end`: nothing follows them.
///
/// A frame whose event is whole is whole, whatever byte stands in place of its line feed. What is
/// no frame ends at the next line feed, for no event holds one.
pub fn next(bytes: &[u8], is_end: bool) -> Piece<'_> {
    if let Some((len, crc)) = head(bytes) {
        let end = HEAD_BYTES + len;
        match (bytes.get(HEAD_BYTES..end), bytes.get(end)) {
            (Some(json), Some(_)) => {
                let digits = bytes.get(..8).unwrap_or_default();
                if checksum(digits, json) == crc {
                    return Piece::Whole { json, end: end + 1 };
                }
            }
            _ if !is_end => return Piece::Short,
            _ => {}
        }
    } else if bytes.len() < HEAD_BYTES && !is_end {
        return Piece::Short;
    }
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => Piece::Damaged { end: at + 1 },
        None => Piece::Short,
    }
}

/// Length and checksum, where these can be a frame's.
fn head(bytes: &[u8]) -> Option<(usize, u32)> {
    let head = bytes.get(..HEAD_BYTES)?;
    let (len, rest) = head.split_at(8);
    let (gap, rest) = rest.split_at(1);
    let (crc, end) = rest.split_at(8);
    if gap != b" " || end != b" " {
        return None;
    }
    let len = usize::try_from(hex(len)?).ok()?;
    (len <= EVENT_BYTES_MAX).then_some((len, hex(crc)?))
}

fn hex(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    digits.iter().all(|b| plain(*b)).then(|| u32::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed_or_harmless() {
        let (mut bytes, json) = (Vec::new(), br#"{"id":"a","n":1}"#.as_slice());
        encode(json, &mut bytes);
        let first = bytes.len();
        assert_eq!(&bytes, b"00000010 d550f096 {\"id\":\"a\",\"n\":1}\n");
        encode(b"{}", &mut bytes);
        assert_eq!(next(&bytes, true), Piece::Whole { json, end: first });
        for cut in 0..first {
            assert_eq!(next(&bytes[..cut], true), Piece::Short, "{cut}");
            assert_eq!(next(&bytes[..cut], false), Piece::Short, "{cut}");
        }
        for bit in 0..first * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match next(&bytes, true) {
                // The line feed itself.
                Piece::Whole { json: found, end } => {
                    assert_eq!((found, end, bit / 8), (json, first, first - 1));
                }
                Piece::Damaged { end } => {
                    assert!(end <= first, "{bit}");
                    let rest = if end == first { &bytes[end..] } else { continue };
                    assert_eq!(next(rest, true), Piece::Whole { json: b"{}", end: rest.len() });
                }
                Piece::Short => panic!("{bit}: the next line feed is there"),
            }
        }
    }
}
