//! Room that is kept for the vault's own acts: expiry, erasure, holds, documents, seals and
//! checkpoints go on when everything else has filled the disk. It never holds data, and never
//! serves events.
//!
//! Two parts on each file system that data, keys or mirror lie on. A **mark**: events are refused
//! while less than `size` bytes are free, so they never fill a disk by themselves. And a **file**
//! of `size` bytes, really taken, for when something else does: where a write of the vault finds no
//! room, a part of it is given back and the write is done again, at the same place with the same
//! bytes. That is no retry after a failed sync: nothing had been promised yet. Once there is
//! room for the file beside the mark, it is made whole again, and only then do events come in.
//!
//! What is derived (index, snapshots, packed files) gets nothing of it: it can be made later.

mod disk;

pub use crate::store::reserve::disk::Reserved;

use crate::store::disk::{Disk, DiskFile, Mode, Space, Writer};
use crate::store::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Name of the file, in the first directory on its file system.
pub const RESERVE_FILE: &str = "reserve";
/// Given back at once at least: a commit of the vault's own acts is smaller.
const STEP_BYTES: u64 = 1 << 20;
/// Left over an act beside its own bytes: names of files, nodes of the key tree, a checkpoint.
const MARGIN_BYTES: u64 = 256 << 10;

/// A directory whose file system must keep room.
#[derive(Clone, Debug)]
pub struct Spot {
    /// `data`, `keys`, `mirror`.
    pub name: &'static str,
    /// The directory.
    pub dir: PathBuf,
}

/// The reserve of one file system, as operators see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Name of the first directory that lies on it.
    pub name: &'static str,
    /// Bytes its file has now.
    pub left: u64,
    /// Bytes it should have.
    pub size: u64,
    /// Whether events are refused because of it.
    pub closed: bool,
}

/// One file system.
struct Volume {
    name: &'static str,
    dir: PathBuf,
    device: u64,
    /// Free bytes when that was last asked.
    free: u64,
    file: Option<Arc<dyn DiskFile>>,
    left: u64,
    /// Whether the file can be made at all: where the system refuses it, the mark alone counts.
    possible: bool,
}

/// The reserves of a process.
pub struct Reserve {
    disk: Arc<dyn Disk>,
    spots: Vec<Spot>,
    size: u64,
    /// Whether files are made; whoever only acts for a moment takes what is there.
    makes: bool,
    /// Bytes written since free bytes were last asked.
    written: AtomicU64,
    volumes: Mutex<Vec<Volume>>,
}

impl Reserve {
    /// The reserves of these directories on a disk: `size` bytes each. With `makes` the files are
    /// made, and made again.
    pub fn new(disk: Arc<dyn Disk>, spots: Vec<Spot>, size: u64, makes: bool) -> Self {
        let (written, volumes) = (AtomicU64::new(0), Mutex::default());
        Reserve { disk, spots, size, makes, written, volumes }
    }

