//! A stored chunk: one leaf of an index table, packed. It never trusts what it reads: a chunk
//! under a wrong name, out of order, of a wrong number or with a flipped bit is nothing.
//!
//! Name, 33 bytes: epoch u64 || first row\[25\]. Value:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | CRC-32 of the name and of the value from byte 4 |
//! | 4 | 4 | number of the chunk in its epoch, from 0 |
//! | 8 | .. | rows: shared u8, then the last 19 - shared bytes of the packed row |
//!
//! A packed row is row kind u8 || key\[16\] || entry index - 65,536 epoch as u16; `shared` counts
//! the bytes it has in common with the row before, so runs of one key cost 2 to 3 bytes a row.
//!
//! Each epoch has a header under the name epoch || zeros (no row has kind 0): CRC-32 as above,
//! chunks u32, root\[32\] of the index table.

use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::format::seal::row::INDEX_ROW_BYTES;

/// Bytes of a name.
pub const NAME_BYTES: usize = 8 + INDEX_ROW_BYTES;
const PACKED_BYTES: usize = 19;

/// Where a chunk lies.
pub type Name = [u8; NAME_BYTES];

/// An index row.
pub type Row = [u8; INDEX_ROW_BYTES];

/// What an epoch's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochHeader {
    /// Number of chunks.
    pub chunks: u32,
    /// Root of the index table.
    pub root: Hash32,
}

/// Name of the chunk that begins with `row`; of the header for an empty row.
pub fn name(epoch: u64, row: &[u8]) -> Name {
    let mut name = [0; NAME_BYTES];
    let bytes = epoch.to_be_bytes().into_iter().chain(row.iter().copied());
    name.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    name
}

/// Epoch and first row of a name; nothing for another length.
pub fn parse_name(name: &[u8]) -> Option<(u64, Row)> {
    let (epoch, row) = name.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*epoch), row.try_into().ok()?))
}

/// Packs a leaf of the index table of `name`'s epoch.
pub fn pack(name: &Name, number: u32, leaf: &[u8]) -> Vec<u8> {
    let mut value = vec![0; 4];
    value.extend_from_slice(&number.to_be_bytes());
    let mut before = [0; PACKED_BYTES];
    for row in leaf.as_chunks::<INDEX_ROW_BYTES>().0 {
        let packed = shorten(row);
        let shared = common(&packed, &before);
        value.push(shared as u8);
        value.extend_from_slice(packed.split_at(shared).1);
        before = packed;
    }
    seal(name, value)
}

/// How many bytes two rows begin with alike.
#[inline]
fn common(one: &[u8; PACKED_BYTES], other: &[u8; PACKED_BYTES]) -> usize {
    let head = |row: &[u8; PACKED_BYTES]| row.first_chunk().map_or(0, |h| u128::from_be_bytes(*h));
    match head(one) ^ head(other) {
        0 => one.iter().zip(other).take_while(|(a, b)| a == b).count(),
        differ => differ.leading_zeros() as usize / 8,
    }
}

/// Number and rows of a chunk; nothing if a byte is not what `pack` wrote.
pub fn unpack(name: &[u8], value: &[u8]) -> Option<(u32, Vec<Row>)> {
    let (epoch, first) = parse_name(name)?;
    let base = epoch.checked_mul(EPOCH_ENTRIES)?;
    let (number, mut rest) = checked(name, value)?.split_first_chunk::<4>()?;
    let mut rows = Vec::new();
    let mut packed = [0; PACKED_BYTES];
    while let Some((shared, tail)) = rest.split_first() {
        let open = packed.get_mut(usize::from(*shared)..)?;
        let (bytes, after) = tail.split_at_checked(open.len())?;
        open.copy_from_slice(bytes);
        rest = after;
        let row = lengthen(base, &packed);
        if rows.last().is_some_and(|last| *last >= row) {
            return None;
        }
        rows.push(row);
    }
    (rows.first() == Some(&first)).then_some((u32::from_be_bytes(*number), rows))
}

/// Value of an epoch's header.
pub fn pack_header(name: &Name, header: &EpochHeader) -> Vec<u8> {
    let mut value = vec![0; 4];
    value.extend_from_slice(&header.chunks.to_be_bytes());
    value.extend_from_slice(&header.root.0);
    seal(name, value)
}

