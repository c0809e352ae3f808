//! The chain and the tree: units joined in order, every leaf held against the stored tiles, every
//! unit's root against its entries, and the whole against the signed checkpoint. Where an entry
//! and its stored leaf hash disagree, the signed root tells which of the two was changed.

use crate::base::id::{Hash32, TenantId};
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::crypto::lanes::Lanes;
use crate::crypto::merkle::Compact;
use crate::format::checkpoint::Checkpoint;
use crate::format::timestamp::imprint_of;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::Result;
use crate::vault::verify::brackets::Brackets;
use crate::vault::verify::report::Report;
use crate::vault::verify::unit::{Checked, Seen};
use crate::vault::verify::walk::Found;
use std::path::Path;
use std::sync::Arc;

/// Level of the hashes over one epoch: 256^2 entries.
const EPOCH_LEVEL: u8 = 2;

/// A size and root that the log must have had.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) size: TreeSize,
    pub(crate) root: Hash32,
    /// Verdict when it has not.
    pub(crate) verdict: &'static str,
    pub(crate) met: bool,
    /// Origin of the log: then `root` is the SHA-256 of its checkpoint's text instead.
    pub(crate) imprint_of: Option<String>,
}

impl Target {
    fn holds(&self, root: Hash32) -> bool {
        match &self.imprint_of {
            None => self.root == root,
            Some(origin) => {
                let (origin, size) = (origin.clone(), self.size);
                imprint_of(&Checkpoint { origin, size, root }) == self.root
            }
        }
    }
}

/// The stored hashes, if there are any. Read only; derived, so their absence is no evidence.
pub(crate) struct Stored {
    levels: Vec<Arc<dyn DiskFile>>,
}

impl Stored {
    pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> Result<Stored> {
        let mut levels = Vec::new();
        for level in 0..8 {
            let path = dir.join(level.to_string());
            if !disk.exists(&path)? {
                break;
            }
            levels.push(disk.open(&path, Mode::Read)?);
        }
        Ok(Stored { levels })
    }

    /// Up to `count` hashes of a level.
    pub(crate) fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash32>> {
        let Some(file) = self.levels.get(usize::from(level)) else { return Ok(Vec::new()) };
        let there = (file.len()? / 32).saturating_sub(first);
        let count = count.min(usize::try_from(there).unwrap_or(usize::MAX));
        let mut bytes = vec![0; count * 32];
        file.read_exact_at(first * 32, &mut bytes)?;
        Ok(bytes.as_chunks::<32>().0.iter().map(|h| Hash32(*h)).collect())
    }
}

/// State between units.
pub(crate) struct Chain {
    pub(crate) tenant: TenantId,
    pub(crate) lanes: Lanes,
    pub(crate) stored: Stored,
    pub(crate) targets: Vec<Target>,
    /// Entries that the tiles are owed for: those under the signed checkpoint.
    pub(crate) signed: TreeSize,
    /// What stands outside says about when entries can have been made.
    pub(crate) brackets: Brackets,
    pub(crate) tree: Compact,
    /// Roots of the epochs finished so far.
    pub(crate) epochs: Vec<Hash32>,
    prev: Hash32,
    /// What the next unit must continue: number, hash of the one before, first entry.
    next: (u64, Hash32, EntryIndex),
    time: UtcNanos,
    /// The tree has left the signed one; further roots say nothing new.
    astray: bool,
    /// A level of the tiles was found short.
    short: bool,
    /// Signed entries whose stored leaf hash is another: the signed root tells which is right.
    differing: Vec<EntryIndex>,
}

impl Chain {
    pub(crate) fn new(tenant: TenantId, stored: Stored, signed: TreeSize) -> Self {
        Chain {
            tenant,
            lanes: Lanes::detect(),
            stored,
            targets: Vec::new(),
            signed,
            brackets: Brackets::default(),
            tree: Compact::new(),
            epochs: Vec::new(),
            prev: Hash32::ZERO,
            next: (0, Hash32::ZERO, EntryIndex(0)),
            time: UtcNanos(0),
            astray: false,
            short: false,
            differing: Vec::new(),
        }
    }

    /// Whether a unit holds what its head says, and its entries lead to its root.
    pub(crate) fn bears_out(&self, found: &Found, checked: &Checked) -> bool {
        let mut grown = self.tree.clone();
        grown.extend(&self.lanes, &checked.leaves, &mut |_, _| {});
        found.hash == found.head.hash() && checked.whole && grown.root() == found.head.root
    }

