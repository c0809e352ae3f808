//! The Merkle tree of RFC 6962 (section 2.1) over SHA-256, with the verification algorithms of
//! RFC 9162 (2.1.3.2, 2.1.4.2).
//!
//! Three parts: `Compact` grows a tree and keeps only its right edge; proofs are built from the
//! stored hashes of C2SP tlog-tiles (`Nodes`); verification needs nothing but the proof. It never
//! reads a file: `Nodes` comes in as an argument. Terms: *height* counts binary levels from the
//! leaves, *level* counts 256-ary ones, so the hash at level L, index i is the root of the leaves
//! [i * 256^L, (i + 1) * 256^L).

use crate::base::id::Hash32;
use crate::base::unit::{EntryIndex, TreeSize};
use crate::crypto::hash::node_hash;
use crate::crypto::lanes::Lanes;
use std::fmt;

/// Root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash32 = Hash32([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Binary heights per 256-ary level.
const LEVEL_HEIGHT: u32 = 8;
/// Sizes from here on are refused: other implementations count in signed 64-bit numbers.
const SIZE_END: u64 = 1 << 63;

/// Why a proof, or a stored tree edge, was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProofError {
    /// The index lies outside the tree, or the old tree is larger than the new one.
    Range,
    /// The number of hashes does not fit the sizes.
    Length,
    /// The hashes do not lead to the (new) root.
    Root,
    /// The hashes do not lead to the old root.
    OldRoot,
}

impl ProofError {
    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            ProofError::Range => "PROOF_RANGE",
            ProofError::Length => "PROOF_LENGTH",
            ProofError::Root => "PROOF_ROOT",
            ProofError::OldRoot => "PROOF_OLD_ROOT",
        }
    }
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProofError::Range => "position or size outside the tree",
            ProofError::Length => "wrong number of hashes for these sizes",
            ProofError::Root => "hashes do not lead to the root",
            ProofError::OldRoot => "hashes do not lead to the old root",
        })
    }
}

impl std::error::Error for ProofError {}

/// A growing tree, of which only the right edge is kept: the roots of the perfect subtrees that
/// the binary digits of its size name, largest first.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Compact {
    size: TreeSize,
    edge: Vec<Hash32>,
}

impl Compact {
    /// The empty tree.
    pub fn new() -> Self {
        Compact::default()
    }

    /// Takes up a tree from its size and its edge as `hashes` gives it.
    ///
    /// # Errors
    /// `Length` unless there are as many hashes as one-bits in `size`; `Range` from size 2^63 on.
    pub fn from_parts(size: TreeSize, hashes: Vec<Hash32>) -> Result<Self, ProofError> {
        if size.0 >= SIZE_END {
            return Err(ProofError::Range);
        }
        if hashes.len() != size.0.count_ones() as usize {
            return Err(ProofError::Length);
        }
        Ok(Compact { size, edge: hashes })
    }

    /// Number of leaves.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The edge: one hash per one-bit of the size, largest subtree first.
    pub fn hashes(&self) -> &[Hash32] {
        &self.edge
    }

    /// Adds one leaf hash. Reports no tile hashes: who stores tiles uses `extend`.
    pub fn push(&mut self, leaf: Hash32) {
        let mut hash = leaf;
        for _ in 0..self.size.0.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.edge.push(hash);
        self.size.0 += 1;
    }

