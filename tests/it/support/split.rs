//! A disk of which a part can go away: every operation below one directory fails from a given one
//! on, and the rest of the disk goes on. It stands for a second disk that is unmounted or breaks.

#![allow(dead_code)]

use crate::support::sim::SimDisk;
use chancery::store::disk::{Disk, DiskFile, DiskLock, Listed, Mode};
use chancery::store::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Never reached.
const NEVER: u64 = u64::MAX;

#[derive(Clone)]
pub(crate) struct Split {
    disk: SimDisk,
    part: PathBuf,
    left: Arc<AtomicU64>,
}

struct SplitFile {
    file: Arc<dyn DiskFile>,
    split: Split,
    path: PathBuf,
}

impl Split {
    /// All of `disk`, and nothing fails yet.
    pub(crate) fn new(disk: &SimDisk, part: &str) -> Self {
        let left = Arc::new(AtomicU64::new(NEVER));
        Split { disk: disk.clone(), part: part.into(), left }
    }

    /// The `n`-th operation below the part from now (1 = the next) and all later ones fail.
    pub(crate) fn fail_after(&self, n: u64) {
        self.left.store(n, Ordering::SeqCst);
    }

    /// The part is back.
    pub(crate) fn heal(&self) {
        self.left.store(NEVER, Ordering::SeqCst);
    }

    fn pass(&self, path: &Path) -> Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        if left == NEVER || !path.starts_with(&self.part) {
            return Ok(());
        }
        if left <= 1 {
            self.left.store(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Io, path, "simulated: this disk is gone"));
        }
        self.left.store(left - 1, Ordering::SeqCst);
        Ok(())
    }
}

impl DiskFile for SplitFile {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.split.pass(&self.path)?;
        self.file.read_exact_at(offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.split.pass(&self.path)?;
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> Result<()> {
        self.split.pass(&self.path)?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.split.pass(&self.path)?;
        self.file.set_len(len)
    }

    fn len(&self) -> Result<u64> {
        self.split.pass(&self.path)?;
        self.file.len()
    }
}

impl Disk for Split {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        self.pass(path)?;
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(SplitFile { file, split: self.clone(), path: path.to_owned() }))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.pass(path)?;
        self.disk.exists(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<Listed>> {
        self.pass(dir)?;
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.pass(dir)?;
        self.disk.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.pass(to)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.pass(path)?;
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.pass(dir)?;
        self.disk.sync_dir(dir)
    }

    fn is_private(&self, path: &Path) -> Result<bool> {
        self.pass(path)?;
        self.disk.is_private(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>> {
        self.pass(path)?;
        self.disk.lock(path)
    }
}
