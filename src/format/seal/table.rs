//! A derived table: sorted rows of one width, and its Merkle root. Layouts: `format/seal`.
//! It never sorts: whoever builds it hands rows in order.

use crate::base::id::Hash32;
use crate::crypto::lanes::Lanes;
use sha2::{Digest, Sha256};

/// Rows of one leaf of the index table: 163 x 25 bytes = 4,075, a page with room for a header.
pub const INDEX_LEAF_ROWS: usize = 163;

/// Leaves hashed side by side: as many as the widest lanes take, twice.
const LEAVES_AT_ONCE: usize = 32;

/// Rows of a fixed width, sorted bytewise and unique.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    row_bytes: usize,
    leaf_rows: usize,
    rows: Vec<u8>,
}

impl Table {
    /// An empty table with rows of `WIDTH` bytes, `leaf_rows` of them to a leaf.
    pub fn new<const WIDTH: usize>(leaf_rows: usize) -> Self {
        const { assert!(WIDTH > 0) };
        Table { row_bytes: WIDTH, leaf_rows: leaf_rows.max(1), rows: Vec::new() }
    }

    /// Makes room for `rows` more rows.
    pub fn reserve(&mut self, rows: usize) {
        self.rows.reserve(rows.saturating_mul(self.row_bytes));
    }

    /// Appends a row, which must sort after the last; `debug` builds check it.
    pub fn push<const WIDTH: usize>(&mut self, row: &[u8; WIDTH]) {
        assert_eq!(WIDTH, self.row_bytes, "one width per table");
        debug_assert!(self.rows().last().is_none_or(|last| last < row.as_slice()));
        self.rows.extend_from_slice(row);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len() / self.row_bytes
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in order.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.rows.chunks_exact(self.row_bytes)
    }

    /// The leaves in order: concatenated rows.
    pub fn leaves(&self) -> std::slice::Chunks<'_, u8> {
        self.rows.chunks(self.row_bytes * self.leaf_rows)
    }

    /// RFC 6962 root over the leaves.
    pub fn root(&self) -> Hash32 {
        let (lanes, mut roots) = (Lanes::detect(), RootOf::default());
        let leaves: Vec<&[u8]> = self.leaves().collect();
        let mut preimages = Vec::new();
        for some in leaves.chunks(LEAVES_AT_ONCE) {
            preimages.clear();
            for leaf in some {
                preimages.push(0x00);
                preimages.extend_from_slice(leaf);
            }
            // All leaves but the last one are of one length.
            let messages: Vec<&[u8]> =
                preimages.chunks(1 + self.row_bytes * self.leaf_rows).collect();
            let mut hashes = vec![Hash32::ZERO; messages.len()];
            lanes.digest_many(&messages, &mut hashes);
            hashes.iter().for_each(|hash| roots.push_hash(*hash));
        }
        roots.finish()
    }
}

/// RFC 6962 root of a growing list of leaves, in memory logarithmic in their number.
#[derive(Clone, Default, Debug)]
pub struct RootOf {
    leaves: u64,
    /// Roots of the perfect subtrees of the list, largest first.
    peaks: Vec<Hash32>,
}

impl RootOf {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: &[u8]) {
        self.push_hash(leaf_hash(leaf));
    }

    /// Appends the hash of a leaf.
    pub fn push_hash(&mut self, leaf: Hash32) {
        let mut hash = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.leaves += 1;
    }

    /// The root: SHA-256 of nothing for no leaves.
    pub fn finish(self) -> Hash32 {
        let peaks = self.peaks.into_iter().rev();
        peaks
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(|| Hash32(Sha256::digest(b"").into()))
    }
}

fn leaf_hash(bytes: &[u8]) -> Hash32 {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(bytes);
    Hash32(hasher.finalize().into())
}

fn node_hash(left: &Hash32, right: &Hash32) -> Hash32 {
    let mut bytes = [0x01; 65];
    let (_, children) = bytes.split_at_mut(1);
    let (l, r) = children.split_at_mut(32);
    l.copy_from_slice(&left.0);
    r.copy_from_slice(&right.0);
    Hash32(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, read literally.
    fn mth(leaves: &[&[u8]]) -> Hash32 {
        match leaves {
            [] => Hash32(Sha256::digest(b"").into()),
            [leaf] => leaf_hash(leaf),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&mth(left), &mth(right))
            }
        }
    }

    #[test]
    fn roots_equal_the_definition() {
        for rows in 0_u16..70 {
            for leaf_rows in [1, 3] {
                let mut table = Table::new::<2>(leaf_rows);
                (0..rows).for_each(|row| table.push(&row.to_be_bytes()));
                let leaves: Vec<&[u8]> = table.leaves().collect();
                assert_eq!(table.root(), mth(&leaves), "{rows} rows, {leaf_rows} a leaf");
                assert_eq!(table.len(), usize::from(rows));
            }
        }
    }

    #[test]
    fn known_roots() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Table::new::<8>(1).root().to_string(), empty);
        let mut one = RootOf::default();
        one.push(b"");
        let leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(one.finish().to_string(), leaf);
    }
}
