//! Recovery: what opening does before anything is served. It believes contents, never lengths:
//! the signed checkpoint, then the hashes of every unit beyond it. It never drops an entry that
//! could have been acknowledged.

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::unit::{ClassDay, EntryIndex, TreeSize};
use crate::crypto::hash::leaf_hash;
use crate::crypto::lanes::Lanes;
use crate::crypto::merkle::{self, Compact, Nodes};
use crate::format::checkpoint::Checkpoint;
use crate::format::unit;
use crate::format::vkey::Verifier;
use crate::store::bodies::Bodies;
use crate::store::error::Error as StoreError;
use crate::store::log::{Placed, Recovery, UnitLog};
use crate::store::tiles::Tiles;
use crate::vault::dedupe::Window;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::read::entries_of;
use std::collections::BTreeMap;

/// The signed checkpoint on disk, or none for a log that never had one.
///
/// # Errors
/// `Evidence` when a checkpoint is there and is not ours.
pub(crate) fn checkpoint(
    note: Option<&[u8]>,
    origin: &str,
    key: &Verifier,
) -> Result<Option<Checkpoint>> {
    let Some(note) = note else { return Ok(None) };
    let checkpoint = Checkpoint::open(note, key)
        .map_err(|e| Error::evidence("CHECKPOINT_SIGNATURE", e.to_string()))?;
    match checkpoint.origin == origin {
        true => Ok(Some(checkpoint)),
        false => Err(Error::evidence("CHECKPOINT_SIGNATURE", "checkpoint of another log")),
    }
}

/// Brings the tiles up to the log and returns the tree, checked against the signed root and the
/// root of every unit beyond it. A damaged last unit beyond the checkpoint is dropped.
///
/// # Errors
/// `Evidence`: `ROOT_MISMATCH` within the signed part, `CORRUPT_TAIL` beyond.
pub(crate) fn tree(
    log: &UnitLog,
    tiles: &Tiles,
    signed: Option<&Checkpoint>,
    lanes: &Lanes,
    writable: bool,
    recovery: &mut Recovery,
) -> Result<Compact> {
    let sealed = signed.map_or(TreeSize(0), |c| c.size);
    if log.size() < sealed {
        let detail = format!("log holds {} entries, its checkpoint {sealed}", log.size());
        return Err(Error::evidence("ROLLED_BACK", detail));
    }
    let trusted = signed
        .is_some_and(|c| tiles.holds(sealed) && merkle::root_at(tiles, sealed) == Some(c.root));
    let mut tree = match trusted.then(|| edge(tiles, sealed)).flatten() {
        Some(tree) => tree,
        None => {
            tiles.clear();
            Compact::new()
        }
    };
    let from = log.unit_of(EntryIndex(tree.size().0)).map(|u| u.head.number);
    for number in from.into_iter().flat_map(|from| from..log.unit_count()) {
        let Some(placed) = log.unit(number) else { break };
        match extend(log, tiles, &placed, &mut tree, lanes)? {
            Ok(()) => {}
            Err(_) if number + 1 == log.unit_count() && placed.head.first.0 >= sealed.0 => {
                recovery.dropped = Some((placed.head.first, placed.head.len));
                if writable {
                    log.drop_last()?;
                }
            }
            Err(why) if placed.head.end <= sealed => {
                return Err(Error::evidence("ROOT_MISMATCH", format!("unit {number}: {why}")));
            }
            Err(why) => {
                let path = log.path_of(&placed);
                let what = format!("CORRUPT_TAIL: unit {number}: {why}");
                return Err(StoreError::corrupt(&path, what).into());
            }
        }
    }
    let root = merkle::root_at(tiles, sealed);
    match signed {
        Some(c) if c.size.0 > 0 && root != Some(c.root) => {
            Err(Error::evidence("ROOT_MISMATCH", "the log does not hash to its signed checkpoint"))
        }
        _ => Ok(tree),
    }
}