    /// Asks what is free, and makes whole what can be. To be called at the start, now and then.
    ///
    /// # Errors
    /// Those of the disk that are no want of room: the mark counts all the same.
    pub fn look(&self) -> Result<()> {
        let mut volumes = self.volumes();
        let mut failed = None;
        self.written.store(0, Ordering::Relaxed);
        for spot in &self.spots {
            let Some(space) = self.disk.space(&spot.dir) else { continue };
            let known = volumes.iter_mut().find(|volume| volume.device == space.device);
            match known {
                Some(volume) if volume.dir == spot.dir => volume.free = space.free,
                Some(_) => continue,
                None => {
                    // Another disk may have been mounted there since.
                    volumes.retain(|volume| volume.dir != spot.dir);
                    volumes.push(self.volume(spot, space)?);
                }
            }
            let volume = volumes.iter_mut().find(|volume| volume.dir == spot.dir);
            for volume in volume.into_iter().filter(|volume| self.makes && volume.possible) {
                if let Err(error) = self.make_whole(volume) {
                    volume.possible = false;
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The file system as it is found, with the file that an earlier process left.
    fn volume(&self, spot: &Spot, space: Space) -> Result<Volume> {
        let path = spot.dir.join(RESERVE_FILE);
        let file = match self.disk.exists(&path)? {
            true => Some(self.disk.open(&path, Mode::Write)?),
            false => None,
        };
        let left = file.as_ref().map_or(Ok(0), |file| file.len())?;
        let (name, dir) = (spot.name, spot.dir.clone());
        Ok(Volume { name, dir, device: space.device, free: space.free, file, left, possible: true })
    }

    /// Makes the file as long as it should be, if the mark stays free beside it. A length that an
    /// earlier process chose is taken over.
    fn make_whole(&self, volume: &mut Volume) -> Result<()> {
        let missing = self.size.saturating_sub(volume.left);
        if volume.left > self.size {
            self.cut(volume, self.size)?;
        }
        if missing == 0 || volume.free < missing.saturating_add(self.size) {
            return Ok(());
        }
        let made = self.allocate(volume);
        match made {
            Ok(()) => {
                volume.left = self.size;
                let space = self.disk.space(&volume.dir);
                volume.free = space.map_or(volume.free - missing, |space| space.free);
                Ok(())
            }
            // Somebody was faster: another look comes.
            Err(error) if error.kind == ErrorKind::Full => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn allocate(&self, volume: &mut Volume) -> Result<()> {
        let file = match &volume.file {
            Some(file) => file.clone(),
            None => self.disk.open(&volume.dir.join(RESERVE_FILE), Mode::Create)?,
        };
        file.allocate(self.size)?;
        file.sync()?;
        self.disk.sync_dir(&volume.dir)?;
        volume.file = Some(file);
        Ok(())
    }

    /// Gives back what is beyond `len`. The sync makes file systems with a journal let go of it.
    fn cut(&self, volume: &mut Volume, len: u64) -> Result<()> {
        if let Some(file) = &volume.file {
            file.set_len(len)?;
            volume.left = len;
            file.sync()?;
        }
        Ok(())
    }

    /// Gives back enough of the reserve where `path` lies that `bytes` may find room now. Whether
    /// anything was given: if so, the write that found none is to be done again.
    pub fn give(&self, path: &Path, bytes: u64) -> bool {
        let mut volumes = self.volumes();
        let Some(spot) = self.spot(path).filter(|spot| draws(&spot.dir, path)) else {
            return false;
        };
        let Some(space) = self.disk.space(&spot.dir) else { return false };
        let volume = volumes.iter_mut().find(|volume| volume.device == space.device);
        let Some(volume) = volume.filter(|volume| volume.left > 0) else { return false };
        let steps = bytes.div_ceil(STEP_BYTES).max(1);
        let left = volume.left.saturating_sub(steps.saturating_mul(STEP_BYTES));
        // Events wait until somebody has looked again.
        volume.free = 0;
        self.cut(volume, left).is_ok()
    }

    /// The directory that a path lies in.
    fn spot(&self, path: &Path) -> Option<&Spot> {
        self.spots.iter().find(|spot| path.starts_with(&spot.dir))
    }

    /// Whether `bytes` more may be written.
    ///
    /// # Errors
    /// `Full`.
    pub fn room(&self, bytes: u64, writer: Writer) -> Result<()> {
        if writer == Writer::Source && self.written.load(Ordering::Relaxed) > self.size / 4 {
            // What cannot be made is said by whoever looks now and then.
            let _ = self.look();
        }
        let volumes = self.volumes();
        let written = self.written.load(Ordering::Relaxed);
        for volume in volumes.iter() {
            let free = volume.free.saturating_sub(written);
            let fits = match writer {
                Writer::Source => self.is_whole(volume) && free >= self.size.saturating_add(bytes),
                Writer::Own => free >= self.size.saturating_add(bytes) || self.holds(volume, bytes),
            };
            if !fits {
                let what = match writer {
                    Writer::Source => "what is left is kept for the vault's own acts",
                    Writer::Own => "no room, and nothing left of the reserve",
                };
                return Err(Error::new(ErrorKind::Full, &volume.dir, what));
            }
        }
        Ok(())
    }

    fn is_whole(&self, volume: &Volume) -> bool {
        !self.makes || !volume.possible || volume.left >= self.size
    }

    /// Whether an act of the vault finds room here, the reserve included.
    fn holds(&self, volume: &Volume, bytes: u64) -> bool {
        let free = self.disk.space(&volume.dir).map_or(u64::MAX, |space| space.free);
        free.saturating_add(volume.left) >= bytes.saturating_add(MARGIN_BYTES)
    }

    /// Every file system with its reserve.
    pub fn kept(&self) -> Vec<Kept> {
        let written = self.written.load(Ordering::Relaxed);
        let kept = |volume: &Volume| Kept {
            name: volume.name,
            left: volume.left,
            size: self.size,
            closed: !self.is_whole(volume) || volume.free.saturating_sub(written) < self.size,
        };
        self.volumes().iter().map(kept).collect()
    }

    /// Notes what was written.
    fn note(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn volumes(&self) -> MutexGuard<'_, Vec<Volume>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file below `dir` may have something of the reserve: none that can be made again.
fn draws(dir: &Path, path: &Path) -> bool {
    let below = path.strip_prefix(dir).unwrap_or(path);
    let derived = |part: &std::ffi::OsStr| part == "index" || part == "snapshot";
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let copy = [".pak", ".pak.new", ".seg.new", ".run.new"].iter().any(|end| name.ends_with(end));
    !below.iter().any(derived) && !copy && name != RESERVE_FILE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_made_again_draws_on_the_reserve() {
        let dir = Path::new("d");
        for (path, expected) in [
            ("d/vault.toml", true),
            ("d/tenants/0a/log/00000000.seg", true),
            ("d/tenants/0a/bodies/1/2026-11-28.seg", true),
            ("d/tenants/0a/checkpoint.new", true),
            ("d/others/system/tenants/0a/tile/0", true),
            ("d/tenants/0a/log/00000000.pak.new", false),
            ("d/tenants/0a/bodies/1/2026-11-28.seg.new", false),
            ("d/tenants/0a/index/db", false),
            ("d/tenants/0a/snapshot/1.new", false),
            ("d/reserve", false),
        ] {
            assert_eq!(draws(dir, Path::new(path)), expected, "{path}");
        }
    }
}
