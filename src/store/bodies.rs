//! Bodies: one append-only file a class and day, unlinked when the class-day has expired.
//! One writer, the sequencer. It never opens a body and never decides that one may go.
//!
//! A name that is there says nothing about a power loss: whoever made it may have been killed
//! before it was durable. So each opening syncs head and names before the first frame.

use crate::base::id::{RecordId, TenantId};
use crate::base::limits::{CACHED_BYTES, FORGET_BYTES};
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex};
use crate::format::body::{self, Frame};
use crate::format::packed::bodies::Rows;
use crate::format::unit::BodySpan;
use crate::format::wire::Reader;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::packed::bodies::{self as packed, Finished, Writer};
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

/// Packing: a file of past days is written anew beside itself and put in its own place.
impl Bodies {
    /// Class-days whose files are not packed, ascending.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list_plain(&self) -> Result<Vec<ClassDay>> {
        let plain =
            |f: &BodyRoom| f.packed.is_none() && !f.damaged && f.plain > body::FILE_HEAD_BYTES;
        Ok(self.room()?.into_iter().filter(plain).map(|f| f.class_day).collect())
    }

    /// What every file takes, ascending by class-day.
    ///
    /// # Errors
    /// Those of listing them.
    pub fn room(&self) -> Result<Vec<BodyRoom>> {
        let mut found = Vec::new();
        for (class_day, _) in self.list()? {
            found.extend(self.room_of(class_day));
        }
        Ok(found)
    }

    /// What the file of a class-day takes; none when there is none. One that cannot be read is
    /// damaged, and says nothing of the others.
    pub fn room_of(&self, class_day: ClassDay) -> Option<BodyRoom> {
        let path = self.path(class_day);
        let file = match self.disk.open(&path, Mode::Read) {
            Err(e) if e.kind == ErrorKind::Missing => return None,
            file => file,
        };
        let len = file.as_ref().ok().and_then(|file| file.len().ok());
        let lengths = file.and_then(|file| {
            let len = file.len()?;
            let packed = len > body::FILE_HEAD_BYTES && self.check_head(&*file, class_day)?;
            Ok(match packed {
                true => (packed::plain_len(&*file, &path)?, Some(len)),
                false => (len, None),
            })
        });
        Some(match lengths {
            Ok((plain, packed)) => BodyRoom { class_day, plain, packed, damaged: false },
            Err(_) => BodyRoom { class_day, plain: len.unwrap_or(0), packed: None, damaged: true },
        })
    }

    /// Whether the file of a class-day is there.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn is_there(&self, class_day: ClassDay) -> Result<bool> {
        self.disk.exists(&self.path(class_day))
    }

    /// The plain file of a class-day and a writer of its packed form; `None` when it is packed.
    ///
    /// # Errors
    /// Those of the disk; `Corrupt` for a file that is another's or longer than what is committed.
    pub fn pack(&self, class_day: ClassDay) -> Result<Option<(Arc<dyn DiskFile>, Writer<'_>)>> {
        let path = self.path(class_day);
        let file = self.disk.open(&path, Mode::Read)?;
        if self.check_head(&*file, class_day)? {
            return Ok(None);
        }
        if self.uncut().contains_key(&class_day) {
            return Err(Error::corrupt(&path, "its end was not cut when the vault was opened"));
        }
        Ok(Some((file, Writer::new(&*self.disk, &path, &self.tenant, class_day))))
    }

    /// Puts a finished packed file in its place, if the plain one is still there: it may have
    /// expired meanwhile. Returns whether it was.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn install(&self, class_day: ClassDay, finished: Finished) -> Result<bool> {
        let _names = self.names.lock().unwrap_or_else(|e| e.into_inner());
        let path = self.path(class_day);
        if !self.disk.exists(&path)? {
            self.remove_unfinished(&path)?;
            return Ok(false);
        }
        self.files().remove(&class_day);
        finished.install(&*self.disk)?;
        Ok(true)
    }

    /// Removes what packings that did not come to their end have left.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn clean(&self) -> Result<()> {
        for class_dir in self.disk.list(&self.dir)?.into_iter().filter(|e| e.is_dir) {
            let dir = self.dir.join(class_dir.name);
            for file in self.disk.list(&dir)? {
                if file.name.ends_with(".seg.new") {
                    self.disk.remove(&dir.join(file.name))?;
                    self.disk.sync_dir(&dir)?;
                }
            }
        }
        Ok(())
    }

    /// Removes what a packing that did not come to its end has left of a class-day.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn discard_unfinished(&self, class_day: ClassDay) -> Result<()> {
        self.remove_unfinished(&self.path(class_day))
    }

    fn remove_unfinished(&self, path: &Path) -> Result<()> {
        let fresh = packed::fresh_path(path);
        if self.disk.exists(&fresh)? {
            self.disk.remove(&fresh)?;
            self.disk.sync_dir(path.parent().unwrap_or(&self.dir))?;
        }
        Ok(())
    }

    /// Rows of a packed file. They never change once it lies in its place.
    fn rows(&self, file: &dyn DiskFile, class_day: ClassDay) -> Result<Arc<Rows>> {
        let mut kept = self.rows.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((_, rows)) = kept.as_ref().filter(|(of, _)| *of == class_day) {
            return Ok(rows.clone());
        }
        let rows = Arc::new(packed::rows(file, &self.path(class_day))?);
        *kept = Some((class_day, rows.clone()));
        Ok(rows)
    }
}

