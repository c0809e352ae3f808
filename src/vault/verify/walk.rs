//! The units of a log as they lie on disk, found without trusting any of them: a damaged one is
//! named and passed over, up to the next that is whole. It never writes, and it holds about 250
//! bytes a unit.

use crate::base::id::Hash32;
use crate::base::unit::{EntryIndex, TreeSize};
use crate::format::unit::{self, UnitHead};
use crate::format::wire::Reader;
use crate::store::disk::{Disk, DiskFile};
use crate::store::error::{ErrorKind, Result};
use crate::store::packed::segment::{self, Opened};
use crate::vault::verify::report::Report;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A unit and where it lies.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) head: UnitHead,
    /// The hash it ends with.
    pub(crate) hash: Hash32,
    pub(crate) segment: PathBuf,
    pub(crate) offset: u64,
    /// Nothing follows it, not even damage: the end that a crash may have left half written.
    pub(crate) last: bool,
}

impl Found {
    /// How many entries it says it has, as far as its bytes can hold them: a damaged head may
    /// claim any number, and no entry is shorter than the two bytes of its length.
    pub(crate) fn entries(&self) -> usize {
        let claimed = self.head.end.0.saturating_sub(self.head.first.0);
        usize::try_from(claimed.min(self.head.len / 2)).unwrap_or(0)
    }
}

/// The segment that was read last, plain or packed, kept open: units are read in their order.
#[derive(Default)]
pub(crate) struct Reading {
    last: Option<(PathBuf, Arc<dyn DiskFile>)>,
}

impl Reading {
    /// The segment of a unit.
    pub(crate) fn of(&mut self, disk: &dyn Disk, unit: &Found) -> Result<Arc<dyn DiskFile>> {
        if let Some((path, file)) = &self.last
            && *path == unit.segment
        {
            return Ok(file.clone());
        }
        let file = segment::open_path(disk, &unit.segment)?;
        self.last = Some((unit.segment.clone(), file.clone()));
        Ok(file)
    }
}

/// One segment being walked.
struct Segment<'a> {
    opened: &'a Opened,
    len: u64,
}

/// What stands at an offset.
enum At {
    /// A unit; its own hash holds.
    Unit(UnitHead, Hash32),
    /// A unit whose hash is wrong but whose frame holds.
    Altered(UnitHead, Hash32),
    /// A unit of a later version.
    TooNew,
    /// No unit.
    Damage(String),
}

/// Walks all segments. `signed` is the size of the signed checkpoint: a torn end beyond it was
/// never acknowledged and asks only for attention.
pub(crate) fn walk(
    disk: &dyn Disk,
    dir: &Path,
    signed: TreeSize,
    report: &mut Report,
) -> Result<Vec<Found>> {
    let mut numbers = segment::numbers(disk, dir)?;
    while let Some(last) = numbers.last()
        && is_empty(disk, dir, *last)?
    {
        numbers.pop();
    }
    let mut units: Vec<Found> = Vec::new();
    // Whether the last unit found ends all that was read.
    let mut ends = false;
    for (at, number) in numbers.iter().enumerate() {
        let opened = match segment::open(disk, dir, *number) {
            Ok(opened) => opened,
            Err(e) if e.kind == ErrorKind::Corrupt => {
                let next = units.last().map_or(0, |u| u.head.end.0);
                report.fail("UNIT_DAMAGED", EntryIndex(next), e.to_string());
                ends = false;
                continue;
            }
            Err(e) => return Err(e),
        };
        let segment = Segment { len: opened.file.len()?, opened: &opened };
        let last = at + 1 == numbers.len();
        let end = walk_segment(&segment, last.then_some(signed), &mut units, report)?;
        ends = end == Some(segment.len);
    }
    if let Some(last) = units.last_mut() {
        last.last = ends;
    }
    Ok(units)
}

/// Whether a segment was made and never written to.
fn is_empty(disk: &dyn Disk, dir: &Path, number: u32) -> Result<bool> {
    match segment::open(disk, dir, number) {
        Ok(opened) => Ok(opened.packed.is_none() && opened.file.len()? == 0),
        Err(e) if e.kind == ErrorKind::Corrupt => Ok(false),
        Err(e) => Err(e),
    }
}

