//! Bounded counters for one pass over a log: maps with a cap, and the numbering of a source with
//! its holes. A counter that is full counts into `overflow` and says so; it never grows.

use crate::base::unit::{EntryIndex, UtcNanos};
use std::collections::BTreeMap;

/// Keys of one map. Codes x outcomes are 17 x 32 x 5 = 2,720; sources and field names are few;
/// the cap stops a hostile log from filling memory.
pub const TALLY_KEYS_MAX: usize = 10_000;
/// Separate holes in one source's numbers that are told apart.
const HOLES_MAX: usize = 1_024;

/// Values by key, at most `TALLY_KEYS_MAX` of them.
#[derive(Clone, Debug)]
pub struct Tally<K, V> {
    map: BTreeMap<K, V>,
    overflow: u64,
}

impl<K, V> Default for Tally<K, V> {
    fn default() -> Self {
        Tally { map: BTreeMap::new(), overflow: 0 }
    }
}

impl<K: Ord, V: Default> Tally<K, V> {
    /// The value of a key, or `None` when the map is full and the key is new.
    pub fn at(&mut self, key: K) -> Option<&mut V> {
        if self.map.len() >= TALLY_KEYS_MAX && !self.map.contains_key(&key) {
            self.overflow += 1;
            return None;
        }
        Some(self.map.entry(key).or_default())
    }

    /// The value of a key already there.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// Every key and value in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// True when nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Observations that found the map full.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }
}

/// The numbers a counting source gave to its events. A number in a hole closes it, as at intake;
/// numbers below the first one seen belong to an earlier period and open no hole.
#[derive(Clone, Default, Debug)]
pub struct Numbering {
    first: Option<u64>,
    last: u64,
    /// First missing number -> last missing number.
    holes: BTreeMap<u64, u64>,
    /// Missing numbers in holes beyond `HOLES_MAX`: they cannot be closed any more.
    lost_track: u64,
    repeated: u64,
}

impl Numbering {
    /// Takes the next number in log order.
    pub fn observe(&mut self, seq: u64) {
        let Some(first) = self.first else {
            (self.first, self.last) = (Some(seq), seq);
            return;
        };
        if seq > self.last {
            if seq - self.last > 1 {
                self.open(self.last + 1, seq - 1);
            }
            self.last = seq;
        } else if seq >= first {
            self.close(seq);
        }
    }

    fn open(&mut self, from: u64, to: u64) {
        if self.holes.len() < HOLES_MAX {
            self.holes.insert(from, to);
        } else {
            self.lost_track = self.lost_track.saturating_add((to - from).saturating_add(1));
        }
    }

    fn close(&mut self, seq: u64) {
        let hole = self.holes.range(..=seq).next_back().map(|(from, to)| (*from, *to));
        let Some((from, to)) = hole.filter(|(_, to)| *to >= seq) else {
            self.repeated += 1;
            return;
        };
        self.holes.remove(&from);
        if from < seq {
            self.holes.insert(from, seq - 1);
        }
        if seq < to {
            self.open(seq + 1, to);
        }
    }

    /// Numbers that never came.
    pub fn missing(&self) -> u64 {
        self.holes
            .iter()
            .map(|(from, to)| (to - from).saturating_add(1))
            .fold(self.lost_track, u64::saturating_add)
    }

    /// Holes: first and last missing number of each, ascending.
    pub fn holes(&self) -> impl Iterator<Item = (u64, u64)> {
        self.holes.iter().map(|(from, to)| (*from, *to))
    }

    /// First and last number, if any was given.
    pub fn span(&self) -> Option<(u64, u64)> {
        self.first.map(|first| (first, self.last))
    }

    /// Numbers that came twice.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }
}

/// First and last position and time of a set of entries.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Span {
    /// How many.
    pub count: u64,
    /// First position; meaningless while `count` is 0.
    pub first: EntryIndex,
    /// Last position.
    pub last: EntryIndex,
    /// Log time of the first.
    pub first_at: UtcNanos,
    /// Log time of the last.
    pub last_at: UtcNanos,
}

impl Span {
    /// Takes the next entry in log order.
    pub fn observe(&mut self, index: EntryIndex, at: UtcNanos) {
        if self.count == 0 {
            (self.first, self.first_at) = (index, at);
        }
        (self.last, self.last_at) = (index, at);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seqs: &[u64], missing: u64, holes: &[(u64, u64)], repeated: u64) {
        let mut numbering = Numbering::default();
        seqs.iter().for_each(|seq| numbering.observe(*seq));
        assert_eq!(numbering.missing(), missing, "{seqs:?}");
        assert_eq!(numbering.holes().collect::<Vec<_>>(), holes, "{seqs:?}");
        assert_eq!(numbering.repeated(), repeated, "{seqs:?}");
    }

    #[test]
    fn numbers_open_and_close_holes() {
        check(&[], 0, &[], 0);
        check(&[7, 8, 9], 0, &[], 0);
        check(&[1, 5], 3, &[(2, 4)], 0);
        check(&[1, 5, 3], 2, &[(2, 2), (4, 4)], 0);
        check(&[1, 5, 3, 2, 4], 0, &[], 0);
        check(&[1, 2, 2], 0, &[], 1);
        check(&[10, 3, 11], 0, &[], 0);
        check(&[0, u64::MAX], u64::MAX - 1, &[(1, u64::MAX - 1)], 0);
    }

    #[test]
    fn holes_are_bounded_and_still_counted() {
        let mut numbering = Numbering::default();
        (0..5_000).for_each(|n| numbering.observe(n * 2));
        assert_eq!(numbering.missing(), 4_999);
        assert_eq!(numbering.holes().count(), HOLES_MAX);
    }

    #[test]
    fn a_full_tally_counts_what_it_drops() {
        let mut tally: Tally<usize, u64> = Tally::default();
        (0..TALLY_KEYS_MAX + 3).for_each(|n| {
            if let Some(value) = tally.at(n) {
                *value += 1;
            }
        });
        assert_eq!((tally.len(), tally.overflow()), (TALLY_KEYS_MAX, 3));
    }
}
