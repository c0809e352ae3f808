//! Duplicates: what each source already sent. The window comes from entries only and is rebuilt
//! from them at start. It says where the first one lies; it never compares contents.

use crate::base::id::{EventIdTag, SourceHandle};
use crate::base::limits::{DEDUPE_IDS_MIN, DEDUPE_NANOS_MIN, SOURCE_HOLES_MAX};
use crate::base::unit::{EntryIndex, UtcNanos};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Ids in one generation of the window; the oldest generation goes as a whole.
const GENERATION_IDS: usize = DEDUPE_IDS_MIN / 4;

/// How much the window remembers at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Ids.
    pub ids: usize,
    /// Nanoseconds.
    pub nanos: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { ids: DEDUPE_IDS_MIN, nanos: DEDUPE_NANOS_MIN }
    }
}

/// What a number or id is to the vault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Not seen.
    New,
    /// Seen in this entry.
    At(EntryIndex),
    /// A number that was used; the index finds the entry.
    Before,
    /// A number that would open more gaps than are remembered.
    TooManyGaps,
}

/// A counting source: all numbers up to `high` are used but those in `holes`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Sequence {
    high: Option<u64>,
    /// First and last missing number of each gap.
    holes: BTreeMap<u64, u64>,
}

impl Sequence {
    /// Whether a number was used.
    pub fn seen(&self, seq: u64) -> Seen {
        let Some(high) = self.high else { return Seen::New };
        if seq > high {
            let gap = seq > high + 1 && self.holes.len() >= SOURCE_HOLES_MAX;
            return if gap { Seen::TooManyGaps } else { Seen::New };
        }
        match self.holes.range(..=seq).next_back() {
            Some((_, last)) if seq <= *last => Seen::New,
            _ => Seen::Before,
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

    /// Gaps above the first number, as (first missing, last missing).
    pub fn gaps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.holes.iter().map(|(first, last)| (*first, *last)).filter(|(first, _)| *first != 0)
    }
}

/// The window.
#[derive(Default)]
pub struct Window {
    sequences: HashMap<SourceHandle, Sequence>,
    young: HashMap<EventIdTag, u64>,
    old: VecDeque<(HashMap<EventIdTag, u64>, UtcNanos)>,
    young_until: UtcNanos,
}

impl Window {
    /// What the window knows about an entry's source position.
    pub fn seen(&self, source: &SourceHandle, seq: Option<u64>, id: &EventIdTag) -> Seen {
        if let Some(seq) = seq {
            return self.sequences.get(source).map_or(Seen::New, |s| s.seen(seq));
        }
        if id.is_zero() {
            return Seen::New;
        }
        let found = self.young.get(id).or_else(|| self.old.iter().find_map(|(g, _)| g.get(id)));
        found.map_or(Seen::New, |index| Seen::At(EntryIndex(*index)))
    }

    /// Takes in an entry.
    pub fn insert(
        &mut self,
        source: &SourceHandle,
        seq: Option<u64>,
        id: &EventIdTag,
        index: EntryIndex,
        time: UtcNanos,
    ) {
        if let Some(seq) = seq {
            self.sequences.entry(*source).or_default().insert(seq);
        } else if !id.is_zero() {
            self.young.insert(*id, index.0);
            self.young_until = time;
            if self.young.len() >= GENERATION_IDS {
                self.old.push_back((std::mem::take(&mut self.young), time));
                self.forget(time);
            }
        }
    }

    /// Drops generations that lie outside both bounds of the window.
    fn forget(&mut self, now: UtcNanos) {
        let kept = |g: &VecDeque<(HashMap<EventIdTag, u64>, UtcNanos)>| -> usize {
            g.iter().skip(1).map(|(ids, _)| ids.len()).sum()
        };
        while kept(&self.old) >= DEDUPE_IDS_MIN
            && self
                .old
                .front()
                .is_some_and(|(_, until)| now.0 - until.0.min(now.0) > DEDUPE_NANOS_MIN)
        {
            self.old.pop_front();
        }
    }

    /// The state of a counting source.
    pub fn sequence(&self, source: &SourceHandle) -> Option<&Sequence> {
        self.sequences.get(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