/// Reads an epoch's header.
pub fn unpack_header(name: &[u8], value: &[u8]) -> Option<EpochHeader> {
    let (chunks, root) = checked(name, value)?.split_first_chunk::<4>()?;
    let root = Hash32(root.try_into().ok()?);
    Some(EpochHeader { chunks: u32::from_be_bytes(*chunks), root })
}

/// Writes the checksum of name and value into the first four bytes.
pub(crate) fn seal(name: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    if let Some((sum, rest)) = value.split_first_chunk_mut::<4>() {
        *sum = checksum(name, rest);
    }
    value
}

/// The value behind its checksum, if that is right.
pub(crate) fn checked<'a>(name: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, rest) = value.split_first_chunk::<4>()?;
    (*sum == checksum(name, rest)).then_some(rest)
}

fn checksum(name: &[u8], value: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

/// Drops the six bytes of the entry index that the epoch says.
fn shorten(row: &Row) -> [u8; PACKED_BYTES] {
    let mut packed = [0; PACKED_BYTES];
    let (key, place) = packed.split_at_mut(17);
    key.copy_from_slice(row.split_at(17).0);
    place.copy_from_slice(row.split_at(INDEX_ROW_BYTES - 2).1);
    packed
}

fn lengthen(base: u64, packed: &[u8; PACKED_BYTES]) -> Row {
    let mut row = [0; INDEX_ROW_BYTES];
    let (key, place) = row.split_at_mut(17);
    key.copy_from_slice(packed.split_at(17).0);
    let [.., high, low] = *packed;
    let index = base | u64::from(u16::from_be_bytes([high, low]));
    place.copy_from_slice(&index.to_be_bytes());
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::event::Outcome;
    use crate::base::id::RecordId;
    use crate::base::unit::EntryIndex;
    use crate::format::seal::row::IndexKey;

    fn leaf() -> Vec<u8> {
        let failures = (0..100).map(|i| {
            IndexKey::outcome(Outcome::Failure).row(EntryIndex(3 * EPOCH_ENTRIES + 7 * i))
        });
        let records = (0..63_u8).map(|i| {
            let id = RecordId([i; 16]);
            IndexKey::record(id).row(EntryIndex(3 * EPOCH_ENTRIES + 65_535 - u64::from(i)))
        });
        failures.chain(records).flatten().collect()
    }

    #[test]
    fn chunks_read_back_and_any_flip_is_found() {
        let leaf = leaf();
        let name = name(3, leaf.split_at(INDEX_ROW_BYTES).0);
        let value = pack(&name, 9, &leaf);
        assert!(value.len() < leaf.len() / 2, "{} bytes", value.len());
        let rows = unpack(&name, &value).map(|(number, rows)| (number, rows.concat()));
        assert_eq!(rows, Some((9, leaf)));
        for at in 0..value.len() * 8 {
            let mut bad = value.clone();
            bad.iter_mut().skip(at / 8).take(1).for_each(|b| *b ^= 1 << (at % 8));
            assert_eq!(unpack(&name, &bad), None, "bit {at}");
        }
        for cut in 0..value.len() {
            assert_eq!(unpack(&name, value.split_at(cut).0), None, "cut at {cut}");
        }
        let mut elsewhere = name;
        elsewhere.iter_mut().skip(7).take(1).for_each(|b| *b += 1);
        assert_eq!(unpack(&elsewhere, &value), None);
    }

    #[test]
    fn rows_out_of_order_are_refused_even_with_a_right_checksum() {
        let mut leaf = leaf();
        leaf.rotate_left(INDEX_ROW_BYTES);
        let name = name(3, leaf.split_at(INDEX_ROW_BYTES).0);
        assert_eq!(unpack(&name, &pack(&name, 0, &leaf)), None);
    }

    #[test]
    fn headers_read_back() {
        let header = EpochHeader { chunks: 7, root: Hash32([9; 32]) };
        let name = name(1, &[]);
        let value = pack_header(&name, &header);
        assert_eq!(unpack_header(&name, &value), Some(header));
        assert_eq!(unpack_header(&[0; NAME_BYTES], &value), None);
        assert_eq!(unpack_header(&name, value.split_at(39).0), None);
    }
}
