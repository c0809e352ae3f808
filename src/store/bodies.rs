//! Bodies: one append-only file a class and day, unlinked when the class-day has expired.
//! One writer, the sequencer. It never opens a body and never decides that one may go.
//!
//! A name that is there says nothing about a power loss: whoever made it may have been killed
//! before it was durable. So each opening syncs head and names before the first frame.

mod frames;
mod packing;

pub use crate::store::bodies::frames::{Frames, Stored};
pub use crate::store::bodies::packing::BodyRoom;

use crate::base::id::TenantId;
use crate::base::limits::{CACHED_BYTES, FORGET_BYTES};
use crate::base::unit::{ClassDay, ClassId, Day};
use crate::format::body::{self};
use crate::format::packed::bodies::Rows;
use crate::format::unit::BodySpan;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::packed::bodies::{self as packed};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Files kept open between commits. Old class-days are seldom written again, and a process may
/// hold few descriptors; a commit itself has at most `format::unit::SPANS_MAX` files.
const OPEN_MAX: usize = 64;

/// The body files of one tenant.
pub struct Bodies {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    tenant: TenantId,
    open: Mutex<HashMap<ClassDay, BodyFile>>,
    /// Committed ends of longer files that were left uncut, because their heads could not be read
    /// or are damaged.
    uncut: Mutex<BTreeMap<ClassDay, u64>>,
    /// Rows of the packed file read last.
    rows: Mutex<Option<(ClassDay, Arc<Rows>)>>,
    /// Held while a name is put in place or taken away for good: what has expired must not come
    /// back because it was being packed.
    names: Mutex<()>,
}

#[derive(Clone)]
struct BodyFile {
    file: Arc<dyn DiskFile>,
    len: u64,
    /// Bytes before this were let go from memory.
    forgotten: u64,
}

impl BodyFile {
    /// Lets what is durable and no longer new go from memory.
    fn forget(&mut self) {
        let old = self.len.saturating_sub(CACHED_BYTES);
        if old >= self.forgotten + FORGET_BYTES {
            self.file.forget(self.forgotten..old);
            self.forgotten = old;
        }
    }
}

