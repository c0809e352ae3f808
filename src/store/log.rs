//! The unit log: segments of units, the truth. One writer; readers read what is committed.
//! Units are created once, in order, and never rewritten. It never judges an entry's meaning.
//!
//! Opening walks the heads of all units. The last unit alone may be damaged, only beyond the
//! signed checkpoint and with nothing valid after it: it was never acknowledged, and is dropped
//! and named. Anything else is `CORRUPT_TAIL` and nothing is changed.

use crate::base::id::Hash32;
use crate::base::limits::SEGMENT_BYTES_MAX;
use crate::base::unit::{EntryIndex, TreeSize};
use crate::format::unit::{self, UnitHead};
use crate::format::wire::Reader;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A committed unit and where it lies.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its head.
    pub head: UnitHead,
    /// Its hash.
    pub hash: Hash32,
    segment: u32,
    offset: u64,
}

/// What opening found and did.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// A damaged last unit was dropped: index its first entry would have had, and bytes.
    pub dropped: Option<(EntryIndex, u64)>,
}

/// The segments of one tenant's log.
pub struct UnitLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    units: RwLock<Vec<Arc<Placed>>>,
    /// Where a damaged end begins, until `settle` cuts it.
    damage: Mutex<Option<(u32, u64)>>,
    writer: Mutex<Option<Writer>>,
    poisoned: AtomicBool,
}

struct Writer {
    segment: u32,
    file: Arc<dyn DiskFile>,
    len: u64,
}

/// Where a walk over the segments stopped.
struct Break {
    segment: u32,
    offset: u64,
    why: String,
}

