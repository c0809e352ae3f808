//! Tiles: the static files of a log, their names and their bytes (C2SP tlog-tiles v0.1.0).
//! It never hashes and never decides what may be served: `admits` says which tiles a tree has.
//!
//! ```text
//! path     = "tile/" level "/" number [".p/" width]
//! level    = 0..=63, no leading zero | "entries"
//! number   = groups of three digits, all but the last with "x" before: 1234067 = x001/x234/067
//! width    = 1..=255, no leading zero; a full tile (256) has no width
//! tile     = width x hash[32]
//! bundle   = width x (u16 length || entry)
//! ```
//! The number of whole subtrees of 256^level leaves in a tree of size s is floor(s / 256^level);
//! of these, the last `mod 256` lie in a partial tile, which is never hashed upward.

use crate::base::id::Hash32;
use crate::base::unit::TreeSize;
use crate::format::checkpoint::parse_decimal;
use std::fmt;

/// Hashes of a full tile, entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Highest level a path may name.
const LEVEL_MAX: u8 = 63;
/// Longest path: seven groups of three digits hold any u64.
const PATH_BYTES_MAX: usize = 64;

/// Why bytes are no tile or bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TileError {
    /// Another length than the width demands.
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Another number of entries than the width demands, or more than a bundle holds.
    Count {
        /// Entries found.
        found: usize,
    },
    /// An entry that its length says goes on past the end, or that is longer than a u16 says.
    Entry {
        /// Which entry, from 0.
        position: usize,
    },
}

impl fmt::Display for TileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TileError::Length { found } => write!(f, "tile of {found} bytes"),
            TileError::Count { found } => write!(f, "bundle of {found} entries"),
            TileError::Entry { position } => write!(f, "entry {position} does not fit its length"),
        }
    }
}

impl std::error::Error for TileError {}

/// What a tile holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TileLevel {
    /// Entries; beside level 0.
    Entries,
    /// Hashes of subtrees of 256^level leaves.
    Hashes(u8),
}

/// Name of a tile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TilePath {
    /// What it holds.
    pub level: TileLevel,
    /// Position within its level.
    pub number: u64,
    /// 1..=256 hashes or entries.
    pub width: u16,
}

impl TilePath {
    /// Parses a path in its one form.
    pub fn parse(path: &str) -> Option<Self> {
        if path.len() > PATH_BYTES_MAX {
            return None;
        }
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = match level {
            "entries" => TileLevel::Entries,
            digits => TileLevel::Hashes(parse_small(digits).filter(|l| *l <= LEVEL_MAX)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, parse_small(width).filter(|w| *w > 0)?.into()),
            None => (rest, TILE_WIDTH),
        };
        let parsed = TilePath { level, number: parse_number(number)?, width };
        // One form only: no group of zeros in front.
        (parsed.to_string() == path).then_some(parsed)
    }

    /// True if a tree of this size has this tile: full only when complete, partial only with the
    /// width the size gives and only as the last of its level.
    pub fn admits(&self, size: TreeSize) -> bool {
        let whole = subtrees(self.level, size);
        let start = self.number.checked_mul(u64::from(TILE_WIDTH));
        match start.and_then(|start| whole.checked_sub(start)) {
            Some(left) if self.width == TILE_WIDTH => left >= u64::from(TILE_WIDTH),
            Some(left) => self.width > 0 && left == u64::from(self.width),
            None => false,
        }
    }

    /// True if a tree of this size, or one that it grew out of, has this tile.
    pub fn is_within(&self, size: TreeSize) -> bool {
        let end = self.number.checked_mul(u64::from(TILE_WIDTH));
        let end = end.and_then(|start| start.checked_add(u64::from(self.width)));
        let width = (1..=TILE_WIDTH).contains(&self.width);
        width && end.is_some_and(|end| end <= subtrees(self.level, size))
    }

