//! Where the time of appends goes: nanoseconds by stage, added up by whoever does the work, once a
//! batch. It reads the clock it is given, never decides anything, and holds numbers only.

use crate::base::world::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A stage of an append. Those up to `Bodies` run in callers' threads, side by side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Drafts scanned, mapped and classified.
    Read,
    /// Keys of persons, class-days and groups looked up.
    Keys,
    /// Randomness drawn, fields laid out.
    Layout,
    /// Salts of the fields.
    Salts,
    /// Commitments to the fields.
    Commitments,
    /// Digests of the commitments and keys of the groups.
    GroupKeys,
    /// Heads encoded.
    Heads,
    /// Heads hashed up to their last block.
    Midstates,
    /// Bodies encoded and encrypted.
    Bodies,
    /// Fences, days and duplicates checked.
    Admit,
    /// Places given: the last block of each leaf, indexes into frames, facts.
    Place,
    /// Bodies written, not yet synced.
    WriteBodies,
    /// Bodies synced.
    SyncBodies,
    /// Nodes of the tree.
    Merkle,
    /// Unit encoded and signed, checkpoint signed.
    Sign,
    /// Unit written and synced.
    CommitUnit,
    /// Tiles, facts and published state; answers.
    Show,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 17] = [
        Stage::Read,
        Stage::Keys,
        Stage::Layout,
        Stage::Salts,
        Stage::Commitments,
        Stage::GroupKeys,
        Stage::Heads,
        Stage::Midstates,
        Stage::Bodies,
        Stage::Admit,
        Stage::Place,
        Stage::WriteBodies,
        Stage::SyncBodies,
        Stage::Merkle,
        Stage::Sign,
        Stage::CommitUnit,
        Stage::Show,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Read => "read",
            Stage::Keys => "keys",
            Stage::Layout => "layout",
            Stage::Salts => "salts",
            Stage::Commitments => "commitments",
            Stage::GroupKeys => "group_keys",
            Stage::Heads => "heads",
            Stage::Midstates => "midstates",
            Stage::Bodies => "bodies",
            Stage::Admit => "admit",
            Stage::Place => "place",
            Stage::WriteBodies => "write_bodies",
            Stage::SyncBodies => "sync_bodies",
            Stage::Merkle => "merkle",
            Stage::Sign => "sign",
            Stage::CommitUnit => "commit_unit",
            Stage::Show => "show",
        }
    }
}

/// Sums of one vault since it was opened.
pub struct Meter {
    clock: Arc<dyn Clock>,
    nanos: [AtomicU64; Stage::ALL.len()],
    commits: AtomicU64,
}

impl Meter {
    /// Nothing measured yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Meter { clock, nanos: Default::default(), commits: AtomicU64::new(0) }
    }

    /// Starts a measurement.
    pub(crate) fn start(&self) -> Lap<'_> {
        Lap { meter: self, since: self.clock.monotonic() }
    }

    /// Counts a group commit.
    pub(crate) fn commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Group commits so far.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Nanoseconds of each stage so far, waiting for disks and locks included.
    pub fn nanos(&self) -> [(Stage, u64); Stage::ALL.len()] {
        let sum = |stage: Stage| {
            self.nanos.get(stage as usize).map_or(0, |sum| sum.load(Ordering::Relaxed))
        };
        Stage::ALL.map(|stage| (stage, sum(stage)))
    }
}

/// A running measurement.
pub(crate) struct Lap<'m> {
    meter: &'m Meter,
    since: u64,
}

impl Lap<'_> {
    /// What passed since the start, or the end of the stage before, was this stage.
    pub(crate) fn end(&mut self, stage: Stage) {
        let now = self.meter.clock.monotonic();
        if let Some(sum) = self.meter.nanos.get(stage as usize) {
            sum.fetch_add(now.saturating_sub(self.since), Ordering::Relaxed);
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::unit::UtcNanos;

    struct Ticks(AtomicU64);

    impl Clock for Ticks {
        fn wall(&self) -> UtcNanos {
            UtcNanos(0)
        }

        fn monotonic(&self) -> u64 {
            self.0.fetch_add(5, Ordering::Relaxed)
        }
    }

    #[test]
    fn laps_add_up_by_stage() {
        let meter = Meter::new(Arc::new(Ticks(AtomicU64::new(0))));
        let mut lap = meter.start();
        lap.end(Stage::Salts);
        lap.end(Stage::Show);
        lap.end(Stage::Salts);
        let of = |stage| meter.nanos().iter().find(|(s, _)| *s == stage).map(|(_, n)| *n);
        assert_eq!(
            (of(Stage::Salts), of(Stage::Show), of(Stage::Read)),
            (Some(10), Some(5), Some(0))
        );
        assert!(Stage::ALL.iter().enumerate().all(|(at, stage)| *stage as usize == at));
    }
}
