//! Taking up a snapshot. It is believed only when the log key signed it, it speaks of this
//! tenant, it lies within the signed checkpoint, and the log has the very unit it is bound to at
//! its place, behind segments of the lengths it states. Anything else is named and passed over:
//! an older snapshot means more to read, none means everything. Nothing is changed.

use crate::base::id::{Hash32, TenantId};
use crate::base::unit::{ClassDay, EntryIndex, TreeSize};
use crate::crypto::merkle::Compact;
use crate::format::run::RunInfo;
use crate::format::snapshot::{self, Segment, Snapshot};
use crate::store::disk::{Disk, Mode};
use crate::store::error::Result as StoreResult;
use crate::store::log::{Placed, Recovery, SegmentRow, Start, UnitLog};
use crate::vault::Notice;
use crate::vault::error::Result;
use crate::vault::facts::Facts;
use crate::vault::logkey::LogKeys;
use crate::vault::snapshot::{EXTENSION, facts};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Snapshots looked at, at most: two are kept, the others are a stranger's.
const CANDIDATES_MAX: usize = 8;
/// A larger file is not read: with a million erasures a snapshot has half of this.
const BYTES_MAX: u64 = 1 << 30;

/// A snapshot that the log bears out.
pub(crate) struct Restored {
    pub(crate) log: UnitLog,
    pub(crate) recovery: Recovery,
    /// The unit it is bound to.
    pub(crate) unit: Arc<Placed>,
    pub(crate) tree: Compact,
    pub(crate) prev: Hash32,
    pub(crate) state: Option<EntryIndex>,
    pub(crate) facts: Facts,
    pub(crate) ends: BTreeMap<ClassDay, u64>,
    pub(crate) counters: Vec<snapshot::Counter>,
    pub(crate) runs: Vec<RunInfo>,
}

/// Where to look, and what to hold it against.
pub(crate) struct Ground<'a> {
    pub(crate) disk: &'a Arc<dyn Disk>,
    pub(crate) dir: &'a Path,
    pub(crate) log: &'a Path,
    pub(crate) tenant: TenantId,
    pub(crate) keys: &'a LogKeys,
    /// Size of the signed checkpoint.
    pub(crate) sealed: TreeSize,
}

/// Why a snapshot is passed over.
enum Passed {
    /// It covers more than the checkpoint.
    Ahead(TreeSize),
    /// It is damaged, a stranger's, or of another log.
    Other(String),
}

impl Ground<'_> {
    /// The newest snapshot that holds, and what was passed over.
    ///
    /// # Errors
    /// Those of the disk and of the log behind it; never because of a snapshot.
    pub(crate) fn newest(&self, notices: &mut Vec<Notice>) -> Result<Option<Restored>> {
        for path in self.candidates()? {
            let passed = match self.read(&path) {
                Ok(snapshot) => match self.take(snapshot)? {
                    Some(restored) => return Ok(Some(restored)),
                    None => Passed::Other("the log has not the units it speaks of".to_owned()),
                },
                Err(passed) => passed,
            };
            notices.push(self.notice(&path, passed));
        }
        Ok(None)
    }

    fn candidates(&self) -> StoreResult<Vec<PathBuf>> {
        let is_ours = |name: &str| {
            let stem = name.strip_suffix(EXTENSION).and_then(|n| n.strip_suffix('.'));
            stem.is_some_and(|s| s.len() == 16 && s.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        let listed = self.disk.list(self.dir)?.into_iter();
        let mut names: Vec<String> = listed.map(|l| l.name).filter(|n| is_ours(n)).collect();
        names.sort_unstable();
        let newest = names.iter().rev().take(CANDIDATES_MAX);
        Ok(newest.map(|name| self.dir.join(name)).collect())
    }

    fn read(&self, path: &Path) -> std::result::Result<Snapshot, Passed> {
        let other = |why: String| Passed::Other(why);
        let file = self.disk.open(path, Mode::Read).map_err(|e| other(e.to_string()))?;
        if file.len().map_err(|e| other(e.to_string()))? > BYTES_MAX {
            return Err(other("larger than any snapshot".to_owned()));
        }
        let bytes = self.disk.read(path).map_err(|e| other(e.to_string()))?;
        let mut by = None;
        let verify = |message: &[u8], signature: &[u8; 64]| {
            by = self.keys.all().find(|key| key.key().verify(message, signature).is_ok());
            by.is_some()
        };
        let snapshot = snapshot::decode(&bytes, verify).map_err(|e| other(e.to_string()))?;
        if !by.is_some_and(|key| self.keys.may_vouch(key, snapshot.end)) {
            return Err(other("signed by a key that had retired".to_owned()));
        }
        if snapshot.tenant != self.tenant {
            return Err(other("of another tenant".to_owned()));
        }
        match snapshot.end > self.sealed {
            true => Err(Passed::Ahead(snapshot.end)),
            false => Ok(snapshot),
        }
    }

    /// What a snapshot holds, if the log bears it out.
    fn take(&self, snapshot: Snapshot) -> Result<Option<Restored>> {
        let Snapshot { unit, hash, end, root, offset, prev, state, edge, .. } = snapshot;
        let rows = snapshot.segments.iter().map(row_of).collect();
        let Ok(tree) = Compact::from_parts(end, edge) else { return Ok(None) };
        let Ok(facts) = facts::decode(&snapshot.facts) else { return Ok(None) };
        if tree.root() != root || facts.size != end {
            return Ok(None);
        }
        let start = Start { rows, number: unit, hash, offset };
        let log = UnitLog::resume(self.disk.clone(), self.log, self.sealed, &start)?;
        let Some((log, recovery)) = log else { return Ok(None) };
        let Some(unit) = log.unit(unit)? else { return Ok(None) };
        if (unit.head.end, unit.head.root) != (end, root) {
            return Ok(None);
        }
        Ok(Some(Restored {
            log,
            recovery,
            unit,
            tree,
            prev,
            state,
            facts,
            ends: snapshot.ends.into_iter().collect(),
            counters: snapshot.counters,
            runs: snapshot.runs,
        }))
    }

    fn notice(&self, path: &Path, passed: Passed) -> Notice {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match passed {
            Passed::Ahead(end) => Notice {
                code: "SNAPSHOT_AHEAD",
                text: format!(
                    "{name} was signed when the log had {end} entries, and the checkpoint covers \
                     {}: log and checkpoint were put back to an earlier state",
                    self.sealed
                ),
            },
            Passed::Other(why) => Notice {
                code: "SNAPSHOT_IGNORED",
                text: format!("{name} is not used, more of the log was read instead: {why}"),
            },
        }
    }
}

fn row_of(segment: &Segment) -> SegmentRow {
    let Segment { number, first_unit, first, prev, len } = *segment;
    SegmentRow { segment: number, first_unit, first, prev, len }
}