    /// The last tile of a level in a tree of this size, if the level has any hash.
    pub fn last(level: TileLevel, size: TreeSize) -> Option<Self> {
        let last = subtrees(level, size).checked_sub(1)?;
        let number = last / u64::from(TILE_WIDTH);
        let width = u16::try_from(last % u64::from(TILE_WIDTH)).ok()? + 1;
        Some(TilePath { level, number, width })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            TileLevel::Entries => f.write_str("tile/entries")?,
            TileLevel::Hashes(level) => write!(f, "tile/{level}")?,
        }
        let mut divisor: u64 = 1;
        while self.number / divisor >= 1000 {
            divisor *= 1000;
        }
        while divisor > 1 {
            write!(f, "/x{:03}", self.number / divisor % 1000)?;
            divisor /= 1000;
        }
        write!(f, "/{:03}", self.number % 1000)?;
        if self.width == TILE_WIDTH { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// Width of the partial tile of a level: floor(size / 256^level) mod 256; 0 if there is none.
pub fn partial_width(level: TileLevel, size: TreeSize) -> u8 {
    let [.., low] = subtrees(level, size).to_be_bytes();
    low
}

/// floor(size / 256^level).
fn subtrees(level: TileLevel, size: TreeSize) -> u64 {
    match level {
        TileLevel::Entries => size.0,
        TileLevel::Hashes(level) => size.0.checked_shr(8 * u32::from(level)).unwrap_or(0),
    }
}

/// The bytes of a tile of hashes.
pub fn encode_hashes(hashes: &[Hash32]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile of this width.
pub fn decode_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash32>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<{ Hash32::LEN }>();
    if !rest.is_empty() || hashes.len() != usize::from(width) {
        return Err(TileError::Length { found: bytes.len() });
    }
    Ok(hashes.iter().map(|hash| Hash32(*hash)).collect())
}

/// The bytes of a bundle of at most 256 entries of at most 65,535 bytes.
pub fn encode_entries(entries: &[&[u8]]) -> Result<Vec<u8>, TileError> {
    if entries.len() > usize::from(TILE_WIDTH) {
        return Err(TileError::Count { found: entries.len() });
    }
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| entry.len() + 2).sum());
    for (position, entry) in entries.iter().enumerate() {
        let len = u16::try_from(entry.len()).map_err(|_| TileError::Entry { position })?;
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle of this width.
pub fn decode_entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let position = entries.len();
        if position >= usize::from(width) {
            return Err(TileError::Count { found: position + 1 });
        }
        let (entry, after) = rest
            .split_first_chunk::<2>()
            .and_then(|(len, after)| after.split_at_checked(u16::from_be_bytes(*len).into()))
            .ok_or(TileError::Entry { position })?;
        entries.push(entry);
        rest = after;
    }
    if entries.len() == usize::from(width) {
        Ok(entries)
    } else {
        Err(TileError::Count { found: entries.len() })
    }
}

/// A decimal number below 256 in its one form.
fn parse_small(text: &str) -> Option<u8> {
    u8::try_from(parse_decimal(text)?).ok()
}

