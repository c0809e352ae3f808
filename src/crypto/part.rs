//! Part of a tree: some leaves shown, and between them just enough node hashes to reach the root
//! in one pass from left to right. Grammar: docs/format.md section 11.
//! It keeps at most one hash per height. It never reads a file and counts no bytes.

use crate::base::id::Hash32;
use crate::crypto::hash::node_hash;

/// Heights without a limit: a tree has fewer than 2^63 leaves.
pub const HEIGHT_MAX: u32 = 63;

/// A node by its place: over the leaves [index << height, (index + 1) << height).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Binary levels above the leaves.
    pub height: u32,
    /// Which node of that height, from 0.
    pub index: u64,
}

/// The nodes that stand for the leaves of a gap, from left to right.
#[derive(Clone, Debug)]
pub struct Gap {
    at: u64,
    end: u64,
    height_max: u32,
}

impl Gap {
    /// The gap [start, end), shown in nodes of at most this height.
    pub fn new(start: u64, end: u64, height_max: u32) -> Self {
        Gap { at: start, end, height_max: height_max.min(HEIGHT_MAX) }
    }
}

impl Iterator for Gap {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let left = self.end.checked_sub(self.at).filter(|left| *left > 0)?;
        // At 0 every height is aligned: trailing_zeros is 64.
        let height = left.ilog2().min(self.at.trailing_zeros()).min(self.height_max);
        let place = Place { height, index: self.at >> height };
        self.at += 1 << height;
        Some(place)
    }
}

/// A root that grows as hashes come in from left to right.
#[derive(Clone, Default, Debug)]
pub struct PartRoot {
    at: u64,
    stack: Vec<(u32, Hash32)>,
}

impl PartRoot {
    /// Leaves covered so far: where the next hash stands.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Takes the hash over the next 2^height leaves and tells `seen` every node it completes,
    /// itself included. The place must be one that `Gap` gives, or a leaf's.
    pub fn push(&mut self, height: u32, hash: Hash32, seen: &mut dyn FnMut(Place, &Hash32)) {
        let (mut height, mut hash) = (height, hash);
        self.at = self.at.saturating_add(1 << height.min(HEIGHT_MAX));
        loop {
            let ended = self.at.checked_shr(height).unwrap_or(0);
            seen(Place { height, index: ended.saturating_sub(1) }, &hash);
            match self.stack.pop_if(|(other, _)| *other == height) {
                Some((_, left)) => hash = node_hash(&left, &hash),
                None => break,
            }
            height += 1;
        }
        self.stack.push((height, hash));
    }

    /// The root over everything pushed; nothing for no leaves.
    pub fn root(&self) -> Option<Hash32> {
        let hashes = self.stack.iter().rev().map(|(_, hash)| *hash);
        hashes.reduce(|right, left| node_hash(&left, &right))
    }
}

/// Root of a perfect tree over these leaf hashes: 2^height of them.
pub fn fold(leaves: &[Hash32]) -> Option<Hash32> {
    let mut root = PartRoot::default();
    leaves.iter().for_each(|leaf| root.push(0, *leaf, &mut |_, _| {}));
    root.root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::leaf_hash;
    use crate::crypto::merkle::Compact;

    fn leaves(count: u64) -> Vec<Hash32> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn a_gap_is_covered_from_left_to_right_by_aligned_nodes() {
        for (start, end, height_max) in [(0, 0, 63), (0, 7, 63), (3, 29, 63), (3, 29, 2), (5, 6, 0)]
        {
            let mut at = start;
            for Place { height, index } in Gap::new(start, end, height_max) {
                assert_eq!(index << height, at);
                assert!(height <= height_max);
                at += 1 << height;
                let wider = height < height_max && at - (1 << height) + (2 << height) <= end;
                assert!(!wider || (at - (1 << height)) % (2 << height) != 0, "{start} {end}");
            }
            assert_eq!(at, end);
        }
    }

    #[test]
    fn every_run_of_every_small_tree_leads_to_its_root() {
        for size in 1..=20_u64 {
            let leaves = leaves(size);
            let mut whole = Compact::new();
            leaves.iter().for_each(|leaf| whole.push(*leaf));
            for start in 0..=size {
                for end in start..=size {
                    for height_max in [HEIGHT_MAX, 2] {
                        let mut root = PartRoot::default();
                        let gap = |root: &mut PartRoot, from, to| {
                            for Place { height, index } in Gap::new(from, to, height_max) {
                                let first = (index << height) as usize;
                                let under = &leaves[first..first + (1 << height)];
                                root.push(height, fold(under).unwrap(), &mut |_, _| {});
                            }
                        };
                        gap(&mut root, 0, start);
                        for leaf in &leaves[start as usize..end as usize] {
                            root.push(0, *leaf, &mut |_, _| {});
                        }
                        gap(&mut root, end, size);
                        assert_eq!(root.root(), Some(whole.root()), "{start}..{end} of {size}");
                        assert_eq!(root.at(), size);
                    }
                }
            }
        }
        assert_eq!(PartRoot::default().root(), None);
    }
}
