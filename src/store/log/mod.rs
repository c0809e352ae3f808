//! The unit log: segments of units, the truth. One writer; readers read what is committed.
//! Units are created once, in order, and never rewritten. It never judges an entry's meaning.
//!
//! Opening walks the heads of all units, or of those behind a unit that a signed snapshot names.
//! The last unit alone may be damaged, only beyond the signed checkpoint and with nothing valid
//! after it: it was never acknowledged, and is dropped and named. Anything else is `CORRUPT_TAIL`
//! and nothing is changed. Memory holds a row a segment (`table`); units are found by walking
//! the heads of their segment when somebody asks.

mod heads;
mod pack;
mod recovery;
mod table;

pub use crate::store::log::recovery::Recovery;
pub use crate::store::log::table::{Placed, SegmentRow};

use crate::base::id::Hash32;
use crate::base::limits::{CACHED_BYTES, SEGMENT_BYTES_MAX};
use crate::base::unit::{EntryIndex, TreeSize};
use crate::format::unit::UnitHead;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::log::heads::Heads;
use crate::store::log::table::{Places, Recent, Table};
use crate::store::packed::segment::{self, Opened};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Packed segments kept open: each keeps two blocks expanded.
const PACKED_KEPT: usize = 4;

/// The segments of one tenant's log.
pub struct UnitLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    table: RwLock<Table>,
    recent: Mutex<Recent>,
    /// Packed segments read last; they never change.
    packed: Mutex<Vec<(u32, Opened)>>,
    /// Where a damaged end begins, until `settle` cuts it.
    damage: Mutex<Option<(u32, u64)>>,
    writer: Mutex<Option<Writer>>,
    segment_bytes: u64,
    poisoned: AtomicBool,
}

struct Writer {
    segment: u32,
    file: Arc<dyn DiskFile>,
    len: u64,
    /// Closed segments that are still in memory, oldest first.
    closed: VecDeque<(Arc<dyn DiskFile>, u64)>,
}

impl Writer {
    /// What this full segment leaves to the next one: closed segments that may stay in memory.
    fn close(&mut self) -> VecDeque<(Arc<dyn DiskFile>, u64)> {
        let mut closed = std::mem::take(&mut self.closed);
        closed.push_back((self.file.clone(), self.len));
        while closed.iter().map(|(_, len)| len).sum::<u64>() + SEGMENT_BYTES_MAX > CACHED_BYTES {
            let Some((file, len)) = closed.pop_front() else { break };
            file.forget(0..len);
        }
        closed
    }
}

/// Where an opening may begin to read: the last unit that a signed snapshot vouches for, and the
/// segments up to it.
#[derive(Clone, Debug)]
pub struct Start {
    /// Every segment; the last one is as long as the unit says.
    pub rows: Vec<SegmentRow>,
    /// Number of the unit.
    pub number: u64,
    /// Its hash.
    pub hash: Hash32,
    /// Where it starts in the last segment.
    pub offset: u64,
}

