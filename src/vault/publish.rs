//! The log as others mirror it: static tiles (C2SP tlog-tiles) of what a checkpoint covers. A
//! tile, once full, never changes. It shows entries' public skeletons and hashes, never a body.

use crate::base::unit::EntryIndex;
use crate::format::tile::{TILE_WIDTH, TileLevel, TilePath, encode_entries};
use crate::vault::Vault;
use crate::vault::error::{Error, Result};

impl Vault {
    /// The bytes of a tile: hashes of a level, or a bundle of entries.
    ///
    /// # Errors
    /// `NotFound` `TILE_UNKNOWN` for one that the log has not grown to; those of the store.
    pub fn tile(&self, path: TilePath) -> Result<Vec<u8>> {
        if !path.is_within(self.size()) {
            return Err(Error::NotFound { code: "TILE_UNKNOWN" });
        }
        let TilePath { level, number, width } = path;
        match level {
            TileLevel::Hashes(level) => Ok(self.inner.tiles.tile(level, number, width)?),
            TileLevel::Entries => {
                let first = number * u64::from(TILE_WIDTH);
                let range = EntryIndex(first)..EntryIndex(first + u64::from(width));
                let mut entries = Vec::with_capacity(usize::from(width));
                self.for_each_entry_bytes(range, &mut |bytes| {
                    entries.push(bytes.to_vec());
                    Ok(())
                })?;
                let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
                encode_entries(&slices)
                    .map_err(|error| Error::evidence("MALFORMED", error.to_string()))
            }
        }
    }
}
