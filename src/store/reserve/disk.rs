//! A disk with a reserve: whatever finds no room is done again once a part of the reserve is given
//! back, as long as there is any. It changes nothing else, and never does again what failed for
//! another reason.

use crate::store::disk::{Disk, DiskFile, DiskLock, Listed, Mode, Space, Writer};
use crate::store::error::{ErrorKind, Result};
use crate::store::reserve::Reserve;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Times a name is tried: it takes a block, and a disk that has no more room for names (its inodes
/// are used up) is not helped by giving.
const NAME_TRIES: u32 = 4;

/// The disk. A clone is the same.
#[derive(Clone)]
pub struct Reserved {
    disk: Arc<dyn Disk>,
    reserve: Arc<Reserve>,
}

struct File {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    reserve: Arc<Reserve>,
}

impl Reserved {
    /// Over the disk that the reserve itself lies on.
    pub fn over(reserve: Arc<Reserve>) -> Self {
        Reserved { disk: reserve.disk.clone(), reserve }
    }

    fn name<T>(&self, path: &Path, act: impl Fn() -> Result<T>) -> Result<T> {
        again(&self.reserve, (path, 0, NAME_TRIES), act)
    }
}

/// Does it until it is not for want of room that it fails, or nothing is left to give.
fn again<T>(
    reserve: &Reserve,
    (path, bytes, tries): (&Path, usize, u32),
    act: impl Fn() -> Result<T>,
) -> Result<T> {
    let mut done = act();
    for _ in 0..tries {
        match &done {
            Err(error) if error.kind == ErrorKind::Full => {}
            _ => return done,
        }
        if !reserve.give(path, bytes as u64) {
            return done;
        }
        done = act();
    }
    done
}

impl DiskFile for File {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.reserve.note(bytes.len());
        again(&self.reserve, (&self.path, bytes.len(), u32::MAX), || {
            self.file.write_at(offset, bytes)
        })
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> Result<()> {
        again(&self.reserve, (&self.path, 0, NAME_TRIES), || self.file.set_len(len))
    }

    fn allocate(&self, len: u64) -> Result<()> {
        self.file.allocate(len)
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn forget(&self, bytes: Range<u64>) {
        self.file.forget(bytes);
    }

    fn link(&self, path: &Path) -> Result<()> {
        self.file.link(path)
    }
}

impl Disk for Reserved {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        let file = self.name(path, || self.disk.open(path, mode))?;
        if mode == Mode::Read {
            return Ok(file);
        }
        let (path, reserve) = (path.to_owned(), self.reserve.clone());
        Ok(Arc::new(File { file, path, reserve }))
    }

    fn create_unnamed(&self, dir: &Path) -> Result<Option<Arc<dyn DiskFile>>> {
        self.disk.create_unnamed(dir)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.disk.exists(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<Listed>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.name(dir, || self.disk.create_dir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.name(to, || self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.name(path, || self.disk.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.disk.sync_dir(dir)
    }

    fn is_private(&self, path: &Path) -> Result<bool> {
        self.disk.is_private(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>> {
        self.name(path, || self.disk.lock(path))
    }

    fn space(&self, dir: &Path) -> Option<Space> {
        self.disk.space(dir)
    }

    fn room(&self, bytes: u64, writer: Writer) -> Result<()> {
        self.reserve.room(bytes, writer)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.disk.read(path)
    }
}
