//! Where units lie, without a row for each of them: one row a segment, and the places of the
//! units of the few segments that were asked for last. What is held in memory does not grow with
//! the number of units but by 60 bytes for every 64 MiB of log.

use crate::base::id::Hash32;
use crate::base::unit::{EntryIndex, TreeSize};
use crate::format::unit::UnitHead;
use std::collections::VecDeque;
use std::sync::Arc;

/// Segments whose units' places are kept: 16 bytes a unit, so 16 x 80,000 x 16 B = 20 MB where
/// every entry is a unit of its own, and a few KB where units are full.
const PLACES_MAX: usize = 16;

/// A committed unit and where it lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// Its head.
    pub head: UnitHead,
    /// Its hash.
    pub hash: Hash32,
    /// Number of its segment.
    pub segment: u32,
    /// Where it starts there.
    pub offset: u64,
}

/// One segment of the log: what came before it, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentRow {
    /// Number in the file's name.
    pub segment: u32,
    /// Number of its first unit.
    pub first_unit: u64,
    /// Index of its first entry.
    pub first: EntryIndex,
    /// Hash of the unit before its first one; zero for the first of all.
    pub prev: Hash32,
    /// Bytes of whole units.
    pub len: u64,
}

/// All segments, and the last unit.
#[derive(Clone, Default)]
pub(crate) struct Table {
    rows: Vec<SegmentRow>,
    pub(crate) last: Option<Arc<Placed>>,
}

impl Table {
    pub(crate) fn new(rows: Vec<SegmentRow>, last: Option<Arc<Placed>>) -> Self {
        Table { rows, last }
    }

    pub(crate) fn rows(&self) -> &[SegmentRow] {
        &self.rows
    }

    pub(crate) fn size(&self) -> TreeSize {
        self.last.as_ref().map_or(TreeSize(0), |u| u.head.end)
    }

    pub(crate) fn count(&self) -> u64 {
        self.last.as_ref().map_or(0, |u| u.head.number + 1)
    }

    /// What the next unit must continue: number, previous hash, first index.
    pub(crate) fn next(&self) -> (u64, Hash32, u64) {
        match &self.last {
            Some(last) => (last.head.number + 1, last.hash, last.head.end.0),
            None => (0, Hash32::ZERO, 0),
        }
    }

    /// A segment is there and nothing is in it yet.
    pub(crate) fn begin(&mut self, segment: u32) {
        if self.rows.last().is_none_or(|row| row.segment < segment) {
            let (first_unit, prev, first) = self.next();
            let first = EntryIndex(first);
            self.rows.push(SegmentRow { segment, first_unit, first, prev, len: 0 });
        }
    }

    /// Takes in the next unit.
    pub(crate) fn push(&mut self, placed: Placed) {
        self.begin(placed.segment);
        if let Some(row) = self.rows.last_mut() {
            row.len = placed.offset + placed.head.len;
        }
        self.last = Some(Arc::new(placed));
    }

    /// Forgets the last unit; `before` is the one it followed.
    pub(crate) fn pop(&mut self, before: Option<Arc<Placed>>) -> Option<Arc<Placed>> {
        let last = std::mem::replace(&mut self.last, before)?;
        if let Some(row) = self.rows.last_mut().filter(|row| row.segment == last.segment) {
            row.len = last.offset;
        }
        Some(last)
    }

    /// The segment of unit `number`, which is there, and what follows it.
    pub(crate) fn of_unit(&self, number: u64) -> Option<(SegmentRow, Option<SegmentRow>)> {
        self.row(self.rows.partition_point(|row| row.first_unit <= number))
    }

    /// The segment of an entry, which is there, and what follows it.
    pub(crate) fn of_entry(&self, index: EntryIndex) -> Option<(SegmentRow, Option<SegmentRow>)> {
        self.row(self.rows.partition_point(|row| row.first <= index))
    }

    fn row(&self, after: usize) -> Option<(SegmentRow, Option<SegmentRow>)> {
        let row = self.rows.get(after.checked_sub(1)?)?;
        Some((*row, self.rows.get(after).copied()))
    }
}

/// The units of one segment, as far as it was walked.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) segment: u32,
    /// Where each unit starts, and the index after its last entry.
    pub(crate) units: Vec<(u64, u64)>,
    /// Where the walk goes on, and the hash the next unit must name.
    pub(crate) end: u64,
    pub(crate) prev: Hash32,
}

impl Places {
    pub(crate) fn new(row: &SegmentRow) -> Self {
        Places { segment: row.segment, units: Vec::new(), end: 0, prev: row.prev }
    }

    /// Position of the unit that holds an entry.
    pub(crate) fn of_entry(&self, index: EntryIndex) -> usize {
        self.units.partition_point(|(_, end)| *end <= index.0)
    }
}

/// The segments that were asked for last, newest first.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<Places>);

impl Recent {
    /// What is known of a segment.
    pub(crate) fn get(&mut self, segment: u32) -> Option<&mut Places> {
        let at = self.0.iter().position(|p| p.segment == segment)?;
        let found = self.0.remove(at)?;
        self.0.push_front(found);
        self.0.front_mut()
    }

    /// Keeps what was learned of a segment, if it is more than what is known.
    pub(crate) fn put(&mut self, places: Places) {
        if self.get(places.segment).is_some_and(|known| known.end >= places.end) {
            return;
        }
        self.forget(places.segment);
        self.0.push_front(places);
        self.0.truncate(PLACES_MAX);
    }

    pub(crate) fn forget(&mut self, segment: u32) {
        self.0.retain(|p| p.segment != segment);
    }
}
