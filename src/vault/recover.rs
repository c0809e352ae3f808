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
use crate::format::run::RunInfo;
use crate::format::unit;
use crate::format::vkey::Verifier;
use crate::store::bodies::Bodies;
use crate::store::error::Error as StoreError;
use crate::store::log::{Placed, UnitLog};
use crate::store::tiles::Tiles;
use crate::vault::Notice;
use crate::vault::config::Tuning;
use crate::vault::dedupe::{Bounds, Layer, Window};
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::logkey::LogKeys;
use crate::vault::read::entries_of;
use crate::vault::snapshot::restore::Ground;
use std::collections::BTreeMap;

/// The signed checkpoint on disk, or none for a log that never had one.
///
/// # Errors
/// `Evidence` when a checkpoint is there and is not ours.
pub(crate) fn checkpoint(
    note: Option<&[u8]>,
    origin: &str,
    keys: &LogKeys,
) -> Result<Option<Checkpoint>> {
    let Some(note) = note else { return Ok(None) };
    let checkpoint = keys.checkpoint(note)?;
    match checkpoint.origin == origin {
        true => Ok(Some(checkpoint)),
        false => Err(Error::evidence("CHECKPOINT_SIGNATURE", "checkpoint of another log")),
    }
}

/// What the entries say: those behind the start hashed and held against their units' roots, those
/// before it as a signed snapshot tells.
pub(crate) struct Loaded {
    pub(crate) tree: Compact,
    pub(crate) facts: Facts,
    pub(crate) window: Window,
    pub(crate) last_state: Option<EntryIndex>,
    pub(crate) prev: Hash32,
    /// Committed ends of body files.
    pub(crate) ends: BTreeMap<ClassDay, u64>,
    /// Writer epoch of the last unit, and how many units there are.
    pub(crate) epoch: Option<u64>,
    pub(crate) units: u64,
    /// What was passed over at the end, a torn head or a damaged last unit: index of its first
    /// entry, and bytes.
    pub(crate) dropped: Option<(EntryIndex, u64)>,
}

impl Loaded {
    /// Nothing read yet.
    pub(crate) fn empty(bounds: Bounds) -> Self {
        Loaded {
            tree: Compact::new(),
            facts: Facts::default(),
            window: Window::new(bounds),
            last_state: None,
            prev: Hash32::ZERO,
            ends: BTreeMap::new(),
            epoch: None,
            units: 0,
            dropped: None,
        }
    }
}

/// What is wrong with a unit.
enum Fault {
    /// Its entries are not what its root says, or its end is not the log's signature.
    Unit(String),
}

/// The log after recovery.
pub(crate) struct Read {
    pub(crate) log: UnitLog,
    pub(crate) loaded: Loaded,
    /// A torn end that was passed over: index of its first entry, and bytes.
    pub(crate) torn: Option<(EntryIndex, u64)>,
    /// Where reading began, when a snapshot allowed to begin behind the first entry.
    pub(crate) start: Option<Began>,
}

/// The snapshot that an opening began from.
pub(crate) struct Began {
    pub(crate) end: TreeSize,
    pub(crate) root: Hash32,
    pub(crate) segment: u32,
    pub(crate) runs: Vec<RunInfo>,
}

impl Read {
    /// Reads the tail behind the newest snapshot that holds, or everything. What contradicts
    /// itself behind a snapshot is read again from the first entry, which decides.
    ///
    /// # Errors
    /// As `load`.
    pub(crate) fn log(
        ground: &Ground<'_>,
        signed: Option<&Checkpoint>,
        lanes: &Lanes,
        tuning: &Tuning,
        notices: &mut Vec<Notice>,
    ) -> Result<Read> {
        match Read::tail(ground, signed, lanes, tuning, notices) {
            Ok(Some(read)) => return Ok(read),
            Ok(None) => {}
            Err(error) => notices.push(Notice {
                code: "SNAPSHOT_IGNORED",
                text: format!(
                    "the log behind a snapshot does not hold, all of it was read: {error}"
                ),
            }),
        }
        let (log, recovery) = UnitLog::open(ground.disk.clone(), ground.log, ground.sealed)?;
        let log = log.closing_at(tuning.segment_bytes);
        let nothing = Loaded { dropped: recovery.dropped, ..Loaded::empty(tuning.dedupe) };
        let loaded = load(&log, signed, ground.keys, lanes, nothing)?;
        let torn = loaded.dropped;
        Ok(Read { log, loaded, torn, start: None })
    }