impl Bodies {
    /// The body files under `dir`.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, tenant: TenantId) -> Self {
        Bodies {
            disk,
            dir: dir.to_owned(),
            tenant,
            open: Mutex::new(HashMap::new()),
            uncut: Mutex::default(),
            rows: Mutex::new(None),
            names: Mutex::new(()),
        }
    }

    /// Where the file of a class-day lies.
    pub fn path(&self, class_day: ClassDay) -> PathBuf {
        self.dir.join(class_day.class.to_string()).join(format!("{}.seg", class_day.day))
    }

    fn files(&self) -> MutexGuard<'_, HashMap<ClassDay, BodyFile>> {
        self.open.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn uncut(&self) -> MutexGuard<'_, BTreeMap<ClassDay, u64>> {
        self.uncut.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The file of a class-day, for reading.
    fn readable(&self, class_day: ClassDay) -> Result<Arc<dyn DiskFile>> {
        if let Some(open) = self.files().get(&class_day) {
            return Ok(open.file.clone());
        }
        self.disk.open(&self.path(class_day), Mode::Read)
    }

    /// The file of a class-day, for appending: its head and its name are durable.
    fn writable(&self, class_day: ClassDay) -> Result<BodyFile> {
        if let Some(open) = self.files().get(&class_day) {
            return Ok(open.clone());
        }
        let path = self.path(class_day);
        let dir = path.parent().unwrap_or(&self.dir);
        self.disk.create_dir(dir)?;
        let file = self.disk.open(&path, Mode::Create)?;
        let mut len = file.len()?;
        if len <= body::FILE_HEAD_BYTES {
            // Nothing was committed here yet: what a crash left of a head is of no use.
            file.write_at(0, &body::file_head(&self.tenant, class_day))?;
        } else {
            if self.check_head(&*file, class_day)? {
                return Err(Error::corrupt(&path, "a packed body file is not written to"));
            }
            // The head can be read by now: what no unit names goes before more comes behind it.
            if let Some(end) = self.uncut().remove(&class_day).filter(|end| *end < len) {
                file.set_len(end)?;
                len = end;
            }
        }
        file.sync()?;
        self.disk.sync_dir(dir)?;
        self.disk.sync_dir(&self.dir)?;
        let len = len.max(body::FILE_HEAD_BYTES);
        let opened = BodyFile { file, len, forgotten: len };
        self.files().insert(class_day, opened.clone());
        Ok(opened)
    }

    /// Refuses a file that is another's: what is appended to it could not be read. Tells whether
    /// it is packed.
    fn check_head(&self, file: &dyn DiskFile, class_day: ClassDay) -> Result<bool> {
        let path = self.path(class_day);
        let mut head = [0; 32];
        file.read_exact_at(0, &mut head)?;
        match body::decode_file_head(&head) {
            Ok((tenant, found, packed)) if (tenant, found) == (self.tenant, class_day) => {
                Ok(packed)
            }
            Ok(_) => Err(Error::corrupt(&path, "body file of another tenant, class or day")),
            Err(e) => Err(Error::corrupt(&path, e.to_string())),
        }
    }

    /// Appends frames to the file of a class-day; durable after `sync`.
    ///
    /// # Errors
    /// Those of the disk. What was written is beyond every committed end, so nobody sees it.
    pub fn append(&self, class_day: ClassDay, frames: &[u8]) -> Result<BodySpan> {
        let file = self.writable(class_day)?;
        file.file.write_at(file.len, frames)?;
        let end = file.len + frames.len() as u64;
        if let Some(open) = self.files().get_mut(&class_day) {
            open.len = end;
        }
        Ok(BodySpan { class_day, start: file.len, end })
    }

    /// Makes the files of one commit durable, concurrently when there are several.
    ///
    /// # Errors
    /// The first one's; then none of them may be believed.
    pub fn sync(&self, spans: &[BodySpan]) -> Result<()> {
        let files: Vec<Arc<dyn DiskFile>> = {
            let open = self.files();
            let file = |s: &BodySpan| open.get(&s.class_day).map(|f| f.file.clone());
            spans.iter().map(file).collect::<Option<_>>().ok_or_else(|| {
                Error::new(ErrorKind::Poisoned, &self.dir, "a body file went before its sync")
            })?
        };
        let Some((first, others)) = files.split_first() else { return Ok(()) };
        let result: Result<()> = std::thread::scope(|scope| {
            let start = |f: &'_ Arc<dyn DiskFile>| {
                let f = f.clone();
                std::thread::Builder::new().spawn_scoped(scope, move || f.sync())
            };
            let running: Vec<_> = others.iter().map(start).collect();
            let mut result = first.sync();
            for (file, other) in others.iter().zip(running) {
                let gone = |_| Err(Error::corrupt(&self.dir, "a sync did not come back"));
                // Without a thread for it, this one does it.
                let other = other.map_or_else(|_| file.sync(), |t| t.join().unwrap_or_else(gone));
                result = result.and(other);
            }
            result
        });
        let mut open = self.files();
        for span in spans {
            open.get_mut(&span.class_day).into_iter().for_each(BodyFile::forget);
        }
        if open.len() > OPEN_MAX {
            open.retain(|class_day, _| spans.iter().any(|s| s.class_day == *class_day));
        }
        result
    }

    /// Cuts a plain file back to the last committed end, as recovery does before anything is
    /// served. Only a head that proves a file plain lets it be cut: a packed one was made whole in
    /// one step and has no end to cut, and one that does not tell which it is stays as it is, for
    /// `verify` and `scrub` to name. Two bits part the magic of the one from the other's.
    ///
    /// # Errors
    /// `Corrupt` when a plain file is shorter than what was committed; those of cutting it.
    pub fn cut(&self, class_day: ClassDay, end: u64) -> Result<()> {
        let path = self.path(class_day);
        let file = self.disk.open(&path, Mode::Write)?;
        match self.check_head(&*file, class_day) {
            Ok(false) => {}
            Ok(true) => return Ok(()),
            Err(_) => {
                self.uncut().insert(class_day, end);
                return Ok(());
            }
        }
        let len = file.len()?;
        if len < end {
            return Err(Error::corrupt(&path, "body file shorter than what was committed"));
        }
        if len > end {
            file.set_len(end)?;
            file.sync()?;
        }
        Ok(())
    }

    /// Every class-day with a file, with its length in bytes, ascending.
    ///
    /// # Errors
    /// Those of the disk. Names that are not ours are passed over.
    pub fn list(&self) -> Result<Vec<(ClassDay, u64)>> {
        let mut found = Vec::new();
        for class_dir in self.disk.list(&self.dir)? {
            let Ok(class) = class_dir.name.parse::<u16>() else { continue };
            for file in self.disk.list(&self.dir.join(&class_dir.name))? {
                let day = file.name.strip_suffix(".seg").and_then(Day::parse);
                let Some(day) = day else { continue };
                let class_day = ClassDay { class: ClassId(class), day };
                match self.disk.open(&self.path(class_day), Mode::Read) {
                    Ok(file) => found.push((class_day, file.len()?)),
                    // It expired since the directory was read.
                    Err(e) if e.kind == ErrorKind::Missing => {}
                    Err(e) => return Err(e),
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Unlinks the file of an expired class-day and makes that durable. Absent is done.
    /// Returns the bytes freed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn unlink(&self, class_day: ClassDay) -> Result<u64> {
        let _names = self.names.lock().unwrap_or_else(|e| e.into_inner());
        self.files().remove(&class_day);
        let path = self.path(class_day);
        self.remove_unfinished(&path)?;
        if !self.disk.exists(&path)? {
            return Ok(0);
        }
        let len = self.disk.open(&path, Mode::Read)?.len()?;
        self.disk.remove(&path)?;
        if let Some(dir) = path.parent() {
            self.disk.sync_dir(dir)?;
        }
        Ok(len)
    }

    /// Reads the frames of a span, as far as they are there.
    ///
    /// # Errors
    /// `Missing` when the file is gone, `Corrupt` when it is another class-day's; those of the
    /// disk. A file that is too short gives what it has.
    pub fn read(&self, span: BodySpan) -> Result<Frames> {
        let file = self.readable(span.class_day)?;
        if self.check_head(&*file, span.class_day)? {
            let rows = self.rows(&*file, span.class_day)?;
            let (bytes, sound) = packed::read(&*file, &rows, &span)?;
            return Ok(Frames::packed(bytes, sound));
        }
        let end = file.len()?.min(span.end).max(span.start);
        let mut bytes = vec![0; usize::try_from(end - span.start).unwrap_or(usize::MAX)];
        file.read_exact_at(span.start, &mut bytes)?;
        Ok(Frames::new(bytes, end == span.end))
    }
}
