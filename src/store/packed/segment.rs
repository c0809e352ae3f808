//! Packed segments on disk: made from a closed segment, read as if it still lay there plainly.
//! Nothing above this file sees a difference but in time. It never decides what is packed, and
//! never removes a segment before what replaces it was read back whole and is durable.
//!
//! Order, each step durable before the next: `.pak.new` written and synced, read back and compared
//! with the segment, renamed to `.pak`, directory synced, `.seg` removed, directory synced. A crash
//! leaves both or one; where both are, the plain one counts and the packed one goes. Whoever packs
//! may stop between two blocks: then what was written goes again.

use crate::base::id::TenantId;
use crate::base::unit::EntryIndex;
use crate::format::entry;
use crate::format::packed::block::{self, Start, UNITS_BYTES_AIM, UNITS_BYTES_MAX};
use crate::format::packed::segment::{self, Row, Rows};
use crate::format::unit;
use crate::format::wire::Reader;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Blocks kept expanded: one that is read through, one that is looked up in.
const BLOCKS_KEPT: usize = 2;
/// Rows of a packed segment at most: one a block of at least a unit of at least 300 bytes.
const ROWS_MAX: u32 = 1 << 20;

/// Bytes written between two syncs of a packed file.
pub const SYNC_BYTES: u64 = 8 << 20;

/// A block kept expanded, by its position.
type Kept = (usize, Arc<Vec<u8>>);

/// A packed segment, read at the offsets of the segment it was made from.
pub struct PackedFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    tenant: TenantId,
    rows: Rows,
    kept: Mutex<Vec<Kept>>,
}

impl PackedFile {
    /// Opens a packed segment: its head and rows, no block.
    ///
    /// # Errors
    /// `Corrupt` when it is another segment's or damaged; those of the disk.
    pub fn open(disk: &dyn Disk, path: &Path, segment: u32) -> Result<PackedFile> {
        let file = disk.open(path, Mode::Read)?;
        let corrupt = |what: String| Error::corrupt(path, format!("packed segment: {what}"));
        let mut head = [0; segment::HEAD_BYTES];
        file.read_exact_at(0, &mut head)?;
        let (number, tenant) = segment::decode_head(&head).map_err(|e| corrupt(e.to_string()))?;
        if number != segment {
            return Err(corrupt(format!("it is number {number}")));
        }
        let len = file.len()?;
        let mut trailer = [0; segment::TRAILER_BYTES];
        let at = len.checked_sub(segment::TRAILER_BYTES as u64);
        file.read_exact_at(at.ok_or_else(|| corrupt("cut short".into()))?, &mut trailer)?;
        let (at, count) = Rows::trailer(&trailer).map_err(|e| corrupt(e.to_string()))?;
        let rows = u64::from(count) * segment::ROW_BYTES as u64 + segment::TRAILER_BYTES as u64;
        if count > ROWS_MAX || at.checked_add(rows) != Some(len) {
            return Err(corrupt("rows do not end the file".into()));
        }
        let mut bytes = vec![0; usize::try_from(rows).unwrap_or(0)];
        file.read_exact_at(at, &mut bytes)?;
        let rows = Rows::decode(&bytes).map_err(|e| corrupt(e.to_string()))?;
        let (path, kept) = (path.to_owned(), Mutex::new(Vec::new()));
        Ok(PackedFile { file, path, tenant, rows, kept })
    }

