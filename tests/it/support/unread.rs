//! A disk on which some bytes cannot be read, or some files not be written, as with a bad sector:
//! the test says which, and for which thread. What lies there is unharmed and comes back with
//! `heal`.

use crate::support::passed::passed_on;
use chancery::store::disk::{Disk, DiskFile, Mode};
use chancery::store::error::{Error, ErrorKind, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
struct Bad {
    /// Part of the paths meant.
    below: String,
    /// Bytes that cannot be read; none when it is writing that fails.
    bytes: Option<Range<u64>>,
    /// The only thread that meets it.
    thread: Option<&'static str>,
}

/// The disk. A clone is the same disk.
#[derive(Clone)]
pub(crate) struct Unread {
    disk: Arc<dyn Disk>,
    bad: Arc<Mutex<Vec<Bad>>>,
    failed: Arc<AtomicU64>,
}

impl Unread {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Unread {
        Unread { disk, bad: Arc::default(), failed: Arc::default() }
    }

    fn add(&self, below: &str, bytes: Option<Range<u64>>, thread: Option<&'static str>) {
        self.bad.lock().unwrap().push(Bad { below: below.to_owned(), bytes, thread });
    }

    /// These bytes of files whose path contains `below` cannot be read.
    pub(crate) fn spoil(&self, below: &str, bytes: Range<u64>) {
        self.add(below, Some(bytes), None);
    }

    /// As `spoil`, but only one thread meets it.
    pub(crate) fn spoil_for(&self, thread: &'static str, below: &str, bytes: Range<u64>) {
        self.add(below, Some(bytes), Some(thread));
    }

    /// Files whose path contains `below` cannot be written.
    pub(crate) fn refuse(&self, below: &str) {
        self.add(below, None, None);
    }

    /// Everything works again.
    pub(crate) fn heal(&self) {
        self.bad.lock().unwrap().clear();
    }

    /// Operations that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    fn pass(&self, path: &Path, read: Option<Range<u64>>) -> Result<()> {
        let (name, here) = (path.to_string_lossy(), std::thread::current());
        let meets = |bad: &Bad| {
            let place = match (&bad.bytes, &read) {
                (Some(bad), Some(read)) => bad.start < read.end && read.start < bad.end,
                (None, None) => true,
                _ => false,
            };
            let thread = bad.thread.is_none_or(|thread| here.name() == Some(thread));
            place && thread && name.contains(&*bad.below)
        };
        if self.bad.lock().unwrap().iter().any(meets) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Io, path, "simulated bad sector"));
        }
        Ok(())
    }
}

struct UnreadFile {
    file: Arc<dyn DiskFile>,
    disk: Unread,
    path: PathBuf,
}

impl DiskFile for UnreadFile {
    fn read_exact_at(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        self.disk.pass(&self.path, Some(at..at + bytes.len() as u64))?;
        self.file.read_exact_at(at, bytes)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.disk.pass(&self.path, None)?;
        self.file.write_at(at, bytes)
    }

    passed_on!(file: sync set_len len);
}

impl Disk for Unread {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(UnreadFile { file, disk: self.clone(), path: path.to_owned() }))
    }

    passed_on!(disk: exists list create_dir rename remove sync_dir is_private lock);
}
