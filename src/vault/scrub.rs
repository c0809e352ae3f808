//! Scrub: every byte read again, a little at a time, before somebody needs it. Units against
//! their hashes, signatures, chain and root; bodies against their CRC, one in 64 opened with its
//! keys; tiles against each other; both copies of the key tree against their commits and each
//! other; the checkpoint against its key. What it finds it names, in the log too, and never
//! mends: a repair in silence would hide what the medium does.
//!
//! `tick` reads as much as the time since the last one allows and stores where it stands, so a
//! pass goes on after any stop. A read may be answered from the system's cache: what was evicted
//! or lies there since before the last start comes from the medium.

mod step;

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::format::control::{self, Scan};
use crate::vault::error::Result;
use crate::vault::scrub::step::Step;
use crate::vault::{Vault, vault_code};
use serde::{Deserialize, Serialize};
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
