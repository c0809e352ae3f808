//! One step of a pass: a unit with its entries and bodies, a stretch of tiles or of the key tree,
//! the checkpoint. What is wrong is named and passed over. It never mends, and never remembers
//! where it was.

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::record::Fate;
use crate::base::unit::{ClassDay, EntryIndex, TreeSize};
use crate::crypto::hash::{leaf_hash, node_hash};
use crate::crypto::merkle::root_at;
use crate::format::checkpoint::Checkpoint;
use crate::format::control::{self};
use crate::format::roll::KeyRoll;
use crate::format::vkey::Verifier;
use crate::format::{entry, unit};
use crate::store::bodies::{Frames, Stored};
use crate::store::error::ErrorKind;
use crate::store::log::Placed;
use crate::vault::Vault;
use crate::vault::error::Result;
use crate::vault::read::Reading;
use crate::vault::scrub::{Finding, Part, Position, SAMPLE, WIDTH};
use std::collections::HashMap;

/// One step of a pass: a unit with its bodies, a tile, a stretch of the key tree.
pub(crate) struct Step<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) position: &'a mut Position,
    pub(crate) found: Vec<Finding>,
    pub(crate) bytes: u64,
}

impl Step<'_> {
    fn find(&mut self, part: &'static str, verdict: &'static str, index: Option<EntryIndex>) {
        self.found.push(Finding { part, verdict, index });
    }

    pub(crate) fn take(&mut self) -> Result<()> {
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
        let reading = Reading::WITHIN;
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
