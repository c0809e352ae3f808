//! Names that may occur once: record ids, source numbers, event ids. And the numbers that never
//! came. Of ids only the first 8 bytes are kept, 8 bytes an entry and 8 more for an event id;
//! where two agree the entries are read again, so chance never convicts. Source numbers are kept
//! as ranges.

use crate::base::id::SourceHandle;
use crate::base::limits::DEDUPE_NANOS_MIN;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::vault::verify::report::Report;
use crate::vault::verify::unit::Seen;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Numbers of one source: first of a range to its last and the entry that opened the range.
type Ranges = BTreeMap<u64, (u64, EntryIndex)>;

/// Names seen so far.
#[derive(Default)]
pub(crate) struct Names {
    records: Vec<u64>,
    event_ids: Vec<u64>,
    sources: HashMap<SourceHandle, Ranges>,
}

/// Prefixes that occur more than once.
#[derive(Default)]
pub(crate) struct Suspects {
    records: HashSet<u64>,
    event_ids: HashSet<u64>,
    first_record: HashMap<[u8; 16], EntryIndex>,
    last_event_id: HashMap<([u8; 16], [u8; 16]), (EntryIndex, UtcNanos)>,
}

impl Names {
    /// Takes in one entry.
    pub(crate) fn take(&mut self, index: EntryIndex, seen: &Seen, report: &mut Report) {
        self.records.push(prefix(&seen.record.0));
        if !seen.event_id.is_zero() {
            self.event_ids.push(prefix(&seen.event_id.0));
        }
        if let Some(number) = seen.source_seq {
            let ranges = self.sources.entry(seen.source).or_default();
            if !insert(ranges, number, index) {
                let what = format!("source {} numbered {number} before", seen.source);
                report.fail("DUP_SOURCE_SEQ", index, what);
            }
        }
    }

    /// Names the gaps, and gives what must be looked at again.
    pub(crate) fn finish(mut self, strict: bool, report: &mut Report) -> Suspects {
        let mut sources: Vec<_> = self.sources.drain().collect();
        sources.sort_unstable_by_key(|(source, _)| *source);
        for (source, ranges) in sources {
            let mut before: Option<u64> = None;
            for (first, (last, index)) in ranges {
                if let Some(before) = before {
                    let missing = first - before - 1;
                    report.gaps += missing;
                    let (from, to) = (before + 1, first - 1);
                    let what = format!("source {source}: numbers {from} to {to} never came");
                    match strict {
                        true => report.fail("SOURCE_GAP", index, what),
                        false => report.attention("SOURCE_GAP", index, what),
                    }
                }
                before = Some(last);
            }
        }
        Suspects {
            records: twice(&mut self.records),
            event_ids: twice(&mut self.event_ids),
            ..Suspects::default()
        }
    }
}

impl Suspects {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.event_ids.is_empty()
    }

    /// Second look, at every entry in order.
    pub(crate) fn take(&mut self, index: EntryIndex, seen: &Seen, report: &mut Report) {
        if self.records.contains(&prefix(&seen.record.0)) {
            let first = *self.first_record.entry(seen.record.0).or_insert(index);
            if first != index {
                let what = format!("record id {} is entry {first}'s", seen.record);
                report.fail("DUP_RID", index, what);
            }
        }
        if !seen.event_id.is_zero() && self.event_ids.contains(&prefix(&seen.event_id.0)) {
            let name = (seen.source.0, seen.event_id.0);
            if let Some((first, time)) = self.last_event_id.insert(name, (index, seen.time)) {
                let what = format!("the source used the event id of entry {first} again");
                match seen.time.0.saturating_sub(time.0) < DEDUPE_NANOS_MIN {
                    true => report.fail("DUP_EVENT_ID", index, what),
                    false => report.attention("DUP_EVENT_ID", index, what),
                }
            }
        }
    }
}

fn prefix(id: &[u8; 16]) -> u64 {
    id.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Adds a number; `false` if it is there already.
fn insert(ranges: &mut Ranges, number: u64, index: EntryIndex) -> bool {
    let below = ranges.range(..=number).next_back().map(|(first, (last, at))| (*first, *last, *at));
    if below.is_some_and(|(_, last, _)| number <= last) {
        return false;
    }
    let joins = below.filter(|(_, last, _)| last.checked_add(1) == Some(number));
    let above = number.checked_add(1).and_then(|next| ranges.remove(&next));
    let last = above.map_or(number, |(last, _)| last);
    let (first, at) = joins.map_or((number, index), |(first, _, at)| (first, at));
    ranges.insert(first, (last, at));
    true
}

/// Values that occur more than once.
fn twice(values: &mut [u64]) -> HashSet<u64> {
    values.sort_unstable();
    values.iter().zip(values.iter().skip(1)).filter(|(a, b)| a == b).map(|(a, _)| *a).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_refuse_what_is_there() {
        let mut ranges = Ranges::new();
        for (number, fresh) in
            [(5, true), (7, true), (6, true), (5, false), (7, false), (4, true), (9, true)]
        {
            assert_eq!(insert(&mut ranges, number, EntryIndex(number)), fresh, "{number}");
        }
        let found: Vec<(u64, u64)> = ranges.iter().map(|(f, (l, _))| (*f, *l)).collect();
        assert_eq!(found, [(4, 7), (9, 9)]);
        assert!(insert(&mut ranges, u64::MAX, EntryIndex(0)));
        assert_eq!(twice(&mut [3, 1, 3, 2, 1]), HashSet::from([1, 3]));
    }
}
