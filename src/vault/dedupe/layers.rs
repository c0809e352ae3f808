//! Layers of the window of event ids: closed in memory, then runs on disk, small ones joined to
//! larger ones. It never forgets: that is the window's decision.

use crate::base::id::{EventIdTag, TenantId};
use crate::base::unit::EntryIndex;
use crate::format::run::{Row, RunInfo};
use crate::store::disk::Disk;
use crate::store::error::{Error, Result};
use crate::store::runs::{Run, Span};
use crate::vault::dedupe::Ids;
use std::path::Path;
use std::sync::Arc;

/// Runs that are not yet full, at most: each costs a look-up one cache line of its filter.
const SMALL_RUNS_MAX: usize = 15;
/// Neighbours joined at once: a row is written again once for every factor of eight.
const JOINED: [usize; 3] = [8, 4, 2];

/// Part of the window: ids of a stretch of entries.
#[derive(Clone)]
pub enum Layer {
    /// In memory, on its way to the disk.
    Frozen(Arc<(Span, Ids)>),
    /// On disk.
    Run(Arc<Run>),
    /// Not on disk as it was written, with the number of ids it had: to be made from the log
    /// before anything is answered from it or written in its place.
    Lost(Span, usize),
}

impl Layer {
    /// A layer in memory.
    pub fn frozen(span: Span, ids: Ids) -> Self {
        Layer::Frozen(Arc::new((span, ids)))
    }

    /// Which entries it covers.
    pub fn span(&self) -> Span {
        match self {
            Layer::Frozen(layer) => layer.0,
            Layer::Run(run) => span_of(run),
            Layer::Lost(span, _) => *span,
        }
    }

    /// A run as a snapshot speaks of it; lost when it is not there so.
    pub fn open(disk: &dyn Disk, dir: &Path, tenant: &TenantId, info: &RunInfo) -> Layer {
        let span = Span { first: info.first, end: info.end, until: info.until };
        match Run::open(disk, dir, tenant, info) {
            Ok(run) => Layer::Run(Arc::new(run)),
            Err(_) => Layer::Lost(span, usize::try_from(info.rows).unwrap_or(usize::MAX)),
        }
    }

    /// Ids in it.
    pub fn count(&self) -> usize {
        match self {
            Layer::Frozen(layer) => layer.1.len(),
            Layer::Run(run) => usize::try_from(run.info.rows).unwrap_or(usize::MAX),
            Layer::Lost(_, count) => *count,
        }
    }

    pub(crate) fn find(&self, id: &EventIdTag) -> Result<Option<EntryIndex>> {
        match self {
            Layer::Frozen(layer) => Ok(layer.1.get(id).copied()),
            Layer::Run(run) => run.find(id),
            Layer::Lost(..) => Err(lost()),
        }
    }
}

fn lost() -> Error {
    Error::corrupt(Path::new("snapshot"), "a run of event ids is not there as it was written")
}

fn span_of(run: &Run) -> Span {
    Span { first: run.info.first, end: run.info.end, until: run.info.until }
}

/// Writes what is in memory as runs and joins small neighbours to runs of at most `full` ids.
/// A run that cannot be read any more is left as it is: who asks it will find out and mend it.
///
/// # Errors
/// Those of the disk. What was written until then is of no use and harms nothing.
pub fn persist(
    disk: &dyn Disk,
    dir: &Path,
    tenant: &TenantId,
    layers: &[Layer],
    full: usize,
) -> Result<Vec<Arc<Run>>> {
    let mut runs = Vec::with_capacity(layers.len());
    for layer in layers {
        runs.push(match layer {
            Layer::Run(run) => run.clone(),
            Layer::Lost(..) => return Err(lost()),
            Layer::Frozen(layer) => {
                let (span, ids) = &**layer;
                let mut rows: Vec<Row> = ids.iter().map(|(tag, index)| (*tag, *index)).collect();
                rows.sort_unstable();
                Arc::new(Run::write(disk, dir, tenant, *span, &rows)?)
            }
        });
    }
    while let Some((at, count)) = joinable(&runs, full) {
        let Some(rows) = joined(runs.iter().skip(at).take(count)) else { break };
        let (Some(first), Some(last)) = (runs.get(at), runs.get(at + count - 1)) else { break };
        let span = Span { first: first.info.first, ..span_of(last) };
        let run = Run::write(disk, dir, tenant, span, &rows)?;
        runs.splice(at..at + count, [Arc::new(run)]);
    }
    Ok(runs)
}

/// The neighbours that are worth joining: where, and how many.
fn joinable(runs: &[Arc<Run>], full: usize) -> Option<(usize, usize)> {
    let full = full as u64;
    if runs.iter().filter(|run| run.info.rows < full).count() <= SMALL_RUNS_MAX {
        return None;
    }
    JOINED.iter().find_map(|count| {
        let sums = runs.windows(*count).map(|w| w.iter().map(|run| run.info.rows).sum::<u64>());
        let (at, sum) = sums.enumerate().min_by_key(|(_, sum)| *sum)?;
        (sum <= full).then_some((at, *count))
    })
}

/// All rows of neighbours, sorted; of one tag in several the newest entry counts.
fn joined<'r>(runs: impl Iterator<Item = &'r Arc<Run>>) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for run in runs {
        rows.extend(run.rows().ok()?);
    }
    rows.sort_unstable_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
    rows.dedup_by(|later, first| later.0 == first.0);
    Some(rows)
}