/// Walks one segment; gives where its last unit ends, if nothing but units was found behind that.
fn walk_segment(
    segment: &Segment<'_>,
    torn_from: Option<TreeSize>,
    units: &mut Vec<Found>,
    report: &mut Report,
) -> Result<Option<u64>> {
    let mut offset = 0;
    while offset < segment.len {
        offset = segment.pass_damaged(offset, units, report);
        if offset >= segment.len {
            return Ok(None);
        }
        let next = units.last().map_or(TreeSize(0), |u| u.head.end);
        let torn = |end: u64| torn_from.is_some_and(|signed| next >= signed) && end == segment.len;
        match segment.read(offset)? {
            At::Unit(head, hash) => {
                let len = head.len;
                segment.take(head, hash, offset, units);
                offset += len;
            }
            At::Altered(head, hash) if !torn(offset + head.len) => {
                let what = format!("unit {}: its head is not what its hash covers", head.number);
                report.fail("UNIT_HASH", head.first, what);
                let len = head.len;
                segment.take(head, hash, offset, units);
                offset += len;
            }
            At::TooNew => {
                report.doubt("a unit was written by a newer version of Chancery");
                return Ok(None);
            }
            found => {
                let why = match found {
                    At::Damage(why) => why,
                    _ => "unit hash".to_owned(),
                };
                let Some(resumed) = segment.search(offset + 1)? else {
                    let left = segment.len - offset;
                    let what = format!("{left} bytes at the end of a segment are no unit: {why}");
                    match torn(segment.len) {
                        true => report.attention("TAIL_TORN", EntryIndex(next.0), what),
                        false => report.fail("UNIT_DAMAGED", EntryIndex(next.0), what),
                    }
                    return Ok(None);
                };
                let what = format!("{} bytes between units are none: {why}", resumed - offset);
                report.fail("UNIT_DAMAGED", EntryIndex(next.0), what);
                offset = resumed;
            }
        }
    }
    Ok(Some(offset))
}

impl Segment<'_> {
    /// Adds a unit. Whether it follows its predecessor is judged where units are joined.
    fn take(&self, head: UnitHead, hash: Hash32, offset: u64, units: &mut Vec<Found>) {
        let segment = self.opened.path.clone();
        units.push(Found { head, hash, segment, offset, last: false });
    }

    /// Passes over the blocks of a packed segment that cannot be rebuilt, from `offset` on.
    fn pass_damaged(&self, mut offset: u64, units: &[Found], report: &mut Report) -> u64 {
        let Some(packed) = &self.opened.packed else { return offset };
        while offset < self.len {
            let Err(e) = packed.read_exact_at(offset, &mut [0]) else { return offset };
            let next = units.last().map_or(0, |u| u.head.end.0);
            report.fail("UNIT_DAMAGED", EntryIndex(next), e.to_string());
            offset = packed.next_block(offset).unwrap_or(self.len);
        }
        offset
    }

    fn read(&self, offset: u64) -> Result<At> {
        let most = unit::HEAD_LONGEST as u64;
        let left = self.len - offset;
        let mut bytes = vec![0; usize::try_from(most.min(left)).unwrap_or(0)];
        self.opened.file.read_exact_at(offset, &mut bytes)?;
        let version = bytes.get(3).copied().unwrap_or(0);
        if bytes.starts_with(b"CHU") && version > b'1' && version.is_ascii_digit() {
            return Ok(At::TooNew);
        }
        let head = match unit::decode_head(&mut Reader::new(&bytes)) {
            Ok(head) => head,
            Err(e) => return Ok(At::Damage(e.to_string())),
        };
        if head.len > left {
            return Ok(At::Damage("unit is cut short".to_owned()));
        }
        let mut hash = [0; unit::HASH_BYTES];
        let end = offset + head.len;
        self.opened.file.read_exact_at(end - unit::TRAILER_BYTES as u64, &mut hash)?;
        let hash = Hash32(hash);
        if hash == head.hash() {
            return Ok(At::Unit(head, hash));
        }
        let mut next = [0; unit::MAGIC.len()];
        let room = self.len - end >= next.len() as u64;
        if room {
            self.opened.file.read_exact_at(end, &mut next)?;
        }
        match end == self.len || (room && next == unit::MAGIC) {
            true => Ok(At::Altered(head, hash)),
            false => Ok(At::Damage("unit hash is wrong".to_owned())),
        }
    }

    /// Start of the next whole unit from an offset on.
    fn search(&self, from: u64) -> Result<Option<u64>> {
        let left = self.len.saturating_sub(from);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(0)];
        self.opened.file.read_exact_at(from, &mut bytes)?;
        for (at, window) in bytes.windows(unit::MAGIC.len()).enumerate() {
            let offset = from + at as u64;
            if window == unit::MAGIC && matches!(self.read(offset)?, At::Unit(..)) {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }
}
