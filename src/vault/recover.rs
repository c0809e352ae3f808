//! Recovery: what opening does before anything is served. It believes contents, never lengths:
//! the signed checkpoint, then the hashes of every unit beyond it. It never drops an entry that
//! could have been acknowledged.

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::unit::{ClassDay, EntryIndex, TreeSize};
use crate::crypto::hash::leaf_hash;
use crate::crypto::lanes::Lanes;
use crate::crypto::merkle::{self, Compact};
use crate::format::checkpoint::Checkpoint;
use crate::format::unit;
use crate::format::vkey::Verifier;
use crate::store::bodies::Bodies;
use crate::store::error::Error as StoreError;
use crate::store::log::{Placed, UnitLog};
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

/// What the entries say, every one of them hashed and held against its unit's root.
pub(crate) struct Loaded {
    pub(crate) tree: Compact,
    pub(crate) facts: Facts,
    pub(crate) window: Window,
    pub(crate) last_state: Option<EntryIndex>,
    pub(crate) prev: Hash32,
    /// A damaged last unit was passed over: index of its first entry, and bytes.
    pub(crate) dropped: Option<(EntryIndex, u64)>,
}

/// What is wrong with a unit.
enum Fault {
    /// Its entries are not what its root says, or its end is not the log's signature.
    Unit(String),
}

/// Reads the whole log and believes only what is proven: units within the signed checkpoint by
/// its root, units beyond it by the log key's signature at their end. The last unit alone may
/// fail that, beyond the checkpoint: a torn commit, which is passed over and named.
///
/// # Errors
/// `Evidence`: `ROLLED_BACK`, `CHECKPOINT_MISSING`, `ROOT_MISMATCH` within the signed part; the
/// store's `CORRUPT_TAIL` beyond it.
pub(crate) fn load(
    log: &UnitLog,
    signed: Option<&Checkpoint>,
    key: &Verifier,
    lanes: &Lanes,
) -> Result<Loaded> {
    let sealed = signed.map_or(TreeSize(0), |c| c.size);
    if log.size() < sealed {
        let detail = format!("log holds {} entries, its checkpoint {sealed}", log.size());
        return Err(Error::evidence("ROLLED_BACK", detail));
    }
    if signed.is_none() && log.size().0 > FOUNDING_ENTRIES {
        let detail = "the log has entries and no checkpoint: put the checkpoint file back";
        return Err(Error::evidence("CHECKPOINT_MISSING", detail));
    }
    let mut loaded = Loaded {
        tree: Compact::new(),
        facts: Facts::default(),
        window: Window::default(),
        last_state: None,
        prev: Hash32::ZERO,
        dropped: None,
    };
    let mut epoch = None;
    for number in 0..log.unit_count() {
        let Some(placed) = log.unit(number)? else { break };
        // Every opening writes under a new epoch.
        loaded.facts.opening = epoch.replace(placed.head.epoch) != Some(placed.head.epoch);
        let bytes = log.read(&placed)?;
        let believed = believe(
            &bytes,
            &placed,
            &loaded.tree,
            (placed.head.end > sealed).then_some(key),
            lanes,
        );
        match believed {
            Ok((tree, prev)) => {
                (loaded.tree, loaded.prev) = (tree, prev);
                loaded.take(&bytes)?;
            }
            Err(Fault::Unit(why)) => {
                refuse_within(log, &placed, number, sealed, &why)?;
                loaded.dropped = Some((placed.head.first, placed.head.len));
                log.drop_last()?;
            }
        }
        if let Some(signed) = signed.filter(|c| c.size == loaded.tree.size())
            && signed.root != loaded.tree.root()
        {
            let detail = "the log does not hash to its signed checkpoint";
            return Err(Error::evidence("ROOT_MISMATCH", detail));
        }
    }
    loaded.facts.opening = true;
    Ok(loaded)
}

/// Entries a vault has before it serves anyone: genesis and policies.
const FOUNDING_ENTRIES: u64 = 2;