    /// The units that hold byte `at`, and where they start.
    fn block(&self, at: u64) -> Result<(u64, Arc<Vec<u8>>)> {
        let corrupt = |what: &str| Error::corrupt(&self.path, format!("packed segment: {what}"));
        let place = self.rows.at(at).ok_or_else(|| corrupt("shorter than it must be"))?;
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, units)) = kept.iter().find(|(number, _)| *number == place.number) {
                return Ok((place.plain.start, units.clone()));
            }
        }
        let len = place.packed.end - place.packed.start;
        if len > UNITS_BYTES_MAX {
            return Err(corrupt("block longer than 192 MiB"));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.file.read_exact_at(place.packed.start, &mut bytes)?;
        let back = block::unpack(&self.tenant, &bytes);
        let back = back.map_err(|e| corrupt(&format!("block {}: {e}", place.number)))?;
        let row = self.rows.rows.get(place.number);
        let says = Row::of(&back.start, place.plain.start, place.packed.start);
        if row != Some(&says) || back.units.len() as u64 != place.plain.end - place.plain.start {
            return Err(corrupt(&format!("block {} is not the one its row names", place.number)));
        }
        let units = Arc::new(back.units);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(BLOCKS_KEPT - 1);
        kept.insert(0, (place.number, units.clone()));
        Ok((place.plain.start, units))
    }

    /// Where the block after the one with byte `at` begins; `None` after the last one.
    pub fn next_block(&self, at: u64) -> Option<u64> {
        let end = self.rows.at(at)?.plain.end;
        (end < self.rows.plain_len).then_some(end)
    }

    fn read_only(&self) -> Error {
        Error::corrupt(&self.path, "a packed segment is not written to")
    }
}

impl DiskFile for PackedFile {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (start, units) = self.block(at)?;
            let from = usize::try_from(at - start).unwrap_or(usize::MAX);
            let rest = units.get(from..).unwrap_or_default();
            let want = bytes.get_mut(done..).unwrap_or_default();
            let len = rest.len().min(want.len());
            if let (Some(to), Some(from)) = (want.get_mut(..len), rest.get(..len)) {
                to.copy_from_slice(from);
            }
            done += len;
        }
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> Result<()> {
        Err(self.read_only())
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    fn set_len(&self, _: u64) -> Result<()> {
        Err(self.read_only())
    }

    fn len(&self) -> Result<u64> {
        Ok(self.rows.plain_len)
    }
}

/// Ending of a plain segment's name.
pub const PLAIN: &str = "seg";
/// Ending of a packed segment's name.
pub const PACKED: &str = "pak";

/// Where a segment lies in one of its forms.
pub fn path(dir: &Path, number: u32, form: &str) -> PathBuf {
    dir.join(format!("{number:08}.{form}"))
}

/// Numbers of all segments of a log, in either form, ascending. Only names a log writes count: a
/// copy beside them is not a segment.
///
/// # Errors
/// Those of the disk.
pub fn numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u32>> {
    let number = |name: &str| {
        let (digits, form) = name.split_once('.')?;
        let ours = digits.len() == 8 && matches!(form, PLAIN | PACKED);
        let plain = ours && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<u32>().ok())?
    };
    let listed = disk.list(dir)?;
    let mut found: Vec<u32> = listed.iter().filter_map(|e| number(&e.name)).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A segment, in the form in which it is there.
#[derive(Clone)]
pub struct Opened {
    /// Where.
    pub path: PathBuf,
    /// Its bytes, at the offsets units have.
    pub file: Arc<dyn DiskFile>,
    /// Its packed form, if that is what is there.
    pub packed: Option<Arc<PackedFile>>,
}

/// Opens a segment for reading: the plain one if it is there, else the packed one.
///
/// # Errors
/// `Missing` when neither is there; `Corrupt` for a packed one that is not this segment's.
pub fn open(disk: &dyn Disk, dir: &Path, number: u32) -> Result<Opened> {
    let plain = path(dir, number, PLAIN);
    let missing = match disk.open(&plain, Mode::Read) {
        Ok(file) => return Ok(Opened { path: plain, file, packed: None }),
        Err(e) if e.kind == ErrorKind::Missing => e,
        Err(e) => return Err(e),
    };
    let path = path(dir, number, PACKED);
    match PackedFile::open(disk, &path, number) {
        Ok(packed) => {
            let packed = Arc::new(packed);
            Ok(Opened { path, file: packed.clone(), packed: Some(packed) })
        }
        Err(e) if e.kind == ErrorKind::Missing => Err(missing),
        Err(e) => Err(e),
    }
}

