//! Reading units that nobody hashed since the vault was opened. An opening that uses a snapshot
//! reads the tail only; whoever reads further back reads through here, and gets nothing that does
//! not hash to the root the snapshot vouches for. It never repairs anything.

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::unit::{EntryIndex, TreeSize};
use crate::crypto::hash::leaf_hash;
use crate::crypto::merkle::{self, Nodes};
use crate::format::{entry, unit};
use crate::store::log::{Placed, UnitLog};
use crate::store::runs::Span;
use crate::store::tiles::Tiles;
use crate::vault::dedupe::Ids;
use crate::vault::error::{Error, Result};
use crate::vault::read::entries_of;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

/// Hashes of one tile.
const TILE_HASHES: u64 = 256;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// The log, for reading.
#[derive(Clone)]
pub(crate) struct Proven {
    pub(crate) log: Arc<UnitLog>,
    pub(crate) tiles: Arc<Tiles>,
    /// What a snapshot vouches for: below this size nothing was hashed at this opening.
    pub(crate) vouched: Option<(TreeSize, Hash32)>,
}

impl Proven {
    /// The bytes of a unit. Below the snapshot its entries must be under the snapshot's root:
    /// each entry's hash stands in the next one, and the last one's is proven by the tree.
    ///
    /// # Errors
    /// `Evidence`: `ROOT_MISMATCH` when the entries are not those that were written,
    /// `TILE_MISMATCH` when only the way from them to the root is damaged; those of the disk.
    pub(crate) fn read(&self, placed: &Placed) -> Result<Vec<u8>> {
        let bytes = self.log.read(placed)?;
        if let Some((size, root)) = self.vouched.filter(|(size, _)| placed.head.end <= *size) {
            self.check(placed, &bytes, size, root)?;
        }
        Ok(bytes)
    }

    fn check(&self, placed: &Placed, bytes: &[u8], size: TreeSize, root: Hash32) -> Result<()> {
        let unit = unit::decode(bytes)?;
        let first = placed.head.first.0;
        let altered = |index: u64, why: &str| {
            let detail = format!(
                "entry {index} is not what was written ({why}); the log was altered below what \
                 this opening read: run `chancery verify`"
            );
            Err(Error::evidence("ROOT_MISMATCH", detail))
        };
        let mut leaf = Hash32::ZERO;
        for (index, entry) in (first..).zip(&unit.entries) {
            let prev = entry.last_chunk::<HASH_BYTES>();
            if index > first && prev != Some(&leaf.0) {
                return altered(index - 1, "the next entry has another hash for it");
            }
            leaf = leaf_hash(entry);
        }
        let last = EntryIndex(placed.head.end.0 - 1);
        let tiles = Cached { tiles: &self.tiles, read: Mutex::default() };
        let proof = merkle::inclusion_proof(&tiles, last, size);
        let found = proof.and_then(|p| merkle::root_from_inclusion(&leaf, last, size, &p).ok());
        if found == Some(root) {
            return Ok(());
        }
        if self.tiles.node(0, last.0) == Some(leaf) {
            let detail =
                format!("entry {} is right, the tiles above it are not: remove tile/", last.0);
            return Err(Error::evidence("TILE_MISMATCH", detail));
        }
        altered(last.0, "it is not under the signed root")
    }

    /// Calls `each` with the entries at these places.
    ///
    /// # Errors
    /// As `read`; `NotFound` for one that is not there; those of `each`.
    pub(crate) fn for_entries_at<E: From<Error>>(
        &self,
        ascending: &[EntryIndex],
        each: &mut dyn FnMut(Entry) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let unknown = || Error::NotFound { code: "ENTRY_UNKNOWN" };
        let mut rest = ascending.iter().peekable();
        while let Some(index) = rest.peek() {
            let unit = self.log.unit_of(**index).map_err(Error::from)?.ok_or_else(unknown)?;
            let bytes = self.read(&unit)?;
            let decoded = unit::decode(&bytes).map_err(Error::from)?;
            while let Some(index) = rest.next_if(|index| index.0 < unit.head.end.0) {
                let at = index.0.checked_sub(unit.head.first.0).ok_or_else(unknown)?;
                let entry = usize::try_from(at).ok().and_then(|at| decoded.entries.get(at));
                let bytes = entry.ok_or_else(unknown)?;
                each(entry::decode(bytes).map_err(Error::from)?)?;
            }
        }
        Ok(())
    }

    /// The event ids of a stretch of entries.
    ///
    /// # Errors
    /// As `read`.
    pub(crate) fn ids(&self, span: Span) -> Result<Ids> {
        let mut ids = Ids::new();
        let mut next = span.first;
        while next < span.end {
            let Some(unit) = self.log.unit_of(next)? else { break };
            for entry in entries_of(&self.read(&unit)?)? {
                let entry = entry?;
                let within = (span.first..span.end).contains(&entry.index);
                if within && entry.head.source_seq.is_none() && !entry.head.event_id.is_zero() {
                    ids.insert(entry.head.event_id, entry.index);
                }
            }
            next = EntryIndex(unit.head.end.0);
        }
        Ok(ids)
    }
}

/// Tiles read whole: a proof asks for up to 255 neighbours on a level.
struct Cached<'t> {
    tiles: &'t Tiles,
    read: Mutex<HashMap<(u8, u64), Vec<u8>>>,
}

impl Nodes for Cached<'_> {
    fn node(&self, level: u8, index: u64) -> Option<Hash32> {
        let (tile, at) = (index / TILE_HASHES, (index % TILE_HASHES) as usize);
        let mut read = self.read.lock().ok()?;
        let bytes = match read.entry((level, tile)) {
            std::collections::hash_map::Entry::Occupied(held) => held.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let bytes = self.tiles.tile(level, tile, TILE_HASHES as u16).ok();
                match bytes {
                    Some(bytes) => vacant.insert(bytes),
                    // The last tile of a level is not full.
                    None => return self.tiles.node(level, index),
                }
            }
        };
        let hash = bytes.get(at * HASH_BYTES..(at + 1) * HASH_BYTES)?;
        Some(Hash32(hash.try_into().ok()?))
    }
}
