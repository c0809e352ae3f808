//! Scrub: every byte read again, a little at a time, before somebody needs it. Units against
//! their hashes, signatures, chain and root; bodies against their CRC, one in 64 opened with its
//! keys; tiles against each other; both copies of the key tree against their commits and each
//! other; the checkpoint against its key. What it finds it names, in the log too, and never
//! mends: a repair in silence would hide what the medium does.
//!
//! `tick` reads as much as the time since the last one allows and stores where it stands, so a
//! pass goes on after any stop. A read may be answered from the system's cache: what was evicted
//! or lies there since before the last start comes from the medium.

use crate::base::entry::{Entry, Kind};
use crate::base::event::Verb;
use crate::base::id::Hash32;
use crate::base::record::Fate;
use crate::base::unit::{ClassDay, EntryIndex, TreeSize, UtcNanos};
use crate::crypto::hash::{leaf_hash, node_hash};
use crate::crypto::merkle::root_at;
use crate::format::checkpoint::Checkpoint;
use crate::format::control::{self, Scan};
use crate::format::roll::KeyRoll;
use crate::format::vkey::Verifier;
use crate::format::{entry, unit};
use crate::store::bodies::{Frames, Stored};
use crate::store::error::ErrorKind;
use crate::store::log::Placed;
use crate::vault::error::Result;
use crate::vault::read::Reading;
use crate::vault::{Vault, vault_code};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;

/// Bytes a tick may read when nothing paces it.
const TICK_BYTES: u64 = 8 << 20;
/// Time that counts towards a tick at most: a pause is not caught up in one go.
const ELAPSED_NANOS_MAX: u64 = 10_000_000_000;
/// One record in so many is opened with its keys.
const SAMPLE: u64 = 64;
/// Findings of one pass that get an entry each; further ones are counted.
const LISTED_MAX: u64 = 100;
/// Hashes of a tile.
const WIDTH: u64 = 256;
/// Version of the stored position.
const FORMAT: u32 = 1;

/// Where a pass stands. Derived: without it a pass begins anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    format: u32,
    started: UtcNanos,
    full: bool,
    /// Units and entries there were when it began.
    units: u64,
    entries: TreeSize,
    part: Part,
    at: u64,
    level: u8,
    /// Number of the first commit of the key tree's file: another one means it was compacted.
    first: u64,
    bytes: u64,
    groups: u64,
    opened: u64,
    findings: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Part {
    Log,
    Tiles,
    Keys,
    Checkpoint,
    Done,
}

/// Something that is not what it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// `log`, `body`, `tile`, `keys`, `mirror` or `checkpoint`.
    pub part: &'static str,
    /// Stable name, as `verify` would give it.
    pub verdict: &'static str,
    /// Which entry, if it has one.
    pub index: Option<EntryIndex>,
}

/// What a tick came to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes read.
    pub bytes: u64,
    /// What was found, in the log already.
    pub findings: Vec<Finding>,
    /// The entry of a pass that is complete now.
    pub finished: Option<EntryIndex>,
    /// Bytes read of this pass so far.
    pub pass_bytes: u64,
}

/// A complete pass, as its entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passed {
    /// Its entry.
    pub index: EntryIndex,
    /// When it was complete.
    pub finished: UtcNanos,
    /// What it says.
    pub scan: Scan,
}

/// A scrub under way.
pub struct Scrub {
    position: Option<Position>,
    full: bool,
    /// Bytes a second; none = as fast as it goes.
    pace: Option<u64>,
    last: Option<UtcNanos>,
}

impl Scrub {
    /// Goes on where the last one stopped. `full` opens every record.
    pub fn resume(vault: &Vault, full: bool, pace: Option<u64>) -> Scrub {
        let stored = vault.inner.world.disk.read(&place(vault)).ok();
        let position = stored.and_then(|bytes| serde_json::from_slice::<Position>(&bytes).ok());
        let position = position.filter(|p| p.format == FORMAT && p.full == full);
        Scrub { position, full, pace, last: None }
    }

    /// Reads on, as far as the time since the last tick allows.
    ///
    /// # Errors
    /// Those of the append and of storing the position; what cannot be read is a finding.
    pub fn tick(&mut self, vault: &Vault, now: UtcNanos) -> Result<Progress> {
        let elapsed = now.0.saturating_sub(self.last.replace(now).unwrap_or(now).0);
        let budget = match self.pace {
            None => TICK_BYTES,
            Some(rate) => {
                let share = u128::from(elapsed.min(ELAPSED_NANOS_MAX)) * u128::from(rate);
                u64::try_from(share / 1_000_000_000).unwrap_or(u64::MAX)
            }
        };
        let mut position = match self.position.take() {
            Some(position) => position,
            None => begin(vault, self.full, now),
        };
        let mut progress = Progress::default();
        let walked = walk(vault, &mut position, budget, &mut progress);
        progress.pass_bytes = position.bytes;
        // Whatever fails from here on, the pass goes on from where it is.
        let position = self.position.insert(position);
        walked?;
        if position.part == Part::Done {
            progress.finished = Some(record(vault, &pass_entry(vault, position))?);
            self.position = None;
            forget(vault)?;
            return Ok(progress);
        }
        store(vault, position)?;
        Ok(progress)
    }
}