impl UnitLog {
    /// Reads the heads of all units. `sealed` is the size of the signed checkpoint: no unit within
    /// it may be dropped. Nothing is changed on disk before `settle`.
    ///
    /// # Errors
    /// `Corrupt` with `CORRUPT_TAIL` or `UNIT_CHAIN`; `TooNew` for a later version's unit.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, sealed: TreeSize) -> Result<(UnitLog, Recovery)> {
        let log = UnitLog {
            disk,
            dir: dir.to_owned(),
            units: RwLock::new(Vec::new()),
            damage: Mutex::new(None),
            writer: Mutex::new(None),
            poisoned: AtomicBool::new(false),
        };
        let segments = log.segments()?;
        let mut recovery = Recovery::default();
        if let Some(found) = log.walk(&segments)? {
            recovery.dropped = Some(log.judge(&segments, &found, sealed)?);
            log.mark(found.segment, found.offset);
        }
        Ok((log, recovery))
    }

    fn mark(&self, segment: u32, offset: u64) {
        *self.damage.lock().unwrap_or_else(PoisonError::into_inner) = Some((segment, offset));
    }

    /// Makes what opening found durable, before anything refers to it: cuts a damaged end, and
    /// writes the last unit again at its place and syncs it when it lies beyond `sealed`, because
    /// a crash may have left it in memory only. The same bytes at the same place: a crash in
    /// between harms nothing.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn settle(&self, sealed: TreeSize) -> Result<()> {
        self.disk.create_dir(&self.dir)?;
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((segment, offset)) = damage {
            self.cut(segment, offset)?;
        }
        let Some(last) = self.last().filter(|last| last.head.end > sealed) else { return Ok(()) };
        let bytes = self.read(&last)?;
        let file = self.disk.open(&self.path(last.segment), Mode::Write)?;
        file.write_at(last.offset, &bytes)?;
        file.sync()?;
        self.disk.sync_dir(&self.dir)
    }

    fn segments(&self) -> Result<Vec<u32>> {
        let names = self.disk.list(&self.dir)?;
        // Only names this log writes: a copy beside them is not a segment.
        let number = |name: &str| {
            let digits = name.strip_suffix(".seg").filter(|d| d.len() == 8)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok())?
        };
        let mut found: Vec<u32> = names.iter().filter_map(|e| number(&e.name)).collect();
        found.sort_unstable();
        Ok(found)
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.dir.join(format!("{segment:08}.seg"))
    }

    /// Reads the heads of all units in order; stops at the first that is not what it must be.
    fn walk(&self, segments: &[u32]) -> Result<Option<Break>> {
        for segment in segments {
            let path = self.path(*segment);
            let file = self.disk.open(&path, Mode::Read)?;
            let (len, mut offset) = (file.len()?, 0);
            while offset < len {
                match self.read_head(&*file, &path, offset, len)? {
                    Ok((head, hash)) => {
                        if let Err(why) = self.follows(&head) {
                            return Ok(Some(Break { segment: *segment, offset, why }));
                        }
                        offset += head.len;
                        let placed =
                            Placed { offset: offset - head.len, segment: *segment, head, hash };
                        self.units_mut().push(Arc::new(placed));
                    }
                    Err(why) => return Ok(Some(Break { segment: *segment, offset, why })),
                }
            }
        }
        Ok(None)
    }

    /// The head and hash at `offset`, or why there is none.
    fn read_head(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        offset: u64,
        len: u64,
    ) -> Result<std::result::Result<(UnitHead, Hash32), String>> {
        let most = (unit::HEAD_BYTES + unit::SPANS_MAX * unit::SPAN_BYTES) as u64;
        let window = usize::try_from(most.min(len - offset)).unwrap_or(0);
        let mut bytes = vec![0; window];
        file.read_exact_at(offset, &mut bytes)?;
        if bytes.starts_with(b"CHU") && !bytes.starts_with(&unit::MAGIC) {
            let what = "written by a newer version of Chancery: upgrade this program";
            if bytes.get(3).is_some_and(|v| v.is_ascii_digit() && *v > b'1') {
                return Err(Error::new(ErrorKind::TooNew, path, what));
            }
        }
        let head = match unit::decode_head(&mut Reader::new(&bytes)) {
            Ok(head) => head,
            Err(e) => return Ok(Err(e.to_string())),
        };
        if head.len > len - offset {
            return Ok(Err("unit is cut short".to_owned()));
        }
        let mut hash = [0; unit::HASH_BYTES];
        file.read_exact_at(offset + head.len - unit::TRAILER_BYTES as u64, &mut hash)?;
        let hash = Hash32(hash);
        match hash == head.hash() {
            true => Ok(Ok((head, hash))),
            false => Ok(Err("unit hash is wrong".to_owned())),
        }
    }

    /// Whether a head continues the units read so far.
    fn follows(&self, head: &UnitHead) -> std::result::Result<(), String> {
        let units = self.units();
        let expect = match units.last() {
            Some(last) => (last.head.number + 1, last.hash, last.head.end.0),
            None => (0, Hash32::ZERO, 0),
        };
        match (head.number, head.prev, head.first.0) == expect {
            true => Ok(()),
            false => {
                Err(format!("UNIT_CHAIN: unit {} does not follow its predecessor", head.number))
            }
        }
    }

    /// Whether the break is a torn last unit that nobody was told of.
    fn judge(
        &self,
        segments: &[u32],
        found: &Break,
        sealed: TreeSize,
    ) -> Result<(EntryIndex, u64)> {
        let path = self.path(found.segment);
        let next = self.size();
        let corrupt = |why: &str| {
            let what = format!("CORRUPT_TAIL after entry {}: {}; {why}", next.0, found.why);
            Err(Error::corrupt(&path, what))
        };
        if next < sealed {
            return corrupt("it lies within the signed checkpoint");
        }
        for segment in segments.iter().filter(|s| **s >= found.segment) {
            let from = if *segment == found.segment { found.offset } else { 0 };
            if self.valid_unit_after(*segment, from)? {
                return corrupt("a valid unit follows it");
            }
        }
        let len = self.disk.open(&path, Mode::Read)?.len()?;
        Ok((EntryIndex(next.0), len - found.offset))
    }

    /// Whether any whole unit starts after `from` in a segment.
    fn valid_unit_after(&self, segment: u32, from: u64) -> Result<bool> {
        let path = self.path(segment);
        let file = self.disk.open(&path, Mode::Read)?;
        let len = file.len()?;
        let mut bytes = vec![0; usize::try_from(len.saturating_sub(from)).unwrap_or(0)];
        file.read_exact_at(from, &mut bytes)?;
        for (at, window) in bytes.windows(unit::MAGIC.len()).enumerate() {
            if window == unit::MAGIC
                && (at > 0 || from == 0)
                && self.read_head(&*file, &path, from + at as u64, len)?.is_ok()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn cut(&self, segment: u32, offset: u64) -> Result<()> {
        let file = self.disk.open(&self.path(segment), Mode::Write)?;
        file.set_len(offset)?;
        file.sync()
    }

    fn units(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Placed>>> {
        self.units.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn units_mut(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Arc<Placed>>> {
        self.units.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries committed.
    pub fn size(&self) -> TreeSize {
        self.units().last().map_or(TreeSize(0), |u| u.head.end)
    }

    /// The last unit.
    pub fn last(&self) -> Option<Arc<Placed>> {
        self.units().last().cloned()
    }

    /// Number of units.
    pub fn unit_count(&self) -> u64 {
        self.units().len() as u64
    }

    /// Unit `number`.
    pub fn unit(&self, number: u64) -> Option<Arc<Placed>> {
        self.units().get(usize::try_from(number).ok()?).cloned()
    }

    /// The unit that holds an entry.
    pub fn unit_of(&self, index: EntryIndex) -> Option<Arc<Placed>> {
        let units = self.units();
        let at = units.partition_point(|u| u.head.end.0 <= index.0);
        units.get(at).cloned()
    }

    /// Reads the bytes of a unit.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(&self, unit: &Placed) -> Result<Vec<u8>> {
        let file = self.disk.open(&self.path(unit.segment), Mode::Read)?;
        let mut bytes = vec![0; usize::try_from(unit.head.len).unwrap_or(usize::MAX)];
        file.read_exact_at(unit.offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The file a unit lies in, for messages.
    pub fn path_of(&self, unit: &Placed) -> PathBuf {
        self.path(unit.segment)
    }

    /// Forgets the last unit, whose entries were found damaged beyond the checkpoint; `settle`
    /// cuts it off.
    pub fn drop_last(&self) {
        if let Some(last) = self.units_mut().pop() {
            self.mark(last.segment, last.offset);
        }
    }

    /// Commits unit `head.number`: write, sync, and the directory's sync for a new segment.
    /// After an error nothing further is written: the log is poisoned until opened anew.
    ///
    /// # Errors
    /// `Poisoned` after an earlier failure; otherwise the disk's.
    ///
    /// # Panics
    /// If the unit is not the next one: the sequencer's bug.
    pub fn commit(&self, head: UnitHead, hash: Hash32, bytes: &[u8]) -> Result<()> {
        if self.poisoned.load(Ordering::SeqCst) {
            let what = "a write failed earlier; what was acknowledged is safe; restart the vault";
            return Err(Error::new(ErrorKind::Poisoned, &self.dir, what));
        }
        assert_eq!((head.first.0, head.number), (self.size().0, self.unit_count()), "next unit");
        let result = self.commit_inner(head, hash, bytes);
        if result.is_err() {
            self.poisoned.store(true, Ordering::SeqCst);
        }
        result
    }

    fn commit_inner(&self, head: UnitHead, hash: Hash32, bytes: &[u8]) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.as_ref().is_none_or(|w| w.len >= SEGMENT_BYTES_MAX) {
            *writer = Some(self.next_writer(writer.as_ref())?);
        }
        let Some(writer) = writer.as_mut() else { return Ok(()) };
        writer.file.write_at(writer.len, bytes)?;
        writer.file.sync()?;
        let placed = Placed { head, hash, segment: writer.segment, offset: writer.len };
        writer.len += bytes.len() as u64;
        self.units_mut().push(Arc::new(placed));
        Ok(())
    }

    /// The segment to write to: the last one if it has room, else a new one.
    fn next_writer(&self, full: Option<&Writer>) -> Result<Writer> {
        let last = self.segments()?.last().copied();
        if let (None, Some(segment)) = (full, last) {
            let file = self.disk.open(&self.path(segment), Mode::Write)?;
            let len = file.len()?;
            if len < SEGMENT_BYTES_MAX {
                // A crash may have come between making this segment and making its name durable.
                self.disk.sync_dir(&self.dir)?;
                return Ok(Writer { segment, file, len });
            }
        }
        let segment = last.map_or(0, |s| s + 1);
        let file = self.disk.open(&self.path(segment), Mode::CreateNew)?;
        self.disk.sync_dir(&self.dir)?;
        Ok(Writer { segment, file, len: 0 })
    }
}