fn parse_number(text: &str) -> Option<u64> {
    let mut number: u64 = 0;
    let mut groups = text.split('/').peekable();
    while let Some(group) = groups.next() {
        let digits = match groups.peek() {
            Some(_) => group.strip_prefix('x')?,
            None => group,
        };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TileLevel::{Entries, Hashes};

    #[test]
    fn paths_print_and_parse() {
        for (level, number, width, path) in [
            (Hashes(0), 0, 256, "tile/0/000"),
            (Hashes(0), 5, 112, "tile/0/005.p/112"),
            (Hashes(63), 999, 256, "tile/63/999"),
            (Hashes(1), 1000, 256, "tile/1/x001/000"),
            (Entries, 1_234_067, 256, "tile/entries/x001/x234/067"),
            (Entries, 1_234_067, 255, "tile/entries/x001/x234/067.p/255"),
            (Hashes(0), u64::MAX, 1, "tile/0/x018/x446/x744/x073/x709/x551/615.p/1"),
        ] {
            let tile = TilePath { level, number, width };
            assert_eq!(tile.to_string(), path);
            assert_eq!(TilePath::parse(path), Some(tile));
        }
    }

    #[test]
    fn other_paths_are_refused() {
        for path in [
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p/+1",
            "tile/0/000.p/1/",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/x+01/000",
            "tile/Entries/000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x001/x234/067.p/1.p/1",
            "",
            "tile",
        ] {
            assert_eq!(TilePath::parse(path), None, "{path}");
        }
    }

    /// The two examples of the specification.
    #[test]
    fn widths_follow_the_size() {
        let widths = |size| [0, 1, 2, 3].map(|l| partial_width(Hashes(l), TreeSize(size)));
        assert_eq!(widths(70_000), [112, 17, 1, 0]);
        assert_eq!(widths(256), [0, 1, 0, 0]);
        assert_eq!(partial_width(Entries, TreeSize(70_000)), 112);
        assert_eq!(partial_width(Hashes(63), TreeSize(u64::MAX)), 0);
        let last = TilePath::last(Hashes(0), TreeSize(70_000));
        assert_eq!(last.map(|t| t.to_string()).as_deref(), Some("tile/0/273.p/112"));
        assert_eq!(TilePath::last(Hashes(2), TreeSize(65_535)), None);
    }

    /// Attack 38: tiles that a tree of this size cannot have.
    #[test]
    fn a_tree_admits_its_own_tiles_only() {
        for (path, size, expect) in [
            ("tile/0/000", 256, true),
            ("tile/0/000", 255, false),
            ("tile/0/000.p/255", 255, true),
            ("tile/0/000.p/254", 255, false),
            ("tile/0/000.p/1", 256, false),
            ("tile/0/001.p/1", 257, true),
            ("tile/1/000.p/1", 256, true),
            ("tile/1/000.p/1", 255, false),
            ("tile/1/000", 65_535, false),
            ("tile/1/000", 65_536, true),
            ("tile/0/999", 256, false),
            ("tile/0/x018/x446/x744/x073/x709/x551/615", u64::MAX, false),
            ("tile/entries/000.p/3", 3, true),
            ("tile/entries/000.p/4", 3, false),
        ] {
            let tile = TilePath::parse(path);
            assert_eq!(tile.map(|t| t.admits(TreeSize(size))), Some(expect), "{path} in {size}");
        }
    }

    #[test]
    fn bundles_and_tiles_round_trip() {
        let entries: [&[u8]; 3] = [b"", b"a", &[0; 65_535]];
        let bytes = encode_entries(&entries).unwrap_or_default();
        assert_eq!(decode_entries(&bytes, 3), Ok(entries.to_vec()));
        assert_eq!(decode_entries(&bytes, 2), Err(TileError::Count { found: 3 }));
        assert_eq!(decode_entries(&bytes, 4), Err(TileError::Count { found: 3 }));
        assert_eq!(decode_entries(&[0, 1], 1), Err(TileError::Entry { position: 0 }));
        assert_eq!(decode_entries(&[0, 0, 0], 2), Err(TileError::Entry { position: 1 }));
        assert_eq!(encode_entries(&[&[0; 65_536]]), Err(TileError::Entry { position: 0 }));
        assert_eq!(encode_entries(&[b"".as_slice(); 257]), Err(TileError::Count { found: 257 }));
        let hashes = [Hash32([1; 32]), Hash32([2; 32])];
        let bytes = encode_hashes(&hashes);
        assert_eq!(decode_hashes(&bytes, 2), Ok(hashes.to_vec()));
        assert_eq!(decode_hashes(&bytes, 1), Err(TileError::Length { found: 64 }));
        let short = bytes.split_last().map(|(_, rest)| rest).unwrap_or_default();
        assert_eq!(decode_hashes(short, 2), Err(TileError::Length { found: 63 }));
    }
}
