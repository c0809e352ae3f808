//! The disk: the one storage trait, and its real form. Mechanism only: order of writes, locks
//! and retries are the policy of whoever calls. Beside `root.rs` and `cli` this is the only file
//! that may name `std::fs`. The simulated form lives in `tests/it/support`.
//!
//! What a caller may rely on: `write_at` is durable only after `sync` of that file; a new,
//! renamed or removed name is durable only after `sync_dir` of its directory. After a failed
//! sync nothing on that descriptor may be believed: callers poison themselves. A sync that fails is
//! never `Full`, whatever the system calls it: `Full` says that something was not begun.

use crate::store::error::{Error, ErrorKind, Result};
use rustix::fs::{Advice, AtFlags, CWD, FallocateFlags, OFlags};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Read};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeros written at once where a file system cannot allocate.
const FILL_BYTES: usize = 1 << 20;

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Must exist; only read.
    Read,
    /// Must exist; read and write.
    Write,
    /// Is created if absent, with owner-only permission; read and write.
    Create,
    /// Must not exist; read and write.
    CreateNew,
}

/// For whom room is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writer {
    /// Events of a source: never of what is kept for the vault's own acts.
    Source,
    /// The vault's own acts.
    Own,
}

/// Where a directory lies, and what is free there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Number of the file system.
    pub device: u64,
    /// Bytes free for whoever is not the superuser.
    pub free: u64,
}

/// One directory entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listed {
    /// File name without directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// An open file. Handles may be shared between threads.
pub trait DiskFile: Send + Sync {
    /// Reads exactly `bytes.len()` bytes at `offset`; fewer is an error of kind `Corrupt`.
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()>;
    /// Writes all bytes at `offset`, growing the file as needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Makes contents and length durable.
    fn sync(&self) -> Result<()>;
    /// Cuts or extends (with zeros) to `len` bytes.
    fn set_len(&self, len: u64) -> Result<()>;
    /// Makes the file at least `len` bytes long, with all of them really taken from the disk.
    /// Whether it could be done shows at once: `Full` leaves the file as it was. A disk without
    /// such a thing only says how long the file is.
    fn allocate(&self, len: u64) -> Result<()> {
        if self.len()? < len { self.set_len(len) } else { Ok(()) }
    }
    /// Length in bytes.
    fn len(&self) -> Result<u64>;
    /// Says that these bytes, which are durable, need not stay in memory. A hint: nothing depends
    /// on it, and a system that does not know it loses nothing but speed.
    fn forget(&self, _bytes: Range<u64>) {}
    /// Gives a file without a name this one, which nothing must have. The name is durable once the
    /// directory is synced.
    fn link(&self, path: &Path) -> Result<()> {
        let why = std::io::Error::from(IoKind::Unsupported);
        Err(Error::io(path, "cannot name a file that has a name", why))
    }
    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Held while a directory is open; released when dropped.
pub trait DiskLock: Send + Sync {}

/// A place for files.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>>;
    /// Makes a file without a name in a directory, owner-only: it is gone with whoever holds it,
    /// however that ends, until `DiskFile::link` names it. Nothing where that cannot be done.
    fn create_unnamed(&self, _dir: &Path) -> Result<Option<Arc<dyn DiskFile>>> {
        Ok(None)
    }
    /// Whether a file or directory is there.
    fn exists(&self, path: &Path) -> Result<bool>;
    /// Entries of a directory, sorted by name; an absent directory is empty.
    fn list(&self, dir: &Path) -> Result<Vec<Listed>>;
    /// Creates a directory and its parents, owner-only, and makes the new names durable.
    fn create_dir(&self, dir: &Path) -> Result<()>;
    /// Renames over whatever is there.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> Result<()>;
    /// Whether only the owner may read the file.
    fn is_private(&self, path: &Path) -> Result<bool>;
    /// Takes the lock file at `path`; `Locked` if another opener holds it.
    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>>;
    /// Which file system a directory lies on, and what is free there. Nothing where that is not
    /// known.
    fn space(&self, _dir: &Path) -> Option<Space> {
        None
    }
    /// Whether `bytes` more may be written now. Asked before anything is: a `Full` from here has
    /// changed nothing and poisons nothing. A disk that keeps no reserve always says yes.
    fn room(&self, _bytes: u64, _writer: Writer) -> Result<()> {
        Ok(())
    }