    /// Leaves out the unit that ends the log: torn by a crash, it was never acknowledged; made up
    /// by somebody, it proves nothing. What the tiles hold in its place must be what it says.
    pub(crate) fn leave_out(&mut self, checked: &Checked, report: &mut Report) -> Result<()> {
        let first = self.tree.size().0;
        let tiles = self.stored.hashes(0, first, checked.leaves.len())?;
        for (at, (tile, leaf)) in tiles.iter().zip(&checked.leaves).enumerate() {
            if tile != leaf {
                let what = "the entry does not hash to its stored leaf";
                report.fail("LEAF_MISMATCH", EntryIndex(first + at as u64), what);
            }
        }
        let what = "the last unit, beyond the checkpoint, is not whole or not signed by the log \
                    key in force there; nothing it says counts";
        report.attention("TAIL_TORN", EntryIndex(first), what);
        Ok(())
    }

    /// Joins the next unit.
    pub(crate) fn take(
        &mut self,
        found: &Found,
        checked: &Checked,
        report: &mut Report,
    ) -> Result<bool> {
        let first = self.tree.size().0;
        self.follow(found, report);
        let tiles = self.stored.hashes(0, first, found.entries())?;
        let accepted = self.accept(found, &checked.leaves, &tiles, report);
        self.compare_leaves(first, &checked.leaves, &tiles, &accepted, report);
        let mut levels: Vec<(u8, Hash32)> = Vec::new();
        self.meet_targets(&accepted, report);
        self.tree.extend(&self.lanes, &accepted, &mut |level, hash| levels.push((level, hash)));
        self.compare_levels(first, &levels, report)?;
        let mut prev = self.prev;
        for (at, leaf) in accepted.iter().enumerate() {
            if let Some(Some(seen)) = checked.entries.get(at) {
                self.place(EntryIndex(first + at as u64), seen, &prev, report);
            }
            prev = *leaf;
        }
        self.prev = prev;
        Ok(accepted == checked.leaves)
    }

    /// Number, previous hash and first entry are those that follow from the unit before.
    fn follow(&mut self, found: &Found, report: &mut Report) {
        let head = &found.head;
        let (number, hash, first) = self.next;
        if (head.number, head.prev, head.first) != (number, hash, first) {
            let what = format!(
                "unit {} with entries {}..{} stands where unit {number} from entry {first} must",
                head.number, head.first, head.end
            );
            report.fail("UNIT_CHAIN", first, what);
        }
        self.next = (head.number.saturating_add(1), found.hash, EntryIndex(head.end.0));
    }

    /// Which leaves to go on with: those of the entries when they hash to the unit's root, else
    /// the stored ones when those do.
    fn accept(
        &mut self,
        found: &Found,
        leaves: &[Hash32],
        tiles: &[Hash32],
        report: &mut Report,
    ) -> Vec<Hash32> {
        let count = found.entries();
        let root_of = |leaves: &[Hash32]| {
            let mut grown = self.tree.clone();
            grown.extend(&self.lanes, leaves, &mut |_, _| {});
            grown.root()
        };
        let root = found.head.root;
        if leaves.len() == count && root_of(leaves) == root {
            return leaves.to_vec();
        }
        if tiles.len() == count && root_of(tiles) == root {
            return tiles.to_vec();
        }
        let first = found.head.first;
        if !self.astray {
            let what = format!("entries of unit {} do not hash to its root", found.head.number);
            report.fail("ROOT_MISMATCH", first, what);
        }
        let sound = leaves.len() == count && self.root_holds_later(found, leaves);
        self.astray |= !sound;
        let fill = (leaves.len()..count).map(|at| tiles.get(at).copied().unwrap_or_default());
        leaves.iter().copied().chain(fill).collect()
    }

    /// Whether a target at this unit's end vouches for its entries although its head does not.
    fn root_holds_later(&self, found: &Found, leaves: &[Hash32]) -> bool {
        let mut grown = self.tree.clone();
        grown.extend(&self.lanes, leaves, &mut |_, _| {});
        self.targets.iter().any(|t| t.size == found.head.end && t.holds(grown.root()))
    }