/// The tree after a unit whose entries hash to its root, and its last leaf; with `key`, only if
/// that key signed it.
fn believe(
    bytes: &[u8],
    placed: &Placed,
    tree: &Compact,
    key: Option<&Verifier>,
    lanes: &Lanes,
) -> std::result::Result<(Compact, Hash32), Fault> {
    let unit = unit::decode(bytes).map_err(|e| Fault::Unit(e.to_string()))?;
    let leaves: Vec<Hash32> = unit.entries.iter().map(|e| leaf_hash(e)).collect();
    let mut grown = tree.clone();
    grown.extend(lanes, &leaves, &mut |_, _| {});
    if grown.root() != placed.head.root || grown.size() != placed.head.end {
        return Err(Fault::Unit("entries do not hash to the unit's root".to_owned()));
    }
    let message = unit::signed_message(&unit.hash);
    let signed = key.is_none_or(|key| key.key().verify(&message, &unit.signature).is_ok());
    match (signed, leaves.last()) {
        (true, Some(last)) => Ok((grown, *last)),
        (true, None) => Err(Fault::Unit("unit without entries".to_owned())),
        (false, _) => Err(Fault::Unit("FORGED_TAIL: not signed by the log key".to_owned())),
    }
}

/// Refuses a faulty unit unless it is the last one and beyond the checkpoint.
fn refuse_within(
    log: &UnitLog,
    placed: &Placed,
    number: u64,
    sealed: TreeSize,
    why: &str,
) -> Result<()> {
    if placed.head.first.0 < sealed.0 {
        return Err(Error::evidence("ROOT_MISMATCH", format!("unit {number}: {why}")));
    }
    if number + 1 < log.unit_count() {
        let what = format!("CORRUPT_TAIL: unit {number}: {why}");
        return Err(StoreError::corrupt(&log.path_of(placed), what).into());
    }
    Ok(())
}

impl Loaded {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        for entry in entries_of(bytes)? {
            let entry: Entry = entry?;
            self.facts.observe(&entry)?;
            let head = &entry.head;
            let (source, id) = (&head.source, &head.event_id);
            self.window.insert(source, head.source_seq, id, entry.index, entry.time_log);
            if unit::is_state(head.kind) {
                self.last_state = Some(entry.index);
            }
        }
        Ok(())
    }
}

/// Brings the tiles up to a log that was just read and proven, rebuilding them on any doubt.
///
/// # Errors
/// Those of the disk.
pub(crate) fn tiles(
    log: &UnitLog,
    tiles: &Tiles,
    signed: Option<&Checkpoint>,
    proven: &Compact,
    lanes: &Lanes,
) -> Result<()> {
    let sealed = signed.map_or(TreeSize(0), |c| c.size);
    let trusted = signed
        .is_some_and(|c| tiles.holds(sealed) && merkle::root_at(tiles, sealed) == Some(c.root));
    let mut tree = trusted.then(|| edge(tiles, sealed)).flatten().unwrap_or_else(|| {
        tiles.clear();
        Compact::new()
    });
    let from = log.unit_of(EntryIndex(tree.size().0))?.map(|u| u.head.number);
    for number in from.into_iter().flat_map(|from| from..log.unit_count()) {
        let Some(placed) = log.unit(number)? else { break };
        let bytes = log.read(&placed)?;
        let unit = unit::decode(&bytes)?;
        let skip = usize::try_from(tree.size().0 - placed.head.first.0).unwrap_or(usize::MAX);
        let leaves: Vec<Hash32> = unit.entries.iter().skip(skip).map(|e| leaf_hash(e)).collect();
        let mut levels: Vec<(u8, Hash32)> = Vec::new();
        tree.extend(lanes, &leaves, &mut |level, hash| levels.push((level, hash)));
        tiles.append(0, &leaves)?;
        for (level, hash) in levels {
            tiles.append(level, &[hash])?;
        }
    }
    match tree.root() == proven.root() {
        true => Ok(()),
        false => {
            Err(Error::evidence("TILE_MISMATCH", "tiles do not agree with the log: remove tile/"))
        }
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

/// Cuts every body file to what was committed, and removes unfinished packed ones.
///
/// # Errors
/// Those of the disk. A file that is too short is left for `verify` to name.
pub(crate) fn bodies(log: &UnitLog, bodies: &Bodies) -> Result<()> {
    bodies.clean()?;
    let mut ends: BTreeMap<ClassDay, u64> = BTreeMap::new();
    for number in 0..log.unit_count() {
        let Some(unit) = log.unit(number)? else { break };
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