    /// Adds leaf hashes in order, hashing each height of the tree in lanes.
    ///
    /// `sink(level, hash)` gets every 256-ary node of level 1 and up that these leaves complete,
    /// in ascending index within a level: what tlog-tiles stores above the leaves. The first one
    /// of level L has index `size >> 8L` of the size before the call.
    pub fn extend(&mut self, lanes: &Lanes, leaves: &[Hash32], sink: &mut dyn FnMut(u8, Hash32)) {
        let mut row = Vec::with_capacity(leaves.len() + 1);
        let mut added = Vec::new();
        let mut fresh = leaves;
        let mut parents: Vec<Hash32>;
        let mut height = 0;
        while !fresh.is_empty() {
            if height > 0 && height % LEVEL_HEIGHT == 0 {
                fresh.iter().for_each(|hash| sink((height / LEVEL_HEIGHT) as u8, *hash));
            }
            row.clear();
            // An edge hash of this height is the left sibling of the first new node.
            if bit(self.size.0, height) {
                row.extend(self.edge.pop());
            }
            row.extend_from_slice(fresh);
            if row.len() % 2 == 1 {
                added.extend(row.pop());
            }
            parents = vec![Hash32::ZERO; row.len() / 2];
            lanes.nodes(&row, &mut parents);
            fresh = &parents;
            height += 1;
        }
        self.edge.extend(added.iter().rev());
        self.size.0 += leaves.len() as u64;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash32 {
        join(&self.edge).unwrap_or(EMPTY_ROOT)
    }
}

/// Stored hashes of a tree, as tlog-tiles keeps them.
pub trait Nodes {
    /// The hash at 256-ary `level` (0 = leaves) and `index`; `None` if it is not there.
    fn node(&self, level: u8, index: u64) -> Option<Hash32>;
}

impl<F: Fn(u8, u64) -> Option<Hash32>> Nodes for F {
    fn node(&self, level: u8, index: u64) -> Option<Hash32> {
        self(level, index)
    }
}

/// Root of the tree of the first `size` leaves. `None` if a needed hash is not stored.
pub fn root_at(nodes: &(impl Nodes + ?Sized), size: TreeSize) -> Option<Hash32> {
    if size.0 == 0 { Some(EMPTY_ROOT) } else { range_root(nodes, 0, size.0) }
}

/// Root of the subtree over the leaves from `start` up to but without `end`.
///
/// `None` if the range is empty, if `start` is no multiple of the least power of two that is at
/// least the range's length (such a range is no subtree), or if a hash is not stored.
pub fn subtree_root(
    nodes: &(impl Nodes + ?Sized),
    start: EntryIndex,
    end: TreeSize,
) -> Option<Hash32> {
    let width = end.0.checked_sub(start.0).filter(|len| *len > 0)?.checked_next_power_of_two()?;
    if !start.0.is_multiple_of(width) {
        return None;
    }
    range_root(nodes, start.0, end.0)
}

/// The inclusion proof of leaf `index` in the tree of `size` leaves (RFC 6962, 2.1.1), leaf end
/// first. `None` if `index` lies outside the tree or a needed hash is not stored.
pub fn inclusion_proof(
    nodes: &(impl Nodes + ?Sized),
    index: EntryIndex,
    size: TreeSize,
) -> Option<Vec<Hash32>> {
    if index.0 >= size.0 {
        return None;
    }
    let (mut low, mut high) = (0, size.0);
    let mut proof = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index.0 < middle {
            proof.push(range_root(nodes, middle, high)?);
            high = middle;
        } else {
            proof.push(range_root(nodes, low, middle)?);
            low = middle;
        }
    }
    proof.reverse();
    Some(proof)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves (RFC 6962,
/// 2.1.2). Empty for `old` = 0 and for `old` = `new`; `None` if `old` is larger than `new` or a
/// needed hash is not stored.
pub fn consistency_proof(
    nodes: &(impl Nodes + ?Sized),
    old: TreeSize,
    new: TreeSize,
) -> Option<Vec<Hash32>> {
    if old > new {
        return None;
    }
    let mut proof = Vec::new();
    if old.0 == 0 {
        return Some(proof);
    }
    let (mut low, mut high) = (0, new.0);
    while high != old.0 {
        let middle = low + split(high - low);
        if old.0 <= middle {
            proof.push(range_root(nodes, middle, high)?);
            high = middle;
        } else {
            proof.push(range_root(nodes, low, middle)?);
            low = middle;
        }
    }
    // Who verifies knows the old root; a part of the old tree it must be told.
    if low > 0 {
        proof.push(range_root(nodes, low, high)?);
    }
    proof.reverse();
    Some(proof)
}

/// The root to which an inclusion proof leads (RFC 9162, 2.1.3.2).
///
/// # Errors
/// `Range` if `index` lies outside the tree, `Length` if the proof has not the tree's depth.
pub fn root_from_inclusion(
    leaf: &Hash32,
    index: EntryIndex,
    size: TreeSize,
    proof: &[Hash32],
) -> Result<Hash32, ProofError> {
    if index.0 >= size.0 {
        return Err(ProofError::Range);
    }
    let (mut node, mut last) = (index.0, size.0 - 1);
    let mut root = *leaf;
    for hash in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node % 2 == 1 || node == last {
            root = node_hash(hash, &root);
            // A last node without a sibling rises unchanged to where it has one.
            let lone = if node % 2 == 0 { node.trailing_zeros() } else { 0 };
            node >>= lone;
            last >>= lone;
        } else {
            root = node_hash(&root, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(root) } else { Err(ProofError::Length) }
}

/// Checks that `leaf` is at `index` in the tree of `size` leaves with this root.
///
/// # Errors
/// As `root_from_inclusion`; `Root` if the proof leads elsewhere.
pub fn verify_inclusion(
    leaf: &Hash32,
    index: EntryIndex,
    size: TreeSize,
    proof: &[Hash32],
    root: &Hash32,
) -> Result<(), ProofError> {
    let found = root_from_inclusion(leaf, index, size, proof)?;
    if found == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the new tree begins with the old one (RFC 9162, 2.1.4.2).
///
/// The RFC leaves size 0 open. Here, as in tlog-witness, every tree begins with the empty one: the
/// proof must be empty and the old root that of no leaves.
///
/// # Errors
/// `Range` if the old tree is larger, `Length` if the proof does not fit the sizes, `OldRoot` or
/// `Root` if it leads elsewhere.
pub fn verify_consistency(
    old_size: TreeSize,
    old_root: &Hash32,
    new_size: TreeSize,
    new_root: &Hash32,
    proof: &[Hash32],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Range);
    }
    if old_size.0 == 0 && *old_root != EMPTY_ROOT {
        return Err(ProofError::OldRoot);
    }
    if old_size.0 == 0 || old_size == new_size {
        return match proof {
            [] if old_size == new_size && old_root != new_root => Err(ProofError::Root),
            [] => Ok(()),
            _ => Err(ProofError::Length),
        };
    }
    // A perfect old tree is itself the first node; otherwise the proof begins with it.
    let (seed, path) = if old_size.0.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length)?
    };
    let (mut node, mut last) = (old_size.0 - 1, new_size.0 - 1);
    let skip = node.trailing_ones();
    node >>= skip;
    last >>= skip;
    let (mut old, mut new) = (*seed, *seed);
    for hash in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node % 2 == 1 || node == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            let lone = if node % 2 == 0 { node.trailing_zeros() } else { 0 };
            node >>= lone;
            last >>= lone;
        } else {
            new = node_hash(&new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        Err(ProofError::Length)
    } else if old != *old_root {
        Err(ProofError::OldRoot)
    } else if new != *new_root {
        Err(ProofError::Root)
    } else {
        Ok(())
    }
}