    fn compare_leaves(
        &mut self,
        first: u64,
        leaves: &[Hash32],
        tiles: &[Hash32],
        accepted: &[Hash32],
        report: &mut Report,
    ) {
        for (at, leaf) in leaves.iter().enumerate() {
            let index = EntryIndex(first + at as u64);
            let owed = index.0 < self.signed.0;
            match tiles.get(at) {
                Some(tile) if tile == leaf => {}
                Some(tile) if accepted.get(at) == Some(tile) || (self.astray && owed) => {
                    let what = "the entry does not hash to its leaf in the tree";
                    report.fail("LEAF_MISMATCH", index, what);
                }
                Some(_) if owed => self.differing.push(index),
                None if owed && !self.short => {
                    self.short = true;
                    let what = "stored leaf hashes end here; opening the vault rebuilds them";
                    report.attention("TILE_MISSING", index, what);
                }
                _ => {}
            }
        }
    }

    /// Holds the hashes above the leaves against the stored ones, and keeps those of epochs.
    fn compare_levels(
        &mut self,
        before: u64,
        levels: &[(u8, Hash32)],
        report: &mut Report,
    ) -> Result<()> {
        let top = levels.iter().map(|(level, _)| *level).max().unwrap_or(0);
        for level in 1..=top {
            let of = levels.iter().filter(|(l, _)| *l == level).map(|(_, hash)| *hash);
            let hashes: Vec<Hash32> = of.collect();
            if level == EPOCH_LEVEL {
                self.epochs.extend(&hashes);
            }
            let shift = 8 * u32::from(level);
            let first = before >> shift;
            let stored = self.stored.hashes(level, first, hashes.len())?;
            for (at, hash) in hashes.iter().enumerate() {
                let start = (first + at as u64) << shift;
                let owed = start + (1 << shift) <= self.signed.0 && !self.astray;
                match stored.get(at) {
                    Some(stored) if stored != hash && owed => {
                        let what = format!("a stored hash of level {level} is not the tree's");
                        report.fail("TILE_MISMATCH", EntryIndex(start), what);
                    }
                    None if owed && !self.short => {
                        self.short = true;
                        let what = format!("stored hashes of level {level} end here");
                        report.attention("TILE_MISSING", EntryIndex(start), what);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Compares the tree with every target that lies within the next leaves.
    fn meet_targets(&mut self, leaves: &[Hash32], report: &mut Report) {
        let before = self.tree.size().0;
        let end = before + leaves.len() as u64;
        for target in self.targets.iter_mut().filter(|t| !t.met && t.size.0 <= end) {
            if target.size.0 < before {
                continue;
            }
            let part = usize::try_from(target.size.0 - before).unwrap_or(usize::MAX);
            let mut grown = self.tree.clone();
            grown.extend(&self.lanes, leaves.get(..part).unwrap_or(leaves), &mut |_, _| {});
            target.met = true;
            if !target.holds(grown.root()) {
                self.astray = true;
                let what =
                    format!("the first {} entries do not hash to the signed root", target.size);
                report.fail(target.verdict, None, what);
            }
        }
    }

    /// Names the targets that the log does not reach.
    pub(crate) fn finish(&mut self, report: &mut Report) {
        let size = self.tree.size();
        let empty = size.0 == 0;
        for index in std::mem::take(&mut self.differing) {
            if self.astray {
                let what = "the entry does not hash to its stored leaf, nor the log to its root";
                report.fail("LEAF_MISMATCH", index, what);
            } else {
                let what = "the stored leaf hash is not the entry's; the signed root is";
                report.fail("TILE_MISMATCH", index, what);
            }
        }
        for target in self.targets.iter().filter(|t| !t.met && (!empty || t.size.0 > 0)) {
            let what = format!("{} entries were signed, the log holds {size}", target.size);
            report.fail("ROLLED_BACK", EntryIndex(size.0), what);
        }
    }

    /// Place, predecessor, time and tenant of one entry.
    fn place(&mut self, index: EntryIndex, seen: &Seen, prev: &Hash32, report: &mut Report) {
        if seen.index != index {
            let what = format!("the entry says it is {}", seen.index);
            report.fail("INDEX_OR_PREV_MISMATCH", index, what);
        } else if seen.prev != *prev {
            let what = "the entry names another predecessor";
            report.fail("INDEX_OR_PREV_MISMATCH", index, what);
        }
        if seen.tenant != self.tenant {
            report.fail("TENANT_MISMATCH", index, "the entry is another tenant's");
        }
        if seen.time < self.time {
            let what = format!("log time falls from {} to {}", self.time, seen.time);
            report.fail("TIME_REGRESSION", index, what);
        }
        if let Some(entry) = &seen.entry {
            self.brackets.pass(index, entry, report);
        }
        if let Some(what) = self.brackets.violated(index, seen.time) {
            report.fail("TIME_BRACKET", index, what);
        }
        self.time = self.time.max(seen.time);
    }
}
