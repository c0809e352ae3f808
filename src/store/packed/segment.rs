//! Packed segments on disk: made from a closed segment, read as if it still lay there plainly.
//! Nothing above this file sees a difference but in time. It never decides what is packed, and
//! never removes a segment before what replaces it was read back whole and is durable.
//!
//! Order, each step durable before the next: `.pak.new` written and synced, read back and compared
//! with the segment, renamed to `.pak`, directory synced, `.seg` removed, directory synced. A crash
//! leaves both or one; where both are, the plain one counts and the packed one goes.

use crate::base::id::TenantId;
use crate::base::unit::EntryIndex;
use crate::format::entry;
use crate::format::packed::block::{self, Start, UNITS_BYTES_AIM, UNITS_BYTES_MAX};
use crate::format::packed::segment::{self, Row, Rows};
use crate::format::unit;
use crate::format::wire::Reader;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, Result};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Blocks kept expanded: one that is read through, one that is looked up in.
const BLOCKS_KEPT: usize = 2;
/// Rows of a packed segment at most: one a block of at least a unit of at least 300 bytes.
const ROWS_MAX: u32 = 1 << 20;

/// A block kept expanded, by its position.
type Kept = (usize, Arc<Vec<u8>>);

/// A packed segment, read at the offsets of the segment it was made from.
pub struct PackedFile {
    file: Arc<dyn DiskFile>,
    path: std::path::PathBuf,
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

/// Where to pack, and what.
pub struct Job<'a> {
    /// The disk.
    pub disk: &'a dyn Disk,
    /// The closed segment.
    pub plain: &'a Path,
    /// Where the packed one goes.
    pub packed: &'a Path,
    /// Number of the segment.
    pub segment: u32,
    /// Whose.
    pub tenant: TenantId,
}

/// Bytes of a segment before and after.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Saved {
    /// Length of the segment.
    pub plain: u64,
    /// Length of its packed form.
    pub packed: u64,
}

/// Packs a closed segment and puts the packed one in its place.
///
/// # Errors
/// `Corrupt` when the segment is not whole units, one after the other: then it stays as it is.
/// Those of the disk; the segment is removed last, so nothing is lost by any of them.
pub fn pack(job: &Job<'_>) -> Result<Saved> {
    let fresh = job.packed.with_extension("pak.new");
    let saved = write(job, &fresh)?;
    compare(job, &fresh)?;
    job.disk.rename(&fresh, job.packed)?;
    let dir = job.packed.parent().unwrap_or(Path::new("."));
    job.disk.sync_dir(dir)?;
    job.disk.remove(job.plain)?;
    job.disk.sync_dir(dir)?;
    Ok(saved)
}

/// Writes and syncs the packed form.
fn write(job: &Job<'_>, fresh: &Path) -> Result<Saved> {
    let plain = job.disk.open(job.plain, Mode::Read)?;
    let plain_len = plain.len()?;
    let out = job.disk.open(fresh, Mode::Create)?;
    out.set_len(0)?;
    out.write_at(0, &segment::head(job.segment, &job.tenant))?;
    let mut packed_end = segment::HEAD_BYTES as u64;
    let (mut at, mut rows, mut start) = (0, Vec::new(), None);
    while at < plain_len {
        let units = run_of_units(job, &*plain, at, plain_len)?;
        let from = match start {
            Some(start) => start,
            None => beginning(job, &units)?,
        };
        let packed = block::pack(&job.tenant, from, &units);
        let (bytes, next) = packed.map_err(|e| Error::corrupt(job.plain, e.to_string()))?;
        out.write_at(packed_end, &bytes)?;
        rows.push(Row::of(&from, at, packed_end));
        (at, packed_end) = (at + units.len() as u64, packed_end + bytes.len() as u64);
        start = Some(next);
    }
    let rows = Rows { rows, plain_len, packed_end };
    let end = rows.encode();
    out.write_at(packed_end, &end)?;
    out.sync()?;
    Ok(Saved { plain: plain_len, packed: packed_end + end.len() as u64 })
}

/// Whole units from `at` on, until they are as long as a block aims to be.
fn run_of_units(job: &Job<'_>, plain: &dyn DiskFile, at: u64, end: u64) -> Result<Vec<u8>> {
    let corrupt = |what: String| Error::corrupt(job.plain, what);
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
    let corrupt = |e: crate::format::wire::Malformed| Error::corrupt(job.plain, e.to_string());
    let mut reader = Reader::new(units);
    let head = unit::decode_head(&mut reader).map_err(corrupt)?;
    let first = reader.lp16("entry").and_then(entry::decode).map_err(corrupt)?;
    let (unit, entry) = (head.number, EntryIndex(head.first.0));
    Ok(Start { unit, entry, unit_hash: head.prev, leaf: first.prev })
}

/// Reads the packed form back as everybody will, and compares it with the segment.
fn compare(job: &Job<'_>, fresh: &Path) -> Result<()> {
    let plain = job.disk.open(job.plain, Mode::Read)?;
    let packed = PackedFile::open(job.disk, fresh, job.segment)?;
    let end = plain.len()?;
    let (mut at, mut same) = (0, packed.len()? == end);
    let (mut a, mut b) = (vec![0; UNITS_BYTES_AIM], vec![0; UNITS_BYTES_AIM]);
    while same && at < end {
        let len = usize::try_from(end - at).map_or(UNITS_BYTES_AIM, |l| l.min(UNITS_BYTES_AIM));
        let (a, b) = (a.get_mut(..len).unwrap_or_default(), b.get_mut(..len).unwrap_or_default());
        plain.read_exact_at(at, a)?;
        packed.read_exact_at(at, b)?;
        same = a == b;
        at += len as u64;
    }
    match same {
        true => Ok(()),
        false => Err(Error::corrupt(fresh, "packed segment does not give its units back")),
    }
}