/// Opens the segment at a path that `open` gave. A plain one may have been packed since.
///
/// # Errors
/// As `open`.
pub fn open_path(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    match (path.extension().is_some_and(|form| form == PACKED), stem.and_then(|s| s.parse().ok())) {
        (true, Some(number)) => Ok(Arc::new(PackedFile::open(disk, path, number)?)),
        (false, Some(number)) => {
            Ok(open(disk, path.parent().unwrap_or(Path::new(".")), number)?.file)
        }
        _ => disk.open(path, Mode::Read),
    }
}

/// Asked between two pieces of work: whether to go on. May wait before it answers.
pub type GoOn<'a> = &'a dyn Fn() -> bool;

/// Where to pack, and what.
pub struct Job<'a> {
    /// The disk.
    pub disk: &'a dyn Disk,
    /// Directory of the log.
    pub dir: &'a Path,
    /// Number of the closed segment.
    pub segment: u32,
    /// Whose.
    pub tenant: TenantId,
    /// Whether to go on.
    pub go_on: GoOn<'a>,
}

/// Bytes of a segment before and after.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Saved {
    /// Length of the segment.
    pub plain: u64,
    /// Length of its packed form.
    pub packed: u64,
}

/// Packs a closed segment and puts the packed one in its place. `None` when told to stop: then
/// the segment lies there as before.
///
/// # Errors
/// `Corrupt` when the segment is not whole units, one after the other: then it stays as it is.
/// Those of the disk; the segment is removed last, so nothing is lost by any of them.
pub fn pack(job: &Job<'_>) -> Result<Option<Saved>> {
    let (plain, packed) = (job.plain(), path(job.dir, job.segment, PACKED));
    let fresh = packed.with_extension("pak.new");
    let written = write(job, &plain, &fresh);
    let same = match written {
        Ok(Some(saved)) => compare(job, &plain, &fresh).map(|same| same.then_some(saved)),
        other => other,
    };
    let saved = match same {
        Ok(Some(saved)) => saved,
        other => {
            // It takes room that others may need. What stays for want of a disk goes at the next
            // opening.
            let _ = job.disk.remove(&fresh);
            return other;
        }
    };
    job.disk.rename(&fresh, &packed)?;
    job.disk.sync_dir(job.dir)?;
    job.disk.remove(&plain)?;
    job.disk.sync_dir(job.dir)?;
    Ok(Some(saved))
}

/// Removes what a packing that did not come to its end has left: unfinished files, and packed
/// ones whose plain segment is still there.
///
/// # Errors
/// Those of the disk.
pub fn clean(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let names: Vec<String> = disk.list(dir)?.into_iter().map(|e| e.name).collect();
    let mut removed = false;
    for name in &names {
        let plain_too = |stem: &str| names.iter().any(|n| *n == format!("{stem}.{PLAIN}"));
        let doubled = name.strip_suffix(".pak").is_some_and(plain_too);
        if doubled || name.ends_with(".pak.new") {
            disk.remove(&dir.join(name))?;
            removed = true;
        }
    }
    if removed { disk.sync_dir(dir) } else { Ok(()) }
}

impl Job<'_> {
    fn plain(&self) -> PathBuf {
        path(self.dir, self.segment, PLAIN)
    }
}

