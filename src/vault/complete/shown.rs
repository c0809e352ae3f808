//! The log's part of a proof as it is written: entries from their units, nodes from the tiles.
//! Each unit and each tile is read once for the runs that lie in it.

use crate::base::id::Hash32;
use crate::base::unit::EntryIndex;
use crate::crypto::merkle::{Nodes, perfect_root};
use crate::format::complete::part::{Step, Tree, layout};
use crate::format::unit;
use crate::format::wire::{Write as _, len_of};
use crate::store::log::Placed;
use crate::store::tiles::Tiles;
use crate::vault::Vault;
use crate::vault::complete::put;
use crate::vault::error::{Error, Result};
use crate::vault::prove::tiles_missing;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

/// Hashes of one tile.
const TILE_HASHES: u64 = 256;

impl Vault {
    /// Writes a part of the log.
    pub(crate) fn write_log(
        &self,
        tree: Tree,
        runs: &[Range<u64>],
        out: &mut dyn Write,
    ) -> Result<()> {
        let tiles = LastTiles::new(&self.inner.tiles, tree.leaves);
        let mut unit: Option<(Arc<Placed>, Vec<u8>)> = None;
        layout(tree, runs, &mut |step| match step {
            Step::Node(place) => {
                let hash = perfect_root(&tiles, place.height, place.index);
                put(out, &hash.ok_or_else(tiles_missing)?.0)
            }
            Step::Run(run) => self.write_run(run, &mut unit, out),
        })
    }

    fn write_run(
        &self,
        run: Range<u64>,
        unit: &mut Option<(Arc<Placed>, Vec<u8>)>,
        out: &mut dyn Write,
    ) -> Result<()> {
        let unknown = || Error::NotFound { code: "ENTRY_UNKNOWN" };
        let mut next = run.start;
        while next < run.end {
            let here = |placed: &Placed| (placed.head.first.0..placed.head.end.0).contains(&next);
            if unit.as_ref().is_none_or(|(placed, _)| !here(placed)) {
                let placed = self.inner.log.unit_of(EntryIndex(next))?.ok_or_else(unknown)?;
                let bytes = self.inner.log.read(&placed)?;
                *unit = Some((placed, bytes));
            }
            let (placed, bytes) = unit.as_ref().ok_or_else(unknown)?;
            let entries = unit::decode(bytes)?.entries;
            let end = placed.head.end.0.min(run.end);
            let skip = usize::try_from(next - placed.head.first.0).map_err(|_| unknown())?;
            let mut shown = Vec::new();
            for (_, entry) in (next..end).zip(entries.iter().skip(skip)) {
                shown.put_u16(len_of(entry.len()));
                shown.raw(entry);
            }
            put(out, &shown)?;
            next = end;
        }
        Ok(())
    }
}

/// The tiles, of which the last one read of each level is kept: parts go from left to right.
struct LastTiles<'a> {
    tiles: &'a Tiles,
    /// Entries of the log.
    size: u64,
    read: RefCell<HashMap<u8, (u64, Vec<u8>)>>,
}

impl<'a> LastTiles<'a> {
    fn new(tiles: &'a Tiles, size: u64) -> Self {
        LastTiles { tiles, size, read: RefCell::default() }
    }

    /// Whether all hashes of a tile are there.
    fn is_full(&self, level: u8, number: u64) -> bool {
        let there = self.size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        number < there / TILE_HASHES
    }
}

impl Nodes for LastTiles<'_> {
    fn node(&self, level: u8, index: u64) -> Option<Hash32> {
        let (number, at) = (index / TILE_HASHES, (index % TILE_HASHES) as usize);
        if !self.is_full(level, number) {
            return self.tiles.node(level, index);
        }
        let mut read = self.read.borrow_mut();
        if read.get(&level).is_none_or(|(kept, _)| *kept != number) {
            let tile = self.tiles.tile(level, number, TILE_HASHES as u16).ok()?;
            read.insert(level, (number, tile));
        }
        let (_, tile) = read.get(&level)?;
        tile.as_chunks::<32>().0.get(at).map(|hash| Hash32(*hash))
    }
}
