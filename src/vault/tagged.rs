//! Which entries bear a person's tags, for decisions that destroy: a hold, a legal floor, the
//! number on a receipt. A hit is read again from the log as in every search; here an omission is
//! not believed either. Before an epoch of the written index is used, its rows must have the root
//! that the epoch's seal in the log states, once an opening; an epoch that nothing vouches for is
//! read in full, and an index that says otherwise than a seal is wiped.
//!
//! It never lets whoever may write the index decide what is kept. Rows that change on the disk
//! under a running process, after they were compared, are not noticed.

use crate::base::id::SubjectTag;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{Day, EntryIndex, TreeSize};
use crate::format::cell::PersonCell;
use crate::format::seal::row::IndexKey;
use crate::vault::Vault;
use crate::vault::error::Result;
use crate::vault::keys;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::{ControlFlow, Range};
use std::sync::PoisonError;

/// Entries that the index has not taken in yet and that a count reads all the same.
const NEWEST_MAX: u64 = 10_000;

impl Vault {
    /// Entries with any of these tags, each tag's ascending. No such tag is older than `since`:
    /// of what lies before it the index is not compared with anything.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn entries_of_tags(
        &self,
        tags: &[SubjectTag],
        since: Day,
    ) -> Result<BTreeMap<SubjectTag, Vec<EntryIndex>>> {
        if tags.is_empty() {
            return Ok(BTreeMap::new());
        }
        let first = self.first_of_day(since)?;
        let (written, mut unread) = self.unproven(first)?;
        let size = EntryIndex(self.size().0);
        let mut hits = BTreeSet::new();
        {
            let index = self.inner.index.lock().unwrap_or_else(PoisonError::into_inner);
            for tag in tags {
                let mut hit = |at: EntryIndex| {
                    hits.insert(at);
                    ControlFlow::Continue(())
                };
                let key = IndexKey::subject(*tag);
                if index.scan(&key, EntryIndex(0)..size, &mut hit).is_err() {
                    unread.push(EntryIndex(0)..size);
                    break;
                }
            }
            // What was written since the comparison, what no part covers, what is not in yet.
            unread.extend((written..index.epochs()).map(entries_of));
            unread.extend([index.gap(), index.tail_from()..size]);
        }
        let unread = joined(unread);
        hits.retain(|at| !unread.iter().any(|range| range.contains(at)));
        let hits: Vec<EntryIndex> = hits.into_iter().collect();
        let wanted: HashSet<SubjectTag> = tags.iter().copied().collect();
        let mut found: BTreeMap<SubjectTag, Vec<EntryIndex>> = BTreeMap::new();
        let mut take = |own: &[SubjectTag], index: EntryIndex| {
            for tag in own.iter().filter(|tag| wanted.contains(tag)) {
                found.entry(*tag).or_default().push(index);
            }
        };
        self.for_entries_at(&hits, &mut |entry| {
            take(&entry.head.tags, entry.index);
            Ok(())
        })?;
        for range in unread {
            self.for_each_entry(range, &mut |entry, _| {
                take(&entry.head.tags, entry.index);
                Ok(())
            })?;
        }
        found.values_mut().for_each(|indexes| indexes.sort_unstable());
        Ok(found)
    }

    /// How many entries bear any of these tags, unless they are more than `most`. Nothing is
    /// decided by it: what the index leaves out is not noticed, and what it does not cover is not
    /// read, but for the newest entries. The second value says whether it covered the rest.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn few_entries_of_tags(
        &self,
        tags: &[SubjectTag],
        most: usize,
    ) -> Result<(Option<u64>, bool)> {
        let size = EntryIndex(self.size().0);
        let mut hits = BTreeSet::new();
        let (mut whole, newest) = {
            let index = self.inner.index.lock().unwrap_or_else(PoisonError::into_inner);
            let mut whole = index.gap().is_empty();
            for tag in tags {
                let mut hit = |at: EntryIndex| {
                    hits.insert(at);
                    if hits.len() > most {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                };
                let key = IndexKey::subject(*tag);
                whole &= index.scan(&key, EntryIndex(0)..size, &mut hit).is_ok();
                if hits.len() > most {
                    break;
                }
            }
            (whole, index.tail_from()..size)
        };
        let hits: Vec<EntryIndex> = hits.into_iter().filter(|at| *at < newest.start).collect();
        let wanted: HashSet<SubjectTag> = tags.iter().copied().collect();
        let mut found = 0;
        self.for_entries_at(&hits, &mut |entry| {
            found += usize::from(entry.head.tags.iter().any(|tag| wanted.contains(tag)));
            Ok(())
        })?;
        let end = EntryIndex(newest.end.0.min(newest.start.0.saturating_add(NEWEST_MAX)));
        whole &= end == newest.end;
        self.for_each_entry(newest.start..end, &mut |entry, _| {
            found += usize::from(entry.head.tags.iter().any(|tag| wanted.contains(tag)));
            Ok(())
        })?;
        Ok(((found <= most).then_some(found as u64), whole))
    }

    /// Compares what is written of days from `since` on with its seals, so that a later search
    /// need not.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn prove_index(&self, since: Day) -> Result<()> {
        let first = self.first_of_day(since)?;
        self.unproven(first).map(drop)
    }

    /// How many epochs are written, and which of them from `first` on nothing vouches for.
    fn unproven(&self, first: EntryIndex) -> Result<(u64, Vec<Range<EntryIndex>>)> {
        let (writer, written) = {
            let index = self.inner.index.lock().unwrap_or_else(PoisonError::into_inner);
            (index.writer(), index.epochs())
        };
        let epochs: Vec<u64> = {
            let proven = self.inner.proven_epochs.lock().unwrap_or_else(PoisonError::into_inner);
            (first.0 / EPOCH_ENTRIES..written).filter(|epoch| !proven.contains(epoch)).collect()
        };
        let (Some(from), Some(last)) = (epochs.first(), epochs.last()) else {
            return Ok((written, Vec::new()));
        };
        let seals = self.seals_of(*from..last + 1, TreeSize(self.size().0))?;
        let mut unproven = Vec::new();
        for epoch in epochs {
            let Some((_, seal)) = seals.get(&epoch) else {
                unproven.push(entries_of(epoch));
                continue;
            };
            let root = writer.epoch_root(epoch);
            let mut proven =
                self.inner.proven_epochs.lock().unwrap_or_else(PoisonError::into_inner);
            if root.is_ok_and(|root| root == seal.index_root) {
                proven.insert(epoch);
                continue;
            }
            // Nothing of it is used any more; the next opening makes it anew.
            proven.clear();
            drop(proven);
            self.inner.index.lock().unwrap_or_else(PoisonError::into_inner).clear()?;
            return Ok((0, Vec::new()));
        }
        Ok((written, unproven))
    }

    /// The first entry whose log time is of this day or later.
    fn first_of_day(&self, day: Day) -> Result<EntryIndex> {
        let (mut low, mut high) = (0, self.size().0);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(EntryIndex(middle))?.time_log.day() < day {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(EntryIndex(low))
    }
}

/// The first day on which any of these persons can have a record.
pub(crate) fn first_day(cells: &[PersonCell]) -> Day {
    let keys = cells.iter().flat_map(|cell| &cell.keys);
    keys.map(|key| keys::first_day(key.created)).min().unwrap_or(Day(0))
}

fn entries_of(epoch: u64) -> Range<EntryIndex> {
    let first = epoch.saturating_mul(EPOCH_ENTRIES);
    EntryIndex(first)..EntryIndex(first.saturating_add(EPOCH_ENTRIES))
}

/// Ascending ranges that do not meet, of the same entries.
fn joined(mut ranges: Vec<Range<EntryIndex>>) -> Vec<Range<EntryIndex>> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_unstable_by_key(|range| range.start);
    let mut out: Vec<Range<EntryIndex>> = Vec::new();
    for range in ranges {
        match out.last_mut().filter(|last| range.start <= last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => out.push(range),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_ranges_hold_each_entry_once() {
        let range = |start, end| EntryIndex(start)..EntryIndex(end);
        let all = vec![range(5, 9), range(0, 2), range(7, 8), range(9, 12), range(4, 4)];
        assert_eq!(joined(all), [range(0, 2), range(5, 12)]);
    }
}