impl UnitLog {
    /// Reads the heads of all units. `sealed` is the size of the signed checkpoint: no unit within
    /// it may be dropped. Nothing is changed on disk before `settle`.
    ///
    /// # Errors
    /// `Corrupt` with `CORRUPT_TAIL` or `UNIT_CHAIN`; `TooNew` for a later version's unit.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, sealed: TreeSize) -> Result<(UnitLog, Recovery)> {
        let log = UnitLog::at(disk, dir, Table::default());
        let segments = log.segments()?;
        let recovery = log.walk_and_judge(&segments, 0, sealed)?;
        Ok((log, recovery))
    }

    /// As `open`, but reads only the heads behind `start`. `None` when the files are not those
    /// that `start` speaks of: then everything must be read.
    ///
    /// # Errors
    /// As `open`.
    pub fn resume(
        disk: Arc<dyn Disk>,
        dir: &Path,
        sealed: TreeSize,
        start: &Start,
    ) -> Result<Option<(UnitLog, Recovery)>> {
        let log = UnitLog::at(disk, dir, Table::default());
        let segments = log.segments()?;
        let Some(last) = log.fits(&segments, start)? else { return Ok(None) };
        let from = last.offset + last.head.len;
        let known = start.rows.len() - 1;
        *log.table_mut() = Table::new(start.rows.clone(), Some(Arc::new(last)));
        let recovery =
            log.walk_and_judge(segments.get(known..).unwrap_or_default(), from, sealed)?;
        Ok(Some((log, recovery)))
    }

    /// The log with segments of another size, for tests of what lies between two of them.
    #[must_use]
    pub fn closing_at(self, segment_bytes: u64) -> UnitLog {
        UnitLog { segment_bytes, ..self }
    }

    fn at(disk: Arc<dyn Disk>, dir: &Path, table: Table) -> UnitLog {
        UnitLog {
            disk,
            dir: dir.to_owned(),
            table: RwLock::new(table),
            recent: Mutex::default(),
            packed: Mutex::default(),
            damage: Mutex::new(None),
            writer: Mutex::new(None),
            segment_bytes: SEGMENT_BYTES_MAX,
            poisoned: AtomicBool::new(false),
        }
    }

    /// Whether every closed segment is there with its length, and the unit at its place.
    fn fits(&self, segments: &[u32], start: &Start) -> Result<Option<Placed>> {
        let Some((open, closed)) = start.rows.split_last() else { return Ok(None) };
        let named = start.rows.iter().map(|row| row.segment);
        if segments.len() < start.rows.len()
            || !named.eq(segments.iter().copied().take(start.rows.len()))
        {
            return Ok(None);
        }
        for row in closed {
            if self.segment(row.segment)?.file.len()? != row.len {
                return Ok(None);
            }
        }
        let mut heads = Heads::of(self.segment(open.segment)?)?;
        if heads.len < open.len {
            return Ok(None);
        }
        let Ok((head, hash)) = heads.at(start.offset)? else { return Ok(None) };
        let there = (head.number, hash, start.offset.saturating_add(head.len))
            == (start.number, start.hash, open.len);
        let placed = Placed { head, hash, segment: open.segment, offset: start.offset };
        Ok(there.then_some(placed))
    }

    fn segments(&self) -> Result<Vec<u32>> {
        segment::numbers(&*self.disk, &self.dir)
    }

    fn path(&self, number: u32) -> PathBuf {
        segment::path(&self.dir, number, segment::PLAIN)
    }

    /// A segment for reading, plain or packed.
    fn segment(&self, number: u32) -> Result<Opened> {
        let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, opened)) = packed.iter().find(|(of, _)| *of == number) {
            return Ok(opened.clone());
        }
        let opened = segment::open(&*self.disk, &self.dir, number)?;
        if opened.packed.is_some() {
            packed.truncate(PACKED_KEPT - 1);
            packed.insert(0, (number, opened.clone()));
        }
        Ok(opened)
    }

    fn table(&self) -> std::sync::RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> std::sync::RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries committed.
    pub fn size(&self) -> TreeSize {
        self.table().size()
    }

    /// The last unit.
    pub fn last(&self) -> Option<Arc<Placed>> {
        self.table().last.clone()
    }

    /// Number of units.
    pub fn unit_count(&self) -> u64 {
        self.table().count()
    }

    /// Every segment, as far as it holds committed units.
    pub fn segment_rows(&self) -> Vec<SegmentRow> {
        self.table().rows().to_vec()
    }

    /// Unit `number`, if it is there.
    ///
    /// # Errors
    /// Those of the disk; `Corrupt` with `UNIT_CHAIN` when the heads of its segment do not fit
    /// the segments around it.
    pub fn unit(&self, number: u64) -> Result<Option<Arc<Placed>>> {
        let (row, next) = {
            let table = self.table();
            match &table.last {
                Some(last) if last.head.number == number => return Ok(Some(last.clone())),
                Some(last) if last.head.number < number => return Ok(None),
                None => return Ok(None),
                Some(_) => table.of_unit(number).ok_or_else(|| self.broken("no such segment"))?,
            }
        };
        let at = number.saturating_sub(row.first_unit);
        self.find(&row, next.as_ref(), &|places| {
            usize::try_from(at).ok().filter(|at| *at < places.units.len())
        })
    }

    /// The unit that holds an entry, if it is there.
    ///
    /// # Errors
    /// As `unit`.
    pub fn unit_of(&self, index: EntryIndex) -> Result<Option<Arc<Placed>>> {
        let (row, next) = {
            let table = self.table();
            match &table.last {
                Some(last) if last.head.end.0 <= index.0 => return Ok(None),
                Some(last) if last.head.first <= index => return Ok(Some(last.clone())),
                None => return Ok(None),
                Some(_) => table.of_entry(index).ok_or_else(|| self.broken("no such segment"))?,
            }
        };
        self.find(&row, next.as_ref(), &|places| {
            Some(places.of_entry(index)).filter(|at| *at < places.units.len())
        })
    }

    /// The unit that `wanted` picks among those of a segment, which is walked as far as needed.
    fn find(
        &self,
        row: &SegmentRow,
        next: Option<&SegmentRow>,
        wanted: &dyn Fn(&Places) -> Option<usize>,
    ) -> Result<Option<Arc<Placed>>> {
        let found = |places: &Places| {
            let at = wanted(places)?;
            Some((at as u64 + row.first_unit, *places.units.get(at)?))
        };
        let mut known = None;
        if let Some(places) = self.recent().get(row.segment) {
            if found(places).is_none() {
                self.follow(places, row, next)?;
            }
            known = Some(found(places));
        }
        let known = match known {
            Some(known) => known,
            None => {
                let mut places = Places::new(row);
                self.follow(&mut places, row, next)?;
                let known = found(&places);
                self.recent().put(places);
                known
            }
        };
        let Some((number, (offset, end))) = known else {
            return Err(self.broken("a unit is not in its segment"));
        };
        let mut heads = Heads::of(self.segment(row.segment)?)?;
        match heads.at(offset)? {
            Ok((head, hash)) if (head.number, head.end.0) == (number, end) => {
                Ok(Some(Arc::new(Placed { head, hash, segment: row.segment, offset })))
            }
            _ => Err(self.broken(&format!("unit {number} is not what it was"))),
        }
    }

    /// Walks on in a segment, up to what is committed there now.
    fn follow(
        &self,
        places: &mut Places,
        row: &SegmentRow,
        next: Option<&SegmentRow>,
    ) -> Result<()> {
        let mut heads = Heads::of(self.segment(row.segment)?)?;
        while places.end < row.len {
            let number = row.first_unit + places.units.len() as u64;
            let first = places.units.last().map_or(row.first.0, |(_, end)| *end);
            let (head, hash) = match heads.at(places.end)? {
                Ok((head, hash))
                    if (head.number, head.prev, head.first.0) == (number, places.prev, first) =>
                {
                    (head, hash)
                }
                Ok(_) => return Err(self.broken(&format!("unit {number} does not follow"))),
                Err(why) => return Err(self.broken(&format!("unit {number}: {why}"))),
            };
            places.units.push((places.end, head.end.0));
            places.end += head.len;
            places.prev = hash;
        }
        let end = (
            row.first_unit + places.units.len() as u64,
            places.units.last().map_or(row.first.0, |(_, end)| *end),
            places.prev,
        );
        match next.is_none_or(|next| end == (next.first_unit, next.first.0, next.prev)) {
            true => Ok(()),
            false => Err(self.broken(&format!("segment {} does not end as it did", row.segment))),
        }
    }

    fn broken(&self, what: &str) -> Error {
        Error::corrupt(&self.dir, format!("UNIT_CHAIN: {what}; run `chancery verify`"))
    }

    /// Reads the bytes of a unit.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(&self, unit: &Placed) -> Result<Vec<u8>> {
        let file = self.segment(unit.segment)?.file;
        let mut bytes = vec![0; usize::try_from(unit.head.len).unwrap_or(usize::MAX)];
        file.read_exact_at(unit.offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The file a unit lies in, for messages.
    pub fn path_of(&self, unit: &Placed) -> PathBuf {
        let opened = self.segment(unit.segment);
        opened.map_or_else(|_| self.path(unit.segment), |opened| opened.path)
    }

    /// Forgets the last unit, whose entries were found damaged beyond the checkpoint; `settle`
    /// cuts it off.
    ///
    /// # Errors
    /// Those of the disk, when the unit before it is looked up.
    pub fn drop_last(&self) -> Result<()> {
        let Some(last) = self.last() else { return Ok(()) };
        let before = match last.head.number.checked_sub(1) {
            Some(before) => self.unit(before)?,
            None => None,
        };
        self.recent().forget(last.segment);
        self.table_mut().pop(before);
        // What was torn behind it lies behind the new end, and goes with it.
        self.mark(last.segment, last.offset);
        Ok(())
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
        if writer.as_ref().is_none_or(|w| w.len >= self.segment_bytes) {
            *writer = Some(self.next_writer(writer.as_mut())?);
        }
        let Some(writer) = writer.as_mut() else { return Ok(()) };
        writer.file.write_at(writer.len, bytes)?;
        writer.file.sync()?;
        let placed = Placed { head, hash, segment: writer.segment, offset: writer.len };
        writer.len += bytes.len() as u64;
        self.table_mut().push(placed);
        Ok(())
    }

    /// The segment to write to: the last one if it has room, else a new one.
    fn next_writer(&self, full: Option<&mut Writer>) -> Result<Writer> {
        let last = self.segments()?.last().copied();
        if let (None, Some(segment)) = (&full, last) {
            let file = self.disk.open(&self.path(segment), Mode::Write)?;
            let len = file.len()?;
            if len < self.segment_bytes {
                // A crash may have come between making this segment and making its name durable.
                self.disk.sync_dir(&self.dir)?;
                return Ok(Writer { segment, file, len, closed: VecDeque::new() });
            }
        }
        let segment = last.map_or(0, |s| s + 1);
        let file = self.disk.open(&self.path(segment), Mode::CreateNew)?;
        self.disk.sync_dir(&self.dir)?;
        let closed = full.map_or_else(VecDeque::new, Writer::close);
        Ok(Writer { segment, file, len: 0, closed })
    }
}
