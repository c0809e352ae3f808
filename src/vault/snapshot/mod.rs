//! Snapshots: what opening would learn by reading the log up to one of its units, written in the
//! background and signed by the log key, so that opening after a crash reads the tail only. The
//! sequencer copies its state (`Archive`), the committer hands the copy on once unit and
//! checkpoint are durable (`Handover`), one thread writes it (`Archivist`), an opening takes the
//! newest one that the log and its signed checkpoint bear out (`restore`).
//!
//! Derived: it may be deleted, and only ever makes an opening read less. It never covers more
//! than the checkpoint on disk, and a failure to write one fails nothing else.

mod facts;
mod follow;
pub(crate) mod restore;

use crate::base::id::{Hash32, TenantId};
use crate::base::unit::{ClassDay, EntryIndex, TreeSize, UtcNanos};
use crate::crypto::merkle::Compact;
use crate::format::run::RunInfo;
use crate::format::snapshot::{self, Segment, Snapshot};
use crate::format::vkey::Signer;
use crate::store::disk::Disk;
use crate::store::log::{Placed, SegmentRow, UnitLog};
use crate::store::runs::{self, Run};
use crate::vault::config::Tuning;
use crate::vault::dedupe::{Captured, persist};
use crate::vault::error::Result;
use crate::vault::facts::Facts;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

/// Extension of a snapshot's name; the rest is its end in sixteen hex digits.
const EXTENSION: &str = "snap";

/// The sequencer's state after a unit.
pub(crate) struct Capture {
    pub(crate) tree: Compact,
    pub(crate) prev: Hash32,
    pub(crate) state: Option<EntryIndex>,
    pub(crate) facts: Facts,
    pub(crate) window: Captured,
    /// The key in force.
    pub(crate) signer: Arc<Signer>,
}

/// A state whose unit is durable and covered by the checkpoint on disk.
pub(crate) struct Job {
    unit: Arc<Placed>,
    rows: Vec<SegmentRow>,
    capture: Capture,
}

/// Runs that took the place of what was captured at a size.
type Written = Arc<Mutex<Option<(TreeSize, Vec<Arc<Run>>)>>>;

/// The sequencer's part: says when a snapshot is due, and takes runs over.
pub(crate) struct Archive {
    busy: Arc<AtomicBool>,
    written: Written,
    tuning: Tuning,
    /// Size and segment of the last one, and when one was tried last.
    last: (TreeSize, u32, UtcNanos),
}

impl Archive {
    /// Whether the log lies far enough behind the last snapshot: many entries, or another
    /// segment; not while one is being written, nor too soon after it.
    pub(crate) fn due(&self, size: TreeSize, segment: u32, now: UtcNanos) -> bool {
        let at = self.last.2;
        let rested = at.0 == 0 || now.0.saturating_sub(at.0) >= self.tuning.snapshot_pause;
        self.far(size, segment) && rested && !self.busy.load(Ordering::Acquire)
    }

    /// As `due` at the end of a vault, when what is being written is waited for.
    pub(crate) fn far(&self, size: TreeSize, segment: u32) -> bool {
        size.0.saturating_sub(self.last.0.0) >= self.tuning.snapshot_entries
            || (segment != self.last.1 && size > self.last.0)
    }

    /// A copy is on its way.
    pub(crate) fn taken(&mut self, size: TreeSize, segment: u32, now: UtcNanos) {
        self.busy.store(true, Ordering::Release);
        self.last = (size, segment, now);
    }

    /// None can be made now: it is tried again after the usual pause.
    pub(crate) fn not_now(&mut self, now: UtcNanos) {
        self.last.2 = now;
    }

    /// It did not get away.
    pub(crate) fn missed(&self) {
        self.busy.store(false, Ordering::Release);
    }

    /// Runs written since the last call, and up to where they reach.
    pub(crate) fn written(&self) -> Option<(TreeSize, Vec<Arc<Run>>)> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The committer's part.
pub(crate) struct Handover {
    jobs: SyncSender<Job>,
    busy: Arc<AtomicBool>,
}

impl Handover {
    /// Hands on a copy of the state after the log's last unit, which the checkpoint covers. Waits
    /// only while another one is being begun, which happens at the end of a vault.
    pub(crate) fn give(&self, log: &UnitLog, capture: Capture) {
        let Some(unit) = log.last().filter(|unit| unit.head.end == capture.tree.size()) else {
            return self.skip();
        };
        // A segment that a crash left empty behind the unit is not needed to find it.
        let mut rows = log.segment_rows();
        rows.retain(|row| row.segment <= unit.segment);
        if self.jobs.send(Job { unit, rows, capture }).is_err() {
            self.skip();
        }
    }

    /// Nothing is written this time.
    pub(crate) fn skip(&self) {
        self.busy.store(false, Ordering::Release);
    }
}

/// The background half.
pub(crate) struct Archivist {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) tenant: TenantId,
    pub(crate) log: Arc<UnitLog>,
    pub(crate) tuning: Tuning,
    /// Committed ends of body files, up to unit `next`.
    pub(crate) ends: BTreeMap<ClassDay, u64>,
    pub(crate) next: u64,
    /// The newest snapshot: its end, and the runs it needs.
    pub(crate) kept: Option<(TreeSize, Vec<RunInfo>)>,
}