/// What a body file takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyRoom {
    /// Whose.
    pub class_day: ClassDay,
    /// Bytes of the plain file.
    pub plain: u64,
    /// Bytes of the packed one, where that is what is there.
    pub packed: Option<u64>,
    /// It cannot be told whether it is packed; `plain` is its length, if even that can be told.
    pub damaged: bool,
}

/// What is found where a body must lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored<B> {
    /// There: its CRC and algorithm are right.
    Body(B),
    /// Not there, and everything around it is in order.
    Missing,
    /// There and damaged, or lost in a damaged stretch.
    Damaged,
}

/// The frames of one span, and where each starts.
#[derive(Clone, Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Ascending as far as the span is sound.
    places: Vec<(EntryIndex, u8, usize)>,
    /// Every byte of the span belongs to a frame.
    sound: bool,
    /// Frames have neither record id nor CRC of their own; their block's CRC was right.
    packed: bool,
}

impl Frames {
    /// Takes the bytes of a span apart; `whole` tells whether they are all of it.
    pub fn new(bytes: Vec<u8>, whole: bool) -> Self {
        let mut reader = Reader::new(&bytes);
        let mut places: Vec<(EntryIndex, u8, usize)> = Vec::new();
        let mut sound = whole;
        while !reader.rest().is_empty() {
            let start = reader.offset();
            let Ok(frame) = body::read_frame(&mut reader) else {
                sound = false;
                break;
            };
            let place = (frame.index, frame.group, start);
            let rises = places.last().is_none_or(|(i, g, _)| (*i, *g) < (frame.index, frame.group));
            if !rises {
                sound = false;
                break;
            }
            places.push(place);
        }
        Frames { bytes, places, sound, packed: false }
    }

    /// Takes the frames of a packed file apart.
    pub fn packed(bytes: Vec<u8>, sound: bool) -> Self {
        Frames { packed: true, ..Frames::new(bytes, sound) }
    }

    /// Whether every byte of the span belongs to a frame.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// How many frames were found.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The body of group `group` of entry `index`, whose record id is `record`.
    pub fn find(&self, index: EntryIndex, group: u8, record: &RecordId) -> Stored<Frame<'_>> {
        let at = self.places.binary_search_by_key(&(index, group), |(i, g, _)| (*i, *g));
        let start = at.ok().and_then(|at| self.places.get(at)).map(|(_, _, start)| *start);
        let start = start.or_else(|| match self.packed {
            true => None,
            false => self.search(record, group),
        });
        let rest = start.and_then(|start| self.bytes.get(start..));
        let Some(rest) = rest else {
            return if self.sound { Stored::Missing } else { Stored::Damaged };
        };
        match body::read_frame(&mut Reader::new(rest)) {
            Ok(frame) if !body::padded(frame.alg, frame.sealed.len()) => Stored::Damaged,
            Ok(frame) if self.packed && body::known(frame.alg) => {
                Stored::Body(Frame { record: *record, intact: true, ..frame })
            }
            Ok(frame)
                if frame.intact
                    && (frame.index, frame.group, frame.record) == (index, group, *record) =>
            {
                Stored::Body(frame)
            }
            _ => Stored::Damaged,
        }
    }

    /// Start of the frame that bears a record id, past damage that hides where frames start.
    fn search(&self, record: &RecordId, group: u8) -> Option<usize> {
        let record_at = body::FRAME_HEAD_BYTES - body::NONCE_BYTES - RecordId::LEN;
        let mut found = self.bytes.windows(RecordId::LEN).enumerate();
        found.find_map(|(at, window)| {
            let start = at.checked_sub(record_at).filter(|_| window == record.0)?;
            (self.bytes.get(start + 16) == Some(&group)).then_some(start)
        })
    }
}