/// The compact range of a tree whose tiles are there.
fn edge(tiles: &Tiles, size: TreeSize) -> Option<Compact> {
    let mut hashes = Vec::new();
    let mut start = 0;
    for bit in (0..64).rev().filter(|bit| size.0 >> bit & 1 == 1) {
        let end = start + (1u64 << bit);
        hashes.push(merkle::subtree_root(tiles, EntryIndex(start), TreeSize(end))?);
        start = end;
    }
    Compact::from_parts(size, hashes).ok()
}

/// Adds a unit to the tree, if its entries hash to its root.
fn extend(
    log: &UnitLog,
    tiles: &Tiles,
    placed: &Placed,
    tree: &mut Compact,
    lanes: &Lanes,
) -> Result<std::result::Result<(), String>> {
    let bytes = log.read(placed)?;
    let unit = match unit::decode(&bytes) {
        Ok(unit) => unit,
        Err(e) => return Ok(Err(e.to_string())),
    };
    let skip = usize::try_from(tree.size().0 - placed.head.first.0).unwrap_or(usize::MAX);
    let leaves: Vec<Hash32> = unit.entries.iter().skip(skip).map(|e| leaf_hash(e)).collect();
    let mut grown = tree.clone();
    let mut levels: Vec<(u8, Hash32)> = Vec::new();
    grown.extend(lanes, &leaves, &mut |level, hash| levels.push((level, hash)));
    if grown.root() != placed.head.root {
        return Ok(Err("entries do not hash to the unit's root".to_owned()));
    }
    tiles.append(0, &leaves)?;
    for (level, hash) in levels {
        tiles.append(level, &[hash])?;
    }
    *tree = grown;
    Ok(Ok(()))
}

/// Cuts every body file to what was committed.
///
/// # Errors
/// Those of the disk. A file that is too short is left for `verify` to name.
pub(crate) fn bodies(log: &UnitLog, bodies: &Bodies) -> Result<()> {
    let mut ends: BTreeMap<ClassDay, u64> = BTreeMap::new();
    for number in 0..log.unit_count() {
        let Some(unit) = log.unit(number) else { break };
        for span in &unit.head.spans {
            let end = ends.entry(span.class_day).or_default();
            *end = span.end.max(*end);
        }
    }
    for (class_day, len) in bodies.list()? {
        let end = ends.get(&class_day).copied().unwrap_or(0);
        if len > end.max(crate::format::body::FILE_HEAD_BYTES) {
            bodies.cut(class_day, end.max(crate::format::body::FILE_HEAD_BYTES))?;
        }
    }
    Ok(())
}

/// What the entries say.
pub(crate) struct Replayed {
    pub(crate) facts: Facts,
    pub(crate) window: Window,
    pub(crate) last_state: Option<EntryIndex>,
    pub(crate) prev: Hash32,
}

/// Reads every entry once.
///
/// # Errors
/// `Evidence` for an entry that is malformed or out of place.
pub(crate) fn replay(log: &UnitLog, tiles: &Tiles) -> Result<Replayed> {
    let (mut facts, mut window) = (Facts::default(), Window::default());
    let mut last_state = None;
    let mut epoch = None;
    for number in 0..log.unit_count() {
        let Some(unit) = log.unit(number) else { break };
        // Every opening writes under a new epoch.
        facts.opening = epoch.replace(unit.head.epoch) != Some(unit.head.epoch);
        let bytes = log.read(&unit)?;
        for entry in entries_of(&bytes)? {
            let entry: Entry = entry?;
            facts.observe(&entry)?;
            let head = &entry.head;
            let (source, id) = (&head.source, &head.event_id);
            window.insert(source, head.source_seq, id, entry.index, entry.time_log);
            if unit::is_state(head.kind) {
                last_state = Some(entry.index);
            }
        }
    }
    let prev = match log.size().0.checked_sub(1) {
        Some(last) => tiles.node(0, last).unwrap_or_default(),
        None => Hash32::ZERO,
    };
    facts.opening = true;
    Ok(Replayed { facts, window, last_state, prev })
}