/// The parts of one vault's archive. `segment` is that of the last snapshot's unit.
pub(crate) fn parts(archivist: &Archivist, segment: u32) -> (Archive, Handover, Inbox) {
    let (jobs, inbox) = std::sync::mpsc::sync_channel(1);
    let (busy, written) = (Arc::new(AtomicBool::new(false)), Written::default());
    let size = archivist.kept.as_ref().map_or(TreeSize(0), |(end, _)| *end);
    let (last, tuning) = ((size, segment, UtcNanos(0)), archivist.tuning);
    let archive = Archive { busy: busy.clone(), written: written.clone(), tuning, last };
    (archive, Handover { jobs, busy: busy.clone() }, Inbox { jobs: inbox, busy, written })
}

/// What the background half gets, and where it puts what it has done.
pub(crate) struct Inbox {
    jobs: Receiver<Job>,
    busy: Arc<AtomicBool>,
    written: Written,
}

impl Archivist {
    /// Runs until the committer is gone.
    pub(crate) fn run(mut self, inbox: &Inbox) {
        while let Ok(job) = inbox.jobs.recv() {
            let end = job.unit.head.end;
            // What fails is tried again when the next one is due; an older one, or none, only
            // means that the next opening reads more.
            if let Ok(runs) = self.tick(job) {
                let mut written = inbox.written.lock().unwrap_or_else(PoisonError::into_inner);
                *written = Some((end, runs));
            }
            inbox.busy.store(false, Ordering::Release);
        }
    }

    /// Writes one snapshot. The same job twice gives the same files. Order, each step
    /// durable before the next: runs, snapshot, removal of what neither it nor the one before
    /// needs.
    pub(crate) fn tick(&mut self, job: Job) -> Result<Vec<Arc<Run>>> {
        let Job { unit, rows, capture } = job;
        let Capture { tree, prev, state, facts, window, signer } = capture;
        self.disk.create_dir(&self.dir)?;
        self.learn_ends(unit.head.number)?;
        let full = self.tuning.dedupe.layer();
        let runs = persist(&*self.disk, &self.dir, &self.tenant, &window.layers, full)?;
        let infos: Vec<RunInfo> = runs.iter().map(|run| run.info).collect();
        let end = unit.head.end;
        let snapshot = Snapshot {
            tenant: self.tenant,
            unit: unit.head.number,
            hash: unit.hash,
            end,
            root: tree.root(),
            offset: unit.offset,
            prev,
            state,
            edge: tree.hashes().to_vec(),
            segments: rows.iter().map(segment_of).collect(),
            ends: self.ends.iter().map(|(class_day, end)| (*class_day, *end)).collect(),
            counters: window.counters,
            runs: infos.clone(),
            facts: facts::encode(&facts)?,
        };
        let bytes = snapshot::encode(&snapshot, |message| signer.sign_unit(message));
        self.disk.replace(&self.dir.join(name(end)), &bytes)?;
        let before = self.kept.replace((end, infos)).filter(|(before, _)| *before != end);
        self.tidy(before.as_ref())?;
        Ok(runs)
    }

    /// Reads the heads of units since the last snapshot: where they ended the body files.
    fn learn_ends(&mut self, last: u64) -> Result<()> {
        while self.next <= last {
            let Some(unit) = self.log.unit(self.next)? else { break };
            for span in &unit.head.spans {
                let end = self.ends.entry(span.class_day).or_default();
                *end = span.end.max(*end);
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Removes snapshots and runs that neither the newest snapshot nor the one before it needs.
    /// A snapshot of a longer log stays: it is the mark of a rollback.
    fn tidy(&self, before: Option<&(TreeSize, Vec<RunInfo>)>) -> Result<()> {
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for (end, infos) in self.kept.iter().chain(before) {
            needed.insert(name(*end));
            needed.extend(infos.iter().map(|run| runs::name(run.first, run.end)));
        }
        let end = self.kept.as_ref().map_or(TreeSize(0), |(end, _)| *end);
        let ahead = |name: &str| name.len() == 21 && *name > *self::name(end);
        let ours = |name: &str| {
            let endings = [".snap", ".run", ".snap.new", ".run.new"];
            endings.iter().any(|ending| name.ends_with(ending))
        };
        let mut removed = false;
        for listed in self.disk.list(&self.dir)? {
            let mark = listed.name.ends_with(".snap") && ahead(&listed.name);
            let kept = mark || needed.contains(&listed.name);
            if !listed.is_dir && ours(&listed.name) && !kept {
                self.disk.remove(&self.dir.join(&listed.name))?;
                removed = true;
            }
        }
        if removed { Ok(self.disk.sync_dir(&self.dir)?) } else { Ok(()) }
    }
}

/// Name of the snapshot of so many entries.
fn name(end: TreeSize) -> String {
    format!("{:016x}.{EXTENSION}", end.0)
}

fn segment_of(row: &SegmentRow) -> Segment {
    let SegmentRow { segment, first_unit, first, prev, len } = *row;
    Segment { number: segment, first_unit, first, prev, len }
}