/// Takes steps until enough was read or the pass is complete. A step that fails, or whose findings
/// cannot be recorded, is not taken.
fn walk(
    vault: &Vault,
    position: &mut Position,
    budget: u64,
    progress: &mut Progress,
) -> Result<()> {
    while progress.bytes < budget && position.part != Part::Done {
        let mut next = position.clone();
        let mut step = Step { vault, position: &mut next, found: Vec::new(), bytes: 0 };
        step.take()?;
        let (found, bytes) = (std::mem::take(&mut step.found), step.bytes);
        progress.bytes += bytes;
        next.bytes += bytes;
        for finding in &found {
            next.findings += 1;
            if next.findings <= LISTED_MAX {
                record(vault, &finding_entry(finding))?;
            }
        }
        *position = next;
        progress.findings.extend(found);
    }
    Ok(())
}

impl Vault {
    /// The newest complete pass, and how many findings have been recorded since it began.
    ///
    /// # Errors
    /// Those of the store.
    pub fn last_scrub(&self) -> Result<(Option<Passed>, u64)> {
        use crate::format::seal::row::IndexKey;
        let mut since = 0;
        for index in self.find_key(&IndexKey::act(Kind::Scan))?.into_iter().rev() {
            let entry = self.entry(index)?;
            match control::decode::<Scan>(&entry.head.clear)? {
                Scan::Finding { .. } => since += 1,
                scan @ Scan::Pass { findings, .. } => {
                    let passed = Passed { index, finished: entry.time_log, scan };
                    return Ok((Some(passed), since + findings));
                }
            }
        }
        Ok((None, since))
    }
}

fn place(vault: &Vault) -> PathBuf {
    let inner = &vault.inner;
    inner.key_dirs.marker.with_file_name("scrub")
}

fn begin(vault: &Vault, full: bool, now: UtcNanos) -> Position {
    Position {
        format: FORMAT,
        started: now,
        full,
        units: vault.inner.log.unit_count(),
        entries: vault.size(),
        part: Part::Log,
        at: 0,
        level: 1,
        first: 0,
        bytes: 0,
        groups: 0,
        opened: 0,
        findings: 0,
    }
}

fn store(vault: &Vault, position: &Position) -> Result<()> {
    let text = serde_json::to_vec(position).unwrap_or_default();
    Ok(vault.inner.world.disk.replace(&place(vault), &text)?)
}

fn forget(vault: &Vault) -> Result<()> {
    let (disk, path) = (&vault.inner.world.disk, place(vault));
    if disk.exists(&path)? {
        disk.remove(&path)?;
    }
    Ok(())
}

fn record(vault: &Vault, scan: &Scan) -> Result<EntryIndex> {
    vault.writable()?;
    let clear = control::encode(scan)?;
    Ok(vault.inner.clerk.record(Kind::Scan, vault_code(Verb::Verify), clear)?.first)
}

fn finding_entry(finding: &Finding) -> Scan {
    let Finding { part, verdict, index } = *finding;
    Scan::Finding { index, part: part.to_owned(), verdict: verdict.to_owned() }
}

fn pass_entry(vault: &Vault, position: &Position) -> Scan {
    Scan::Pass {
        bytes: position.bytes,
        end: position.entries,
        findings: position.findings,
        full: position.full,
        groups: position.groups,
        opened: position.opened,
        replicas: vault.key_replicas().text(),
        started: position.started,
        units: position.units,
    }
}

/// One step of a pass: a unit with its bodies, a tile, a stretch of the key tree.
struct Step<'a> {
    vault: &'a Vault,
    position: &'a mut Position,
    found: Vec<Finding>,
    bytes: u64,
}

