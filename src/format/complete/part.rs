//! Parts of a tree as bytes: runs of leaves, and the nodes of the gaps between them. The hashing
//! is `crypto/part`.

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::crypto::hash::leaf_hash;
use crate::crypto::part::{Gap, PartRoot, Place};
use crate::format::complete::source::Source;
use crate::format::complete::{Fault, Result};
use crate::format::entry;
use std::ops::Range;

/// Runs in a tree of `leaves` leaves: none empty, ascending, with something between them.
pub(crate) fn check_runs(runs: &[Range<u64>], leaves: u64) -> Result<()> {
    let mut last: Option<u64> = None;
    for run in runs {
        if run.start >= run.end || run.end > leaves || last.is_some_and(|end| run.start <= end) {
            return Err(Fault::malformed("runs of leaves that are none"));
        }
        last = Some(run.end);
    }
    Ok(())
}

/// Ascending, distinct places joined into runs.
pub fn runs_of(places: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some(run) if run.end == *place => run.end += 1,
            _ => runs.push(*place..place + 1),
        }
    }
    runs
}

/// Whether a place lies in one of these runs.
pub(crate) fn in_runs(runs: &[Range<u64>], place: u64) -> bool {
    let after = runs.partition_point(|run| run.start <= place);
    after.checked_sub(1).and_then(|at| runs.get(at)).is_some_and(|run| place < run.end)
}

/// A tree of which a part is shown.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// Its leaves.
    pub leaves: u64,
    /// Greatest height of a gap's node.
    pub height_max: u32,
}

/// Calls with every gap node and every run of a part, in the order of their bytes.
pub fn layout<E>(
    tree: Tree,
    runs: &[Range<u64>],
    step: &mut dyn FnMut(Step) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut at = 0;
    for run in runs {
        for place in Gap::new(at, run.start, tree.height_max) {
            step(Step::Node(place))?;
        }
        step(Step::Run(run.clone()))?;
        at = run.end;
    }
    for place in Gap::new(at, tree.leaves, tree.height_max) {
        step(Step::Node(place))?;
    }
    Ok(())
}

/// What comes next in a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The hash of this node.
    Node(Place),
    /// These leaves.
    Run(Range<u64>),
}

/// Who looks at the log's part as it streams by. Nothing of it is true before the root is.
pub(crate) trait Watch {
    /// An entry at its place, with its leaf hash.
    fn entry(&mut self, entry: &Entry, leaf: &Hash32) -> Result<()>;

    /// A node of the tree, complete.
    fn node(&mut self, _place: Place, _hash: &Hash32) {}
}

/// Reads the log's part and gives the root it leads to. Every entry is checked by itself and
/// against the one shown before it.
pub(crate) fn read_log(
    source: &mut Source<'_>,
    tree: Tree,
    runs: &[Range<u64>],
    tenant: &str,
    watch: &mut dyn Watch,
) -> Result<Hash32> {
    let mut root = PartRoot::default();
    let mut bytes = Vec::new();
    let mut time = UtcNanos(0);
    layout::<Fault>(tree, runs, &mut |step| match step {
        Step::Node(place) => {
            let hash = Hash32(source.array("a node")?);
            root.push(place.height, hash, &mut |place, hash| watch.node(place, hash));
            Ok(())
        }
        Step::Run(run) => {
            let mut prev = None;
            for place in run {
                source.entry(&mut bytes)?;
                let entry = entry::decode(&bytes)
                    .map_err(|e| Fault::malformed(format!("entry {place}: {e}")))?;
                check_entry(&entry, place, prev, tenant, time)?;
                let leaf = leaf_hash(&bytes);
                root.push(0, leaf, &mut |place, hash| watch.node(place, hash));
                watch.entry(&entry, &leaf)?;
                (prev, time) = (Some(leaf), entry.time_log);
            }
            Ok(())
        }
    })?;
    root.root().ok_or_else(|| Fault::malformed("a part of a tree without leaves"))
}

fn check_entry(
    entry: &Entry,
    place: u64,
    prev: Option<Hash32>,
    tenant: &str,
    time: UtcNanos,
) -> Result<()> {
    if entry.index != EntryIndex(place) || prev.is_some_and(|prev| prev != entry.prev) {
        let detail = format!("entry {place} is not of this place or names another predecessor");
        return Err(Fault::new("INDEX_OR_PREV_MISMATCH", detail));
    }
    if entry.head.tenant.to_string() != tenant {
        return Err(Fault::new("TENANT_MISMATCH", format!("entry {place} is another tenant's")));
    }
    if entry.time_log < time {
        let detail = format!("log time falls before entry {place}");
        return Err(Fault::new("TIME_REGRESSION", detail));
    }
    Ok(())
}
