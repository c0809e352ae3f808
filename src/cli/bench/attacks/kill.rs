//! A real disk that stops taking orders at a chosen operation, as a process killed there would: the
//! operation itself is left half done, nothing after it happens. It never damages what is there.

use crate::store::disk::{Disk, DiskFile, DiskLock, Listed, Mode, OsDisk};
use crate::store::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many operations are left.
#[derive(Clone)]
pub(crate) struct Left(Arc<AtomicU64>);

impl Left {
    /// Takes one; an error once none is left, and whether this is the very one that is cut.
    fn take(&self, path: &Path) -> std::result::Result<(), (bool, Error)> {
        let take = |left: u64| left.checked_sub(1);
        let before = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        let error = || Error::new(ErrorKind::Io, path, "killed here");
        match before {
            Ok(1) => Err((true, error())),
            Ok(_) => Ok(()),
            Err(_) => Err((false, error())),
        }
    }

    /// Whether it was never used up.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// Another number of operations from now on.
    pub(crate) fn set(&self, operations: u64) {
        self.0.store(operations, Ordering::SeqCst);
    }
}

/// The disk.
pub(crate) struct KillDisk {
    left: Left,
}

impl KillDisk {
    /// A disk without a limit yet, and its limit.
    pub(crate) fn new() -> (KillDisk, Left) {
        let left = Left(Arc::new(AtomicU64::new(u64::MAX)));
        (KillDisk { left: left.clone() }, left)
    }

    fn may(&self, path: &Path) -> Result<()> {
        self.left.take(path).map_err(|(_, error)| error)
    }
}

struct KillFile {
    file: Arc<dyn DiskFile>,
    left: Left,
    path: PathBuf,
}

impl DiskFile for KillFile {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        match self.left.take(&self.path) {
            Ok(()) => self.file.write_at(offset, bytes),
            Err((cut, error)) => {
                let (half, _) = bytes.split_at(bytes.len() / 2);
                if cut {
                    self.file.write_at(offset, half)?;
                }
                Err(error)
            }
        }
    }

    fn sync(&self) -> Result<()> {
        self.left.take(&self.path).map_err(|(_, error)| error)?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.left.take(&self.path).map_err(|(_, error)| error)?;
        self.file.set_len(len)
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }
}

impl Disk for KillDisk {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        if matches!(mode, Mode::Create | Mode::CreateNew) && !OsDisk.exists(path)? {
            self.may(path)?;
        }
        let file = OsDisk.open(path, mode)?;
        Ok(Arc::new(KillFile { file, left: self.left.clone(), path: path.to_owned() }))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        OsDisk.exists(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<Listed>> {
        OsDisk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        if !OsDisk.exists(dir)? {
            self.may(dir)?;
        }
        OsDisk.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.may(to)?;
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.may(path)?;
        OsDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.may(dir)?;
        OsDisk.sync_dir(dir)
    }

    fn is_private(&self, path: &Path) -> Result<bool> {
        OsDisk.is_private(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>> {
        OsDisk.lock(path)
    }
}
