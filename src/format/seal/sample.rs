//! Which epochs a replay takes. The reader chooses, never the vault: the choice follows from the
//! checkpoint's root and from a seed of the reader's own. Without a seed, who signs may try
//! roots until the choice suits him; the page says so. It draws no randomness.

use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ops::Range;

const LABEL: &[u8] = b"chancery/v1/sample\0";
/// All of them.
pub const ALL: u8 = 100;

/// A share of epochs and the reader's seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Per cent, 1 to 100.
    percent: u8,
    seed: Vec<u8>,
}

impl Sample {
    /// Every epoch.
    pub fn all() -> Self {
        Sample { percent: ALL, seed: Vec::new() }
    }

    /// A share of 1 to 100 per cent; nothing for another.
    pub fn new(percent: u8, seed: &[u8]) -> Option<Self> {
        (1..=ALL).contains(&percent).then(|| Sample { percent, seed: seed.to_vec() })
    }

    /// Per cent.
    pub fn percent(&self) -> u8 {
        self.percent
    }

    /// Whether the reader brought a seed.
    pub fn is_seeded(&self) -> bool {
        !self.seed.is_empty()
    }

    /// The epochs taken of these, under this root: at least one if there is one.
    pub fn of(&self, root: &Hash32, epochs: Range<u64>) -> BTreeSet<u64> {
        if self.percent == ALL {
            return epochs.collect();
        }
        let least = epochs.clone().min_by_key(|epoch| self.lot(root, *epoch));
        let limit = u128::from(self.percent) << 64;
        let taken = |epoch: &u64| u128::from(self.lot(root, *epoch)) * 100 < limit;
        let mut found: BTreeSet<u64> = epochs.filter(taken).collect();
        if found.is_empty() {
            found.extend(least);
        }
        found
    }

    /// The epochs taken of those that lie in a range of entries as a whole.
    pub fn of_range(&self, root: &Hash32, entries: &Range<u64>) -> BTreeSet<u64> {
        let first = entries.start.div_ceil(EPOCH_ENTRIES);
        self.of(root, first..(entries.end / EPOCH_ENTRIES).max(first))
    }

    fn lot(&self, root: &Hash32, epoch: u64) -> u64 {
        let digest = Sha256::new()
            .chain_update(LABEL)
            .chain_update(root.0)
            .chain_update(epoch.to_be_bytes())
            .chain_update(&self.seed);
        let digest: [u8; 32] = digest.finalize().into();
        digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_follows_from_root_and_seed_and_is_never_empty() {
        let (root, other) = (Hash32([1; 32]), Hash32([2; 32]));
        let sample = |percent, seed: &[u8]| Sample::new(percent, seed).unwrap_or(Sample::all());
        let five = sample(5, b"");
        assert_eq!(five.of(&root, 0..1000), five.of(&root, 0..1000));
        assert!((20..=90).contains(&five.of(&root, 0..1000).len()));
        assert_ne!(five.of(&root, 0..1000), five.of(&other, 0..1000));
        assert_ne!(five.of(&root, 0..1000), sample(5, b"dice: 3 6 1").of(&root, 0..1000));
        assert!(five.of(&root, 0..1000).is_subset(&sample(50, b"").of(&root, 0..1000)));
        for epochs in 1..30 {
            assert!(!sample(1, b"").of(&root, 0..epochs).is_empty());
        }
        assert_eq!(Sample::all().of(&root, 3..6), BTreeSet::from([3, 4, 5]));
        assert!(five.of(&root, 4..4).is_empty());
        assert_eq!((Sample::new(0, b""), Sample::new(101, b"")), (None, None));
    }

    #[test]
    fn only_whole_epochs_of_a_range_count() {
        let root = Hash32([1; 32]);
        let of = |start: u64, end: u64| Sample::all().of_range(&root, &(start..end));
        assert_eq!(of(0, 65_536), BTreeSet::from([0]));
        assert_eq!(of(1, 131_072), BTreeSet::from([1]));
        assert!(of(1, 131_071).is_empty());
        assert!(of(65_537, 65_538).is_empty());
    }
}
