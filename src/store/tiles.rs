//! Tiles: the hashes of the tree, one file a level, in the bytes of C2SP tlog-tiles.
//! Level L holds the root of every full subtree of 256^L leaves; tile N of level L is the bytes
//! [8192 N, 8192 (N + 1)) of file `L`. Derived: checked against the signed root at open, rebuilt
//! from the log on any doubt, never trusted.

use crate::base::id::Hash32;
use crate::base::unit::TreeSize;
use crate::crypto::merkle::Nodes;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::Result;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

/// Levels a log can have: 256^8 entries.
const LEVELS: u8 = 8;
/// Bytes of a hash.
const HASH: u64 = 32;

/// The level files of one log.
pub struct Tiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    levels: RwLock<Vec<Level>>,
}

#[derive(Clone)]
struct Level {
    file: Arc<dyn DiskFile>,
    count: u64,
}

impl Tiles {
    /// Opens the level files as far as they hold hashes of a log of `size`; what lies beyond is
    /// ignored and overwritten. A file that is too short holds fewer: `holds` tells.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, size: TreeSize) -> Result<Tiles> {
        disk.create_dir(dir)?;
        let mut levels = Vec::new();
        for level in 0..LEVELS {
            let path = dir.join(level.to_string());
            if !disk.exists(&path)? {
                break;
            }
            let file = disk.open(&path, Mode::Write)?;
            let count = (file.len()? / HASH).min(full(size, level));
            levels.push(Level { file, count });
        }
        Ok(Tiles { disk, dir: dir.to_owned(), levels: RwLock::new(levels) })
    }

    /// Whether every level holds what a log of `size` needs.
    pub fn holds(&self, size: TreeSize) -> bool {
        let levels = self.levels.read().unwrap_or_else(|e| e.into_inner());
        (0..LEVELS).all(|level| {
            let count = levels.get(usize::from(level)).map_or(0, |l| l.count);
            count == full(size, level)
        })
    }

    /// Forgets everything, to be built anew.
    pub fn clear(&self) {
        let mut levels = self.levels.write().unwrap_or_else(|e| e.into_inner());
        levels.iter_mut().for_each(|level| level.count = 0);
    }

    /// Appends hashes to a level.
    ///
    /// # Errors
    /// Those of the disk; the count is unchanged then.
    pub fn append(&self, level: u8, hashes: &[Hash32]) -> Result<()> {
        let mut levels = self.levels.write().unwrap_or_else(|e| e.into_inner());
        while levels.len() <= usize::from(level) {
            let path = self.dir.join(levels.len().to_string());
            let file = self.disk.open(&path, Mode::Create)?;
            self.disk.sync_dir(&self.dir)?;
            levels.push(Level { file, count: 0 });
        }
        let Some(level) = levels.get_mut(usize::from(level)) else { return Ok(()) };
        let bytes: Vec<u8> = hashes.iter().flat_map(|h| h.0).collect();
        level.file.write_at(level.count * HASH, &bytes)?;
        level.count += hashes.len() as u64;
        Ok(())
    }

    /// Makes all levels durable.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn sync(&self) -> Result<()> {
        let levels = self.levels.read().unwrap_or_else(|e| e.into_inner()).clone();
        levels.iter().try_for_each(|level| level.file.sync())
    }

    /// The bytes of tile `number` of `level`, `width` hashes wide.
    ///
    /// # Errors
    /// `Corrupt` when the level is shorter.
    pub fn tile(&self, level: u8, number: u64, width: u16) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::from(width) * 32];
        let found = {
            let levels = self.levels.read().unwrap_or_else(|e| e.into_inner());
            levels.get(usize::from(level)).cloned()
        };
        match found {
            Some(level) => level.file.read_exact_at(number * 256 * HASH, &mut bytes)?,
            None => bytes.clear(),
        }
        Ok(bytes)
    }
}

impl Nodes for Tiles {
    fn node(&self, level: u8, index: u64) -> Option<Hash32> {
        let file = {
            let levels = self.levels.read().unwrap_or_else(|e| e.into_inner());
            let level = levels.get(usize::from(level))?;
            (index < level.count).then(|| level.file.clone())?
        };
        let mut hash = [0; 32];
        file.read_exact_at(index * HASH, &mut hash).ok()?;
        Some(Hash32(hash))
    }
}

/// Hashes a level holds for a log of `size`.
fn full(size: TreeSize, level: u8) -> u64 {
    size.0 >> (8 * u32::from(level)).min(63)
}