impl Step<'_> {
    fn find(&mut self, part: &'static str, verdict: &'static str, index: Option<EntryIndex>) {
        self.found.push(Finding { part, verdict, index });
    }

    fn take(&mut self) -> Result<()> {
        match self.position.part {
            Part::Log if self.position.at < self.position.units => {
                self.unit(self.position.at);
                self.position.at += 1;
            }
            Part::Log => self.turn(Part::Tiles),
            Part::Tiles => self.tile(),
            Part::Keys => self.keys()?,
            Part::Checkpoint => {
                self.checkpoint();
                self.turn(Part::Done);
            }
            Part::Done => {}
        }
        Ok(())
    }

    fn turn(&mut self, part: Part) {
        (self.position.part, self.position.at, self.position.level) = (part, 0, 1);
    }

    /// One unit: itself, its entries against chain, stored leaves and root, its bodies.
    fn unit(&mut self, number: u64) {
        let log = &self.vault.inner.log;
        let placed = match log.unit(number) {
            Ok(Some(placed)) => placed,
            _ => {
                self.find("log", "UNIT_CHAIN", None);
                return;
            }
        };
        let first = Some(placed.head.first);
        let Ok(bytes) = log.read(&placed) else {
            self.find("log", "UNREADABLE", first);
            return;
        };
        self.bytes += bytes.len() as u64;
        let Ok(unit) = unit::decode(&bytes) else {
            self.find("log", "MALFORMED", first);
            return;
        };
        if unit.hash != placed.hash {
            self.find("log", "UNIT_CHAIN", first);
        }
        let message = unit::signed_message(&unit.hash);
        let key = self.vault.log_key_at(unit.head.end);
        if key.is_none_or(|key| key.key().verify(&message, &unit.signature).is_err()) {
            self.find("log", "BAD_SIGNATURE", first);
        }
        let entries = self.entries(&placed, &unit.entries);
        let tiles = &*self.vault.inner.tiles;
        let whole = self.found.iter().all(|f| f.part == "body");
        if whole && root_at(tiles, unit.head.end) != Some(unit.head.root) {
            self.find("tile", "ROOT_MISMATCH", first);
        }
        self.bodies(&placed, &entries);
        self.open(&entries);
    }

    /// Every entry of a unit against what follows it and the hash stored for it.
    fn entries(&mut self, placed: &Placed, raw: &[&[u8]]) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(raw.len());
        for (at, bytes) in raw.iter().enumerate() {
            let index = EntryIndex(placed.head.first.0 + at as u64);
            let Ok(decoded) = entry::decode(bytes) else {
                self.find("log", "MALFORMED", Some(index));
                continue;
            };
            let leaf = leaf_hash(bytes);
            let stored = self.vault.leaf(index);
            if stored != Some(leaf) {
                // The next entry says which of the two is wrong.
                let next = raw.get(at + 1).and_then(|next| entry::decode(next).ok());
                let next = next.or_else(|| self.vault.entry(EntryIndex(index.0 + 1)).ok());
                match next.is_some_and(|next| next.prev == leaf) {
                    true => self.find("tile", "TILE_MISMATCH", Some(index)),
                    false => self.find("log", "LEAF_MISMATCH", Some(index)),
                }
            }
            if decoded.index != index {
                self.find("log", "INDEX_OR_PREV_MISMATCH", Some(index));
            }
            entries.push(decoded);
        }
        entries
    }

    /// The frames a unit wrote: each there, each with its CRC.
    fn bodies(&mut self, placed: &Placed, entries: &[Entry]) {
        let mut spans: HashMap<ClassDay, Option<Frames>> = HashMap::new();
        for span in &placed.head.spans {
            let frames = match self.vault.inner.bodies.read(*span) {
                Ok(frames) => {
                    self.bytes += span.end - span.start;
                    Some(frames)
                }
                Err(error) if error.kind == ErrorKind::Missing => None,
                Err(_) => {
                    self.find("body", "UNREADABLE", Some(placed.head.first));
                    continue;
                }
            };
            spans.insert(span.class_day, frames);
        }
        for entry in entries {
            for (position, group) in entry.head.groups.iter().enumerate() {
                let class_day = ClassDay { class: group.class, day: group.bucket };
                if self.vault.facts().expired.contains_key(&class_day) {
                    continue;
                }
                let position = u8::try_from(position).unwrap_or(u8::MAX);
                let (index, record) = (entry.index, &entry.head.record);
                let verdict = match spans.get(&class_day) {
                    Some(Some(frames)) => match frames.find(index, position, record) {
                        Stored::Body(_) => None,
                        Stored::Missing => Some("BODY_MISSING_UNJUSTIFIED"),
                        Stored::Damaged => Some("BODY_AUTH_FAIL"),
                    },
                    _ => Some("BODY_MISSING_UNJUSTIFIED"),
                };
                self.position.groups += u64::from(verdict.is_none());
                if let Some(verdict) = verdict {
                    self.find("body", verdict, Some(index));
                }
            }
        }
    }

    /// Opens a sample with the keys, another one in each pass.
    fn open(&mut self, entries: &[Entry]) {
        let offset = self.position.started.0 / 1_000_000_000 % SAMPLE;
        let reading = Reading { open: true, destination: None };
        for entry in entries {
            let known = self.found.iter().any(|f| f.index == Some(entry.index));
            let chosen = self.position.full || entry.index.0 % SAMPLE == offset;
            if known || !chosen || entry.head.groups.is_empty() {
                continue;
            }
            let Ok(record) = self.vault.unnamed(entry.index, reading) else {
                self.find("body", "UNREADABLE", Some(entry.index));
                continue;
            };
            for fate in record.groups {
                match fate {
                    Fate::Open => self.position.opened += 1,
                    Fate::Sealed | Fate::Erased | Fate::Expired => {}
                    bad => self.find("body", bad.name(), Some(entry.index)),
                }
            }
        }
    }

    /// One hash above the leaves against the 256 below it.
    fn tile(&mut self) {
        let (level, at) = (self.position.level, self.position.at);
        let shift = 8 * u32::from(level);
        let full = if shift < 64 { self.position.entries.0 >> shift } else { 0 };
        if full == 0 {
            return self.turn(Part::Keys);
        }
        if at >= full {
            (self.position.level, self.position.at) = (level + 1, 0);
            return;
        }
        self.position.at += 1;
        self.bytes += (WIDTH + 1) * 32;
        let tiles = &self.vault.inner.tiles;
        let below = tiles.tile(level - 1, at, WIDTH as u16).ok().and_then(|bytes| fold(&bytes));
        let above = tiles.tile(level, at / WIDTH, (at % WIDTH + 1) as u16).ok();
        let above = above.and_then(|bytes| bytes.last_chunk::<32>().copied()).map(Hash32);
        if below.is_none() || below != above {
            let index = at.checked_shl(shift).map(EntryIndex);
            self.find("tile", "TILE_MISMATCH", index);
        }
    }

    /// A stretch of the key tree's file, on both replicas; at the end the slots.
    fn keys(&mut self) -> Result<()> {
        let tree = self.vault.inner.keys.tree();
        let read = tree.scrub(self.position.at, self.position.first)?;
        if read.next.is_none() && self.position.full && tree.cells().is_err() {
            self.found.push(Finding { part: "keys", verdict: "KEY_NODE_UNREADABLE", index: None });
        }
        drop(tree);
        self.bytes += read.bytes;
        for (part, verdict) in read.found {
            self.find(part, verdict, None);
        }
        self.position.first = read.first;
        match read.next {
            Some(next) => self.position.at = next,
            None => self.turn(Part::Checkpoint),
        }
        Ok(())
    }

    fn checkpoint(&mut self) {
        let inner = &self.vault.inner;
        let path = inner.key_dirs.marker.with_file_name("checkpoint");
        let note = inner.world.disk.read(&path).unwrap_or_default();
        self.bytes += note.len() as u64;
        let opened = self.vault.log_keys().into_iter().any(|(key, until)| {
            Checkpoint::open(&note, &key).is_ok_and(|c| until.is_none_or(|end| c.size <= end))
        });
        if !opened {
            self.find("checkpoint", "CHECKPOINT_SIGNATURE", None);
        }
    }
}

