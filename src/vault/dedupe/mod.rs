//! Duplicates: what each source already sent. The window comes from entries only: the newest ids
//! in memory, older ones in runs on disk, all of it rebuilt from the log on any doubt. It says
//! where the first one lies; it never compares contents, and never answers from a run that is
//! not the one that was written.

mod layers;
mod sequence;

pub use crate::vault::dedupe::layers::{Layer, persist};
pub use crate::vault::dedupe::sequence::{Gaps, Sequence, Trial};

use crate::base::id::{ById, EventIdTag, SourceHandle};
use crate::base::limits::{DEDUPE_IDS_MIN, DEDUPE_NANOS_MIN};
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::format::snapshot::Counter;
use crate::store::error::Error as StoreError;
use crate::store::runs::{Run, Span};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How much the window remembers at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Ids.
    pub ids: usize,
    /// Nanoseconds.
    pub nanos: u64,
}

impl Bounds {
    /// Ids in one layer of the window; the oldest layer goes as a whole.
    pub fn layer(&self) -> usize {
        (self.ids / 4).max(1)
    }
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

/// Ids by tag, with the entry each was seen in.
pub type Ids = HashMap<EventIdTag, EntryIndex>;

/// A part of the window could not be read: it must be made again from the log.
#[derive(Debug)]
pub struct Lost {
    /// Which entries it covers.
    pub span: Span,
    /// Why.
    pub error: StoreError,
}

/// What a snapshot holds of the window.
pub struct Captured {
    /// Counting sources, ascending.
    pub counters: Vec<Counter>,
    /// Ids, oldest layer first.
    pub layers: Vec<Layer>,
}

/// The window.
#[derive(Default)]
pub struct Window {
    bounds: Bounds,
    sequences: ById<SourceHandle, Sequence>,
    young: Ids,
    young_until: UtcNanos,
    /// Entries below this are covered by layers, as far as they are remembered.
    young_first: EntryIndex,
    /// Oldest first, each behind the one before it.
    layers: VecDeque<Layer>,
}

impl Window {
    /// An empty window.
    pub fn new(bounds: Bounds) -> Self {
        Window { bounds, ..Window::default() }
    }

    /// The window as it was captured at `end`.
    pub fn resume(
        bounds: Bounds,
        counters: Vec<Counter>,
        layers: Vec<Layer>,
        end: TreeSize,
    ) -> Self {
        let sequence = |c: Counter| {
            (c.source, Sequence { high: Some(c.high), holes: c.gaps.into_iter().collect() })
        };
        Window {
            bounds,
            sequences: counters.into_iter().map(sequence).collect(),
            young_first: EntryIndex(end.0),
            layers: layers.into(),
            ..Window::default()
        }
    }

    /// What the window knows about an entry's source position.
    ///
    /// # Errors
    /// `Lost` when a run is not there as it was written: `mend` it and ask again.
    pub fn seen(
        &self,
        source: &SourceHandle,
        seq: Option<u64>,
        id: &EventIdTag,
    ) -> Result<Seen, Lost> {
        if let Some(seq) = seq {
            return Ok(self.sequences.get(source).map_or(Seen::New, |s| s.seen(seq)));
        }
        if id.is_zero() {
            return Ok(Seen::New);
        }
        if let Some(index) = self.young.get(id) {
            return Ok(Seen::At(*index));
        }
        for layer in self.layers.iter().rev() {
            let found = layer.find(id).map_err(|error| Lost { span: layer.span(), error })?;
            if let Some(index) = found {
                return Ok(Seen::At(index));
            }
        }
        Ok(Seen::New)
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
            self.young.insert(*id, index);
            self.young_until = time;
            if self.young.len() >= self.bounds.layer() {
                self.freeze(EntryIndex(index.0 + 1));
            }
        }
    }

    /// Closes the young ids into a layer that covers entries up to `end`.
    fn freeze(&mut self, end: EntryIndex) {
        let first = std::mem::replace(&mut self.young_first, end);
        let ids = std::mem::take(&mut self.young);
        if !ids.is_empty() {
            let span = Span { first, end, until: self.young_until };
            self.layers.push_back(Layer::frozen(span, ids));
            self.forget(self.young_until);
        }
    }

    /// Drops layers that lie outside both bounds of the window.
    fn forget(&mut self, now: UtcNanos) {
        let mut kept: usize = self.layers.iter().skip(1).map(Layer::count).sum();
        while kept >= self.bounds.ids
            && self.layers.front().is_some_and(|oldest| {
                now.0.saturating_sub(oldest.span().until.0) > self.bounds.nanos
            })
        {
            self.layers.pop_front();
            kept -= self.layers.front().map_or(0, Layer::count);
        }
    }

    /// What a snapshot at `end` holds. Costs a copy of the counting sources, not of the ids.
    pub fn capture(&mut self, end: TreeSize) -> Captured {
        self.freeze(EntryIndex(end.0));
        let counter = |(source, sequence): (&SourceHandle, &Sequence)| {
            let gaps = sequence.holes.iter().map(|(first, last)| (*first, *last)).collect();
            Some(Counter { source: *source, high: sequence.high?, gaps })
        };
        let mut counters: Vec<Counter> = self.sequences.iter().filter_map(counter).collect();
        counters.sort_unstable_by_key(|c| c.source);
        Captured { counters, layers: self.layers.iter().cloned().collect() }
    }

    /// Goes on with runs on disk in place of what was captured at `end`.
    pub fn adopt(&mut self, end: TreeSize, runs: Vec<Arc<Run>>) {
        let newer = self.layers.iter().filter(|layer| layer.span().first.0 >= end.0).cloned();
        let newer: Vec<Layer> = newer.collect();
        self.layers = runs.into_iter().map(Layer::Run).chain(newer).collect();
        self.forget(self.layers.back().map_or(UtcNanos(0), |layer| layer.span().until));
    }

    /// The first part that is known to be lost: nothing may be captured before it is mended.
    pub fn first_lost(&self) -> Option<Span> {
        let lost = self.layers.iter().find(|layer| matches!(layer, Layer::Lost(..)));
        lost.map(Layer::span)
    }

    /// Puts ids that were read from the log again in the place of a part that was lost.
    pub fn mend(&mut self, span: Span, ids: Ids) {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.span() == span) {
            *layer = Layer::frozen(span, ids);
        }
    }

    /// The state of a counting source.
    pub fn sequence(&self, source: &SourceHandle) -> Option<&Sequence> {
        self.sequences.get(source)
    }
}
