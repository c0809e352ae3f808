//! A counting source: which of its numbers were used. What is missing is remembered as gaps, of
//! which there are never more than a limit, in whatever order the numbers come and however many at
//! once. It never forgets a number, and never takes one for used that was not.

use crate::base::id::{ById, SourceHandle};
use crate::base::limits::SOURCE_HOLES_MAX;
use crate::vault::dedupe::{Seen, Window};
use std::collections::BTreeMap;

/// A counting source: all numbers up to `high` are used but those in `holes`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Sequence {
    pub(crate) high: Option<u64>,
    /// First and last missing number of each gap.
    pub(crate) holes: BTreeMap<u64, u64>,
}

impl Sequence {
    /// Whether a number was used. A new one that would leave more gaps than are remembered, above
    /// all others or by cutting a gap in two, is refused.
    pub fn seen(&self, seq: u64) -> Seen {
        let Some(high) = self.high else { return Seen::New };
        let opens = match self.holes.range(..=seq).next_back() {
            _ if seq > high => seq - 1 > high,
            Some((first, last)) if seq <= *last => *first < seq && seq < *last,
            _ => return Seen::Before,
        };
        match opens && self.holes.len() >= SOURCE_HOLES_MAX {
            true => Seen::TooManyGaps,
            false => Seen::New,
        }
    }

    /// Marks a number as used. The first number of a source opens a gap below it, since what
    /// came before may still come.
    pub fn insert(&mut self, seq: u64) {
        let next = self.high.map_or(0, |high| high.saturating_add(1));
        if self.high.is_none_or(|high| seq > high) {
            if seq > next {
                self.holes.insert(next, seq - 1);
            }
            self.high = Some(seq);
            return;
        }
        let gap = self.holes.range(..=seq).next_back().map(|(first, last)| (*first, *last));
        if let Some((first, last)) = gap.filter(|(_, last)| seq <= *last) {
            self.holes.remove(&first);
            if first < seq {
                self.holes.insert(first, seq - 1);
            }
            if seq < last {
                self.holes.insert(seq + 1, last);
            }
        }
    }

    /// What is missing; none before the first number.
    pub fn missing(&self) -> Option<Gaps> {
        Some(Gaps { high: self.high?, missing: self.gaps().collect() })
    }

    /// Gaps above the first number, as (first missing, last missing).
    pub fn gaps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.holes.iter().map(|(first, last)| (*first, *last)).filter(|(first, _)| *first != 0)
    }
}

/// What is missing of the numbers of a counting source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gaps {
    /// The highest number that was used.
    pub high: u64,
    /// First and last number of each gap above the first number that came, ascending.
    pub missing: Vec<(u64, u64)>,
}

/// The numbers of one batch, tried in order before any is taken in: the gaps that the batch itself
/// opens count too.
#[derive(Default)]
pub struct Trial {
    /// Gaps the batch can open at most.
    opens: usize,
    sequences: ById<SourceHandle, Sequence>,
}

impl Trial {
    /// A trial of a batch's numbers, each with its source.
    pub fn of(numbers: impl Iterator<Item = (SourceHandle, Option<u64>)>) -> Trial {
        let (mut opens, mut last) = (0, None);
        for (source, seq) in numbers {
            let Some(seq) = seq else { continue };
            // One that follows the number before it opens nothing, whatever that one did.
            let before = seq.checked_sub(1).map(|before| (source, before));
            opens += usize::from(last.is_none() || last != before);
            last = Some((source, seq));
        }
        Trial { opens, sequences: ById::default() }
    }

    /// Whether a number that is new, and was not tried yet, has room; it counts as used from here.
    pub fn takes(&mut self, window: &Window, source: &SourceHandle, seq: u64) -> bool {
        let known = window.sequence(source);
        if known.map_or(0, |known| known.holes.len()) + self.opens <= SOURCE_HOLES_MAX {
            return true;
        }
        let tried = self.sequences.entry(*source);
        let tried = tried.or_insert_with(|| known.cloned().unwrap_or_default());
        let room = tried.seen(seq) != Seen::TooManyGaps;
        if room {
            tried.insert(seq);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::EventIdTag;
    use crate::base::unit::{EntryIndex, UtcNanos};
    use crate::vault::dedupe::Bounds;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn holes_agree_with_a_set(numbers in proptest::collection::vec(0u64..200, 1..120)) {
            let (mut sequence, mut set) = (Sequence::default(), BTreeSet::new());
            for number in numbers {
                let expect = if set.contains(&number) { Seen::Before } else { Seen::New };
                prop_assert_eq!(sequence.seen(number), expect);
                sequence.insert(number);
                set.insert(number);
            }
        }
    }

    /// Odd numbers below a first one: each cuts a gap in two.
    #[test]
    fn numbers_that_cut_gaps_are_refused_at_the_limit_and_others_are_not() {
        let mut sequence = Sequence::default();
        sequence.insert(1_000_000);
        let mut odd = (0..).map(|n| 2 * n + 1);
        let refused = odd.find(|number| {
            let seen = sequence.seen(*number);
            if seen == Seen::New {
                sequence.insert(*number);
            }
            seen != Seen::New
        });
        assert_eq!(sequence.holes.len(), SOURCE_HOLES_MAX);
        let refused = refused.unwrap();
        assert_eq!(sequence.seen(refused), Seen::TooManyGaps);
        assert_eq!(sequence.seen(1_000_002), Seen::TooManyGaps);
        // What makes a gap smaller, fills it or follows is taken.
        for number in [refused - 1, 999_999, 0, 1_000_001] {
            assert_eq!(sequence.seen(number), Seen::New, "{number}");
            sequence.insert(number);
            assert_eq!(sequence.seen(number), Seen::Before, "{number}");
        }
        // A gap of one number was filled, so another may be opened.
        assert_eq!(sequence.holes.len(), SOURCE_HOLES_MAX - 1);
        assert_eq!(sequence.seen(refused + 1), Seen::New);
    }

    fn taken(window: &mut Window, numbers: &[u64]) -> bool {
        let source = SourceHandle([7; 16]);
        let mut trial = Trial::of(numbers.iter().map(|number| (source, Some(*number))));
        if !numbers.iter().all(|number| trial.takes(window, &source, *number)) {
            return false;
        }
        for number in numbers {
            window.insert(&source, Some(*number), &EventIdTag::ZERO, EntryIndex(0), UtcNanos(0));
        }
        assert!(window.sequence(&source).unwrap().holes.len() <= SOURCE_HOLES_MAX);
        true
    }

    #[test]
    fn one_batch_opens_no_more_gaps_than_are_remembered() {
        let most = SOURCE_HOLES_MAX as u64;
        let apart = |from: u64, count: u64| (0..count).map(|n| from + 2 * n).collect::<Vec<_>>();
        let fresh = || Window::new(Bounds::default());
        assert!(taken(&mut fresh(), &apart(1, most)));
        assert!(!taken(&mut fresh(), &apart(1, most + 1)));
        assert!(!taken(&mut fresh(), &[&[1_000_000], &apart(1, most)[..]].concat()));
        assert!(taken(&mut fresh(), &(0..3 * most).collect::<Vec<_>>()));
        let mut window = fresh();
        assert!(taken(&mut window, &apart(1, most - 2)));
        let high = 2 * (most - 2) - 1;
        assert!(!taken(&mut window, &[high + 2, high + 4, high + 6]));
        assert!(taken(&mut window, &[high + 2, high + 3, high + 4, high + 6]));
        assert!(!taken(&mut window, &[high + 8]));
        // Filled before it opens the next.
        assert!(taken(&mut window, &[0, high + 8]));
    }
}