    /// Reads a whole file.
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let file = self.open(path, Mode::Read)?;
        let len =
            usize::try_from(file.len()?).map_err(|_| Error::corrupt(path, "longer than memory"))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Replaces a file as a whole: write `path.new`, sync, rename, sync the directory.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let fresh = PathBuf::from(name);
        let file = self.open(&fresh, Mode::Create)?;
        file.set_len(0)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        drop(file);
        self.rename(&fresh, path)?;
        match path.parent() {
            Some(dir) => self.sync_dir(dir),
            None => Ok(()),
        }
    }
}

/// The operating system's disk.
#[derive(Clone, Copy, Default, Debug)]
pub struct OsDisk;

struct OsFile {
    file: File,
    path: PathBuf,
}

struct OsLock(File);

impl DiskLock for OsLock {}

/// Where this process finds an open file of its own that has no name.
fn own_link(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl Drop for OsLock {
    /// Releases by name: closing does so only with the last copy of the descriptor, and a process
    /// another thread is starting has one until it executes its program.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl DiskFile for OsFile {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(|e| match e.kind() {
            IoKind::UnexpectedEof => Error::corrupt(&self.path, "shorter than it must be"),
            _ => Error::io(&self.path, "cannot read", e),
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|e| Error::io(&self.path, "cannot write", e))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::unsynced(&self.path, "cannot sync", e))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|e| Error::io(&self.path, "cannot resize", e))
    }

    fn allocate(&self, len: u64) -> Result<()> {
        let before = self.len()?;
        if len <= before {
            return Ok(());
        }
        let taken = match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            // File systems that know no such call: bytes that are written are taken as well.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill(before, len),
            other => other.map_err(|e| Error::io(&self.path, "cannot allocate", e.into())),
        };
        // What was taken of it is given back, so that the length says what is held.
        taken.inspect_err(|_| drop(self.set_len(before)))
    }

    fn forget(&self, bytes: Range<u64>) {
        if let Some(len) = bytes.end.checked_sub(bytes.start).and_then(NonZeroU64::new) {
            let _ = rustix::fs::fadvise(&self.file, bytes.start, Some(len), Advice::DontNeed);
        }
    }

    fn link(&self, path: &Path) -> Result<()> {
        let own = own_link(&self.file);
        let linked = rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW);
        linked.map_err(|e| Error::io(path, "cannot name", e.into()))
    }

    fn len(&self) -> Result<u64> {
        let meta = self.file.metadata().map_err(|e| Error::io(&self.path, "cannot stat", e))?;
        Ok(meta.len())
    }
}

impl OsFile {
    /// Writes zeros.
    fn fill(&self, from: u64, to: u64) -> Result<()> {
        let zeros = vec![0; FILL_BYTES];
        let mut at = from;
        while at < to {
            let len = usize::try_from(to - at).unwrap_or(FILL_BYTES).min(FILL_BYTES);
            self.write_at(at, zeros.get(..len).unwrap_or_default())?;
            at += len as u64;
        }
        Ok(())
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match mode {
            Mode::Read => &mut options,
            Mode::Write => options.write(true),
            Mode::Create => options.write(true).create(true),
            Mode::CreateNew => options.write(true).create_new(true),
        };
        let file = options.open(path).map_err(|e| Error::io(path, "cannot open", e))?;
        Ok(Arc::new(OsFile { file, path: path.to_owned() }))
    }