    fn tail(
        ground: &Ground<'_>,
        signed: Option<&Checkpoint>,
        lanes: &Lanes,
        tuning: &Tuning,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<Read>> {
        let Some(restored) = ground.newest(notices)? else { return Ok(None) };
        let log = restored.log.closing_at(tuning.segment_bytes);
        let layer = |info| Layer::open(&**ground.disk, ground.dir, &ground.tenant, info);
        let layers = restored.runs.iter().map(layer).collect();
        let end = restored.unit.head.end;
        let loaded = Loaded {
            tree: restored.tree,
            facts: restored.facts,
            window: Window::resume(tuning.dedupe, restored.counters, layers, end),
            last_state: restored.state,
            prev: restored.prev,
            ends: restored.ends,
            epoch: Some(restored.unit.head.epoch),
            units: restored.unit.head.number + 1,
            dropped: restored.recovery.dropped,
        };
        if let Some(lost) = loaded.window.first_lost() {
            let text = format!(
                "a run of event ids of entries {} to {} is damaged or gone: it is made from the \
                 log again before it is needed",
                lost.first.0,
                lost.end.0 - 1
            );
            notices.push(Notice { code: "DEDUPE_REBUILT", text });
        }
        let segment = restored.unit.segment;
        let start = Began { end, root: restored.unit.head.root, segment, runs: restored.runs };
        let loaded = load(&log, signed, ground.keys, lanes, loaded)?;
        let torn = loaded.dropped;
        Ok(Some(Read { log, loaded, torn, start: Some(start) }))
    }
}

/// Reads the log behind `loaded` and believes only what is proven: units within the signed
/// checkpoint by its root, units beyond it by the log key's signature at their end. The last unit
/// alone may fail that, beyond the checkpoint: a torn commit, which is passed over and named. A
/// unit before one that is torn was durable before that was begun: it was acknowledged.
///
/// # Errors
/// `Evidence`: `ROLLED_BACK`, `CHECKPOINT_MISSING`, `ROOT_MISMATCH` within the signed part; the
/// store's `CORRUPT_TAIL` beyond it.
pub(crate) fn load(
    log: &UnitLog,
    signed: Option<&Checkpoint>,
    keys: &LogKeys,
    lanes: &Lanes,
    mut loaded: Loaded,
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
    hold_against(&loaded, signed)?;
    for number in loaded.units..log.unit_count() {
        let Some(placed) = log.unit(number)? else { break };
        // Every opening writes under a new epoch.
        let epoch = Some(placed.head.epoch);
        loaded.facts.opening = std::mem::replace(&mut loaded.epoch, epoch) != epoch;
        let bytes = log.read(&placed)?;
        let believed = believe(
            &bytes,
            &placed,
            &loaded.tree,
            (placed.head.end > sealed).then_some(keys.at(placed.head.end)),
            lanes,
        );
        match believed {
            Ok((tree, prev)) => {
                (loaded.tree, loaded.prev) = (tree, prev);
                loaded.units = number + 1;
                loaded.take(&bytes, &placed)?;
            }
            Err(Fault::Unit(why)) => {
                refuse_within(log, &placed, sealed, loaded.dropped, &why)?;
                loaded.dropped = Some((placed.head.first, placed.head.len));
                log.drop_last()?;
            }
        }
        hold_against(&loaded, signed)?;
    }
    loaded.facts.opening = true;
    Ok(loaded)
}

/// At the checkpoint's size the root must be the checkpoint's.
fn hold_against(loaded: &Loaded, signed: Option<&Checkpoint>) -> Result<()> {
    match signed.filter(|c| c.size == loaded.tree.size()) {
        Some(signed) if signed.root != loaded.tree.root() => {
            let detail = "the log does not hash to its signed checkpoint";
            Err(Error::evidence("ROOT_MISMATCH", detail))
        }
        _ => Ok(()),
    }
}

/// Entries a vault has before it serves anyone: genesis and policies.
pub(crate) const FOUNDING_ENTRIES: u64 = 2;

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

/// Refuses a faulty unit unless it is the last one, beyond the checkpoint, and nothing behind it
/// was dropped already.
fn refuse_within(
    log: &UnitLog,
    placed: &Placed,
    sealed: TreeSize,
    dropped: Option<(EntryIndex, u64)>,
    why: &str,
) -> Result<()> {
    let number = placed.head.number;
    if placed.head.first.0 < sealed.0 {
        return Err(Error::evidence("ROOT_MISMATCH", format!("unit {number}: {why}")));
    }
    if number + 1 < log.unit_count() || dropped.is_some() {
        let what = format!("CORRUPT_TAIL: unit {number}: {why}");
        return Err(StoreError::corrupt(&log.path_of(placed), what).into());
    }
    Ok(())
}

impl Loaded {
    fn take(&mut self, bytes: &[u8], placed: &Placed) -> Result<()> {
        for span in &placed.head.spans {
            let end = self.ends.entry(span.class_day).or_default();
            *end = span.end.max(*end);
        }
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

/// Whether the log had this root at an earlier size. Stored hashes may have rotted where nothing
/// has read them yet, and must not pass for another history: where they say no, the unit that ends
/// there decides, whose head is chained to the last one.
///
/// # Errors
/// Those of the log.
pub(crate) fn had_root(
    log: &UnitLog,
    tiles: &Tiles,
    size: TreeSize,
    root: &Hash32,
) -> Result<bool> {
    if merkle::root_at(tiles, size).as_ref() == Some(root) {
        return Ok(true);
    }
    let Some(last) = size.0.checked_sub(1) else { return Ok(false) };
    let unit = log.unit_of(EntryIndex(last))?;
    Ok(unit.is_some_and(|unit| (unit.head.end, &unit.head.root) == (size, root)))
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
pub(crate) fn bodies(ends: &BTreeMap<ClassDay, u64>, bodies: &Bodies) -> Result<()> {
    bodies.clean()?;
    for (class_day, len) in bodies.list()? {
        let end = ends.get(&class_day).copied().unwrap_or(0);
        if len > end.max(crate::format::body::FILE_HEAD_BYTES) {
            bodies.cut(class_day, end.max(crate::format::body::FILE_HEAD_BYTES))?;
        }
    }
    Ok(())
}
