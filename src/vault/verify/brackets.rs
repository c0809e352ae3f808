//! Time from outside: an entry that a witness or a time-stamp authority saw cannot be younger than
//! that sight, and one that names an earlier sight cannot be older. It never corrects a time; it
//! says which ones cannot be true.

use crate::base::entry::{Entry, Kind};
use crate::base::limits::CLOCK_ALARM_NANOS;
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::vault::verify::report::Report;
use crate::vault::verify::sights::Sights;

/// What is known from outside, asked for entries in ascending order.
#[derive(Default)]
pub(crate) struct Brackets {
    /// Ascending by size; each time is the least of its own and all that follow, since a larger
    /// checkpoint covers the same entries.
    seen: Vec<(TreeSize, UtcNanos)>,
    at: usize,
    /// The latest sight that an entry passed so far names.
    after: Option<UtcNanos>,
    sights: Sights,
}

impl Brackets {
    /// From sights: size of the checkpoint that was seen, and when.
    pub(crate) fn new(mut seen: Vec<(TreeSize, UtcNanos)>, sights: Sights) -> Brackets {
        seen.extend(sights.seen());
        seen.sort();
        let mut least = UtcNanos(u64::MAX);
        for (_, time) in seen.iter_mut().rev() {
            least = least.min(*time);
            *time = least;
        }
        Brackets { seen, at: 0, after: None, sights }
    }

    /// Takes in an entry that may name a sight: it and every later one were written after that.
    pub(crate) fn pass(&mut self, index: EntryIndex, entry: &Entry, report: &mut Report) {
        if entry.head.kind == Kind::Config {
            let time = self.sights.named(index, &entry.head.clear, report);
            self.after = self.after.max(time);
        }
    }

    /// Why a log time at this place cannot be true, if so. Five minutes are allowed to clocks.
    pub(crate) fn violated(&mut self, index: EntryIndex, time: UtcNanos) -> Option<String> {
        while self.seen.get(self.at).is_some_and(|(size, _)| size.0 <= index.0) {
            self.at += 1;
        }
        if let Some((_, seen)) = self.seen.get(self.at)
            && time.0 > seen.0.saturating_add(CLOCK_ALARM_NANOS)
        {
            return Some(format!("log time {time} lies after the entry was seen, {seen}"));
        }
        match self.after {
            Some(after) if time.0.saturating_add(CLOCK_ALARM_NANOS) < after.0 => Some(format!(
                "log time {time} lies before {after}, of which an earlier entry has evidence"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    #[test]
    fn times_outside_the_brackets_are_named() {
        let at = |minute: u64| UtcNanos((1_000 + minute) * MINUTE);
        let seen = vec![(TreeSize(20), at(50)), (TreeSize(10), at(60)), (TreeSize(30), at(90))];
        let mut brackets = Brackets::new(seen, Sights::default());
        assert!(brackets.violated(EntryIndex(9), at(55)).is_none());
        assert!(brackets.violated(EntryIndex(9), at(56)).is_some(), "size 20 covers it as well");
        assert!(brackets.violated(EntryIndex(20), at(56)).is_none());
        brackets.after = Some(at(70));
        assert!(brackets.violated(EntryIndex(21), at(64)).is_some());
        assert!(brackets.violated(EntryIndex(21), at(65)).is_none());
        assert!(brackets.violated(EntryIndex(29), at(96)).is_some());
        assert!(brackets.violated(EntryIndex(30), at(1000)).is_none(), "nobody saw it");
    }
}