    fn create_unnamed(&self, dir: &Path) -> Result<Option<Arc<dyn DiskFile>>> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(dir, flags, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR) {
            Ok(fd) => {
                let file = File::from(fd);
                // Without this way to it no name could be given at the end.
                let is_reachable = own_link(&file).try_exists().unwrap_or(false);
                let file = OsFile { file, path: dir.to_owned() };
                Ok(is_reachable.then(|| Arc::new(file) as Arc<dyn DiskFile>))
            }
            // The answers of file systems and of kernels that know no such file.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => Ok(None),
            Err(e) => Err(Error::io(dir, "cannot make a file", e.into())),
        }
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        path.try_exists().map_err(|e| Error::io(path, "cannot stat", e))
    }

    fn list(&self, dir: &Path) -> Result<Vec<Listed>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == IoKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(dir, "cannot list", e)),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io(dir, "cannot list", e))?;
            let is_dir = entry.file_type().map_err(|e| Error::io(dir, "cannot list", e))?.is_dir();
            listed.push(Listed { name: entry.file_name().to_string_lossy().into_owned(), is_dir });
        }
        listed.sort();
        Ok(listed)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        // A relative path ends in an empty ancestor, which is the working directory.
        let named = dir.ancestors().filter(|d| !d.as_os_str().is_empty());
        let missing: Vec<&Path> = named.take_while(|d| !d.exists()).collect();
        if missing.is_empty() {
            // A kill may have come between making it and making its name durable.
            return dir.parent().map_or(Ok(()), |parent| self.sync_dir(parent));
        }
        for part in missing.iter().rev() {
            match fs::create_dir(part) {
                Ok(()) => {}
                Err(e) if e.kind() == IoKind::AlreadyExists => continue,
                Err(e) => return Err(Error::io(part, "cannot create directory", e)),
            }
            fs::set_permissions(part, fs::Permissions::from_mode(0o700))
                .map_err(|e| Error::io(part, "cannot set permissions", e))?;
            if let Some(parent) = part.parent() {
                self.sync_dir(parent)?;
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|e| Error::io(to, "cannot rename into place", e))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|e| Error::io(path, "cannot remove", e))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        // The parent of a bare name is empty and means the working directory.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let handle = File::open(dir).map_err(|e| Error::io(dir, "cannot open directory", e))?;
        handle.sync_all().map_err(|e| Error::unsynced(dir, "cannot sync directory", e))
    }

    fn is_private(&self, path: &Path) -> Result<bool> {
        let meta = fs::metadata(path).map_err(|e| Error::io(path, "cannot stat", e))?;
        Ok(meta.permissions().mode() & 0o077 == 0)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(|e| Error::io(path, "cannot open lock", e))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(OsLock(file))),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Locked, path, "another process has this vault open"))
            }
            Err(fs::TryLockError::Error(e)) => Err(Error::io(path, "cannot lock", e)),
        }
    }

    fn space(&self, dir: &Path) -> Option<Space> {
        let device = rustix::fs::stat(dir).ok()?.st_dev;
        Some(Space { device, free: free_bytes(dir)? })
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let mut file = File::open(path).map_err(|e| Error::io(path, "cannot open", e))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| Error::io(path, "cannot read", e))?;
        Ok(bytes)
    }
}

/// Free bytes where a directory lies, for whoever is not the superuser; none where the system does
/// not say.
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let room = rustix::fs::statvfs(dir).ok()?;
    room.f_bavail.checked_mul(room.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process started by another thread holds copies of every open file until it executes its
    /// program; a lock that only closing released would outlive its vault for that long.
    #[test]
    fn a_dropped_lock_is_free_though_a_copy_of_its_file_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = File::create(&path).unwrap();
        file.try_lock().unwrap();
        let copy = file.try_clone().unwrap();
        let held = OsLock(file);
        assert_eq!(OsDisk.lock(&path).err().map(|e| e.kind), Some(ErrorKind::Locked));
        drop(held);
        assert!(OsDisk.lock(&path).is_ok());
        drop(copy);
    }
}
