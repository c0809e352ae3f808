//! Which of an event's subjects: a set of positions, in one word, as an event has at most
//! `GROUP_SUBJECTS_MAX`. It never knows how many its event has: `within` asks.

use crate::base::limits::GROUP_SUBJECTS_MAX;
use std::fmt;

/// A set of positions in `Event::subjects`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectSet(u32);

const _: () = assert!(GROUP_SUBJECTS_MAX <= u32::BITS as usize, "a bit for every subject");

impl SubjectSet {
    /// Nobody: what is sealed so is sealed to the tenant.
    pub const NONE: SubjectSet = SubjectSet(0);

    /// How many.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it is nobody.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The only one, if there is just one.
    pub fn single(self) -> Option<usize> {
        self.0.is_power_of_two().then(|| self.0.trailing_zeros() as usize)
    }

    /// Whether all are below `count`.
    pub fn within(self, count: usize) -> bool {
        (u32::BITS - self.0.leading_zeros()) as usize <= count
    }

    /// The positions, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let position = (left != 0).then(|| left.trailing_zeros() as usize);
            left &= left.wrapping_sub(1);
            position
        })
    }
}

/// Positions beyond the last bit are left out.
impl FromIterator<usize> for SubjectSet {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let bit = |at: usize| u32::try_from(at).ok().and_then(|at| 1_u32.checked_shl(at));
        SubjectSet(positions.into_iter().filter_map(bit).fold(0, |mask, bit| mask | bit))
    }
}

impl fmt::Debug for SubjectSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_positions() {
        for positions in [vec![], vec![0], vec![31], vec![0, 1, 2], vec![3, 17, 31]] {
            let set: SubjectSet = positions.iter().rev().chain(&positions).copied().collect();
            assert!(set.iter().eq(positions.iter().copied()));
            assert_eq!((set.len(), set.is_empty()), (positions.len(), positions.is_empty()));
            assert_eq!(set.single(), (positions.len() == 1).then(|| positions[0]));
            let end = positions.last().map_or(0, |last| last + 1);
            assert!(set.within(end) && (end == 0 || !set.within(end - 1)));
            assert_eq!(format!("{set:?}"), format!("{positions:?}"));
        }
        assert_eq!([32, 33, usize::MAX].into_iter().collect::<SubjectSet>(), SubjectSet::NONE);
    }
}