/// Writes and syncs the packed form; `None` when told to stop.
fn write(job: &Job<'_>, plain: &Path, fresh: &Path) -> Result<Option<Saved>> {
    let plain = job.disk.open(plain, Mode::Read)?;
    let plain_len = plain.len()?;
    let out = job.disk.open(fresh, Mode::Create)?;
    out.set_len(0)?;
    out.write_at(0, &segment::head(job.segment, &job.tenant))?;
    let mut packed_end = segment::HEAD_BYTES as u64;
    let (mut at, mut rows, mut start) = (0, Vec::new(), None);
    let mut synced = packed_end;
    while at < plain_len {
        if !(job.go_on)() {
            return Ok(None);
        }
        let units = run_of_units(job, &*plain, at, plain_len)?;
        let from = match start {
            Some(start) => start,
            None => beginning(job, &units)?,
        };
        let packed = block::pack(&job.tenant, from, &units);
        let (bytes, next) = packed.map_err(|e| Error::corrupt(&job.plain(), e.to_string()))?;
        out.write_at(packed_end, &bytes)?;
        rows.push(Row::of(&from, at, packed_end));
        (at, packed_end) = (at + units.len() as u64, packed_end + bytes.len() as u64);
        start = Some(next);
        // A commit's own sync must not have to wait for all of this at once.
        if packed_end - synced >= SYNC_BYTES {
            out.sync()?;
            synced = packed_end;
        }
    }
    let rows = Rows { rows, plain_len, packed_end };
    let end = rows.encode();
    out.write_at(packed_end, &end)?;
    out.sync()?;
    Ok(Some(Saved { plain: plain_len, packed: packed_end + end.len() as u64 }))
}

/// Whole units from `at` on, until they are as long as a block aims to be.
fn run_of_units(job: &Job<'_>, plain: &dyn DiskFile, at: u64, end: u64) -> Result<Vec<u8>> {
    let corrupt = |what: String| Error::corrupt(&job.plain(), what);
    let mut units = Vec::new();
    let mut next = at;
    while next < end && units.len() < UNITS_BYTES_AIM {
        let window = (end - next).min(unit::HEAD_LONGEST as u64);
        let mut head = vec![0; usize::try_from(window).unwrap_or(0)];
        plain.read_exact_at(next, &mut head)?;
        let head =
            unit::decode_head(&mut Reader::new(&head)).map_err(|e| corrupt(e.to_string()))?;
        if head.len > end - next || units.len() as u64 + head.len > UNITS_BYTES_MAX {
            return Err(corrupt("unit longer than its segment or a block".into()));
        }
        let from = units.len();
        units.resize(from + usize::try_from(head.len).unwrap_or(0), 0);
        plain.read_exact_at(next, units.get_mut(from..).unwrap_or_default())?;
        next += head.len;
    }
    Ok(units)
}

/// What the first unit of a segment follows, as it says itself.
fn beginning(job: &Job<'_>, units: &[u8]) -> Result<Start> {
    let corrupt = |e: crate::format::wire::Malformed| Error::corrupt(&job.plain(), e.to_string());
    let mut reader = Reader::new(units);
    let head = unit::decode_head(&mut reader).map_err(corrupt)?;
    let first = reader.lp16("entry").and_then(entry::decode).map_err(corrupt)?;
    let (unit, entry) = (head.number, EntryIndex(head.first.0));
    Ok(Start { unit, entry, unit_hash: head.prev, leaf: first.prev })
}

/// Reads the packed form back as everybody will, and compares it with the segment. False when
/// told to stop.
fn compare(job: &Job<'_>, plain: &Path, fresh: &Path) -> Result<bool> {
    let plain = job.disk.open(plain, Mode::Read)?;
    let packed = PackedFile::open(job.disk, fresh, job.segment)?;
    let end = plain.len()?;
    let (mut at, mut same) = (0, packed.len()? == end);
    let (mut a, mut b) = (vec![0; UNITS_BYTES_AIM], vec![0; UNITS_BYTES_AIM]);
    while same && at < end {
        if !(job.go_on)() {
            return Ok(false);
        }
        let len = usize::try_from(end - at).map_or(UNITS_BYTES_AIM, |l| l.min(UNITS_BYTES_AIM));
        let (a, b) = (a.get_mut(..len).unwrap_or_default(), b.get_mut(..len).unwrap_or_default());
        plain.read_exact_at(at, a)?;
        packed.read_exact_at(at, b)?;
        same = a == b;
        at += len as u64;
    }
    match same {
        true => Ok(true),
        false => Err(Error::corrupt(fresh, "packed segment does not give its units back")),
    }
}