/// The largest power of two below `len`, which is at least 2.
fn split(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}

fn bit(number: u64, position: u32) -> bool {
    number.checked_shr(position).is_some_and(|rest| rest % 2 == 1)
}

/// Root over roots of subtrees that stand side by side, largest first.
fn join(roots: &[Hash32]) -> Option<Hash32> {
    let (last, rest) = roots.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// Root of the leaves [start, end), not empty; `start` is a multiple of the largest power of two
/// below or at the length, which the proofs' ranges satisfy.
fn range_root(nodes: &(impl Nodes + ?Sized), start: u64, end: u64) -> Option<Hash32> {
    let mut at = start;
    let mut roots = Vec::new();
    while at < end {
        let height = (end - at).ilog2();
        roots.push(perfect_root(nodes, height, at >> height)?);
        at += 1 << height;
    }
    join(&roots)
}

/// Root of the perfect subtree of 2^height leaves at `index`, from at most 128 stored hashes.
pub fn perfect_root(nodes: &(impl Nodes + ?Sized), height: u32, index: u64) -> Option<Hash32> {
    let level = (height / LEVEL_HEIGHT) as u8;
    let fold = height % LEVEL_HEIGHT;
    let first = index << fold;
    let mut row =
        (first..first + (1 << fold)).map(|i| nodes.node(level, i)).collect::<Option<Vec<_>>>()?;
    let lanes = Lanes::detect();
    while row.len() > 1 {
        let mut parents = vec![Hash32::ZERO; row.len() / 2];
        lanes.nodes(&row, &mut parents);
        row = parents;
    }
    row.first().copied()
}