impl Vault {
    /// Keys that signed this log, oldest first, with their ends.
    fn log_keys(&self) -> Vec<(Verifier, Option<TreeSize>)> {
        let facts = self.facts();
        let genesis = facts.genesis.as_ref().and_then(|g| Verifier::parse(&g.log_key).ok());
        let rolls = facts.key_rolls.iter().filter_map(|(_, roll)| match roll {
            control::KeyRoll::LogKey { note, .. } => KeyRoll::open(note.as_bytes()).ok(),
            _ => None,
        });
        let mut keys: Vec<(Verifier, Option<TreeSize>)> =
            genesis.into_iter().map(|key| (key, None)).collect();
        for roll in rolls {
            if let Some((_, end)) = keys.last_mut() {
                *end = Some(roll.until);
            }
            keys.push((roll.new, None));
        }
        keys
    }

    /// The key that signs a unit that ends here.
    fn log_key_at(&self, end: TreeSize) -> Option<Verifier> {
        let keys = self.log_keys();
        let mut valid = keys.into_iter().filter(|(_, until)| until.is_none_or(|u| end <= u));
        valid.next().map(|(key, _)| key)
    }
}

/// Root of the 256 hashes of a full tile.
fn fold(bytes: &[u8]) -> Option<Hash32> {
    let mut hashes: Vec<Hash32> =
        bytes.chunks_exact(32).filter_map(|h| h.try_into().ok().map(Hash32)).collect();
    if hashes.len() as u64 != WIDTH {
        return None;
    }
    while hashes.len() > 1 {
        let pairs = hashes.chunks_exact(2);
        hashes = pairs.filter_map(|p| Some(node_hash(p.first()?, p.get(1)?))).collect();
    }
    hashes.first().copied()
}
