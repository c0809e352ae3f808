//! What a file answers for: entries by index, or a window of log time and the cut it makes.
//! Entries of one log time lie on one side of a cut; the boundary rule holds a file to that.

use crate::base::unit::{EntryIndex, UtcNanos};
use crate::format::complete::source::Source;
use crate::format::complete::{Fault, Result};
use crate::format::wire::Write;
use std::ops::Range;

/// `to` of a window without an end.
pub const OPEN_END: UtcNanos = UtcNanos(u64::MAX);

const INDEXES: u8 = 0;
const WINDOW: u8 = 1;

/// The entries that answer, and why these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The window of log time they were asked by; nothing if by index.
    pub window: Option<Window>,
    /// First entry.
    pub first: EntryIndex,
    /// First entry after them.
    pub end: EntryIndex,
}

/// A window of log time: `from` is in it, `to` is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Its start; 0 is before everything.
    pub from: UtcNanos,
    /// Its end; `OPEN_END` has none.
    pub to: UtcNanos,
}

impl Scope {
    /// Appends it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (word, from, to) = match self.window {
            None => (INDEXES, 0, 0),
            Some(Window { from, to }) => (WINDOW, from.0, to.0),
        };
        out.put_u8(word);
        for number in [from, to, self.first.0, self.end.0] {
            out.put_u64(number);
        }
    }

    pub(crate) fn read(source: &mut Source<'_>) -> Result<Self> {
        let word = source.u8("the scope")?;
        let (from, to) = (source.u64("the scope")?, source.u64("the scope")?);
        let (first, end) = (source.u64("the scope")?, source.u64("the scope")?);
        let window = match (word, from, to) {
            (INDEXES, 0, 0) if first < end => None,
            (WINDOW, from, to) if from < to && first <= end => {
                Some(Window { from: UtcNanos(from), to: UtcNanos(to) })
            }
            _ => return Err(Fault::malformed("a scope that is none")),
        };
        Ok(Scope { window, first: EntryIndex(first), end: EntryIndex(end) })
    }

    /// Whether an entry answers, by its place.
    pub fn contains(&self, index: EntryIndex) -> bool {
        self.first <= index && index < self.end
    }

    /// The entries with their neighbours on both sides, in a log of `size` entries.
    pub fn with_neighbours(&self, size: u64) -> Range<u64> {
        self.first.0.saturating_sub(1)..self.end.0.saturating_add(1).min(size)
    }

    /// Entries around the two cuts of a window that exist in a log of `size` entries, ascending.
    pub fn edges(&self, size: u64) -> Vec<u64> {
        if self.window.is_none() {
            return Vec::new();
        }
        let around = |cut: u64| [cut.checked_sub(1), Some(cut).filter(|at| *at < size)];
        let both = [around(self.first.0), around(self.end.0)];
        let mut edges: Vec<u64> = both.into_iter().flatten().flatten().collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}

/// Log times met on both sides of the two cuts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Cuts {
    /// Of the entry before the first.
    pub before: Option<UtcNanos>,
    /// Of the first entry.
    pub first: Option<UtcNanos>,
    /// Of the last entry.
    pub last: Option<UtcNanos>,
    /// Of the entry after the last.
    pub after: Option<UtcNanos>,
}

impl Cuts {
    pub(crate) fn meet(&mut self, scope: &Scope, index: EntryIndex, time: UtcNanos) {
        let next = index.0.checked_add(1);
        if next == Some(scope.first.0) {
            self.before = Some(time);
        }
        if index == scope.first {
            self.first = Some(time);
        }
        if next == Some(scope.end.0) {
            self.last = Some(time);
        }
        if index == scope.end {
            self.after = Some(time);
        }
    }

    /// The boundary rule, then the open end. `size` is the checkpoint's.
    pub(crate) fn check(&self, scope: &Scope, size: u64) -> Result<()> {
        let Some(Window { from, to }) = scope.window else { return Ok(()) };
        let below = |time: Option<UtcNanos>, cut| time.is_none_or(|time| time < cut);
        let reaches = |time: Option<UtcNanos>, cut| time.is_none_or(|time| cut <= time);
        for (side, before, at, cut) in
            [("start", self.before, self.first, from), ("end", self.last, self.after, to)]
        {
            if !below(before, cut) || !reaches(at, cut) {
                let detail = format!("the {side} of the window does not lie where it is cut");
                return Err(Fault::new("RANGE_BOUNDARY", detail));
            }
        }
        if scope.end.0 == size && to != OPEN_END {
            let detail = "no entry shows that the window is over: later entries may lie in it";
            return Err(Fault::new("RANGE_OPEN_END", detail));
        }
        Ok(())
    }
}
