//! What an opening does about the end of a log: it walks the heads, judges the first that is not
//! what it must be, and later cuts a torn end. It never cuts anything that was acknowledged.

use crate::base::unit::{EntryIndex, TreeSize};
use crate::format::unit;
use crate::store::disk::Mode;
use crate::store::error::{Error, Result};
use crate::store::log::UnitLog;
use crate::store::log::heads::Heads;
use crate::store::log::table::Placed;
use crate::store::packed::segment;
use std::sync::PoisonError;

/// What opening found and did.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// A damaged last unit was dropped: index its first entry would have had, and bytes.
    pub dropped: Option<(EntryIndex, u64)>,
}

/// Where a walk over the segments stopped.
struct Break {
    segment: u32,
    offset: u64,
    why: String,
}

impl UnitLog {
    pub(crate) fn walk_and_judge(
        &self,
        segments: &[u32],
        from: u64,
        sealed: TreeSize,
    ) -> Result<Recovery> {
        let mut recovery = Recovery::default();
        if let Some(found) = self.walk(segments, from)? {
            recovery.dropped = Some(self.judge(segments, &found, sealed)?);
            self.mark(found.segment, found.offset);
        }
        Ok(recovery)
    }

    pub(crate) fn mark(&self, segment: u32, offset: u64) {
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
        segment::clean(&*self.disk, &self.dir)?;
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((segment, offset)) = damage {
            // Nothing whole lies in the segments behind it, or opening had refused. The last goes
            // first: whatever a crash leaves is still a torn end.
            for later in self.segments()?.into_iter().rev().filter(|later| *later > segment) {
                self.cut(later, 0)?;
            }
            self.cut(segment, offset)?;
        }
        let Some(last) = self.last().filter(|last| last.head.end > sealed) else { return Ok(()) };
        let bytes = self.read(&last)?;
        let file = self.disk.open(&self.path(last.segment), Mode::Write)?;
        file.write_at(last.offset, &bytes)?;
        file.sync()?;
        self.disk.sync_dir(&self.dir)
    }

    /// Reads the heads of units in order, from an offset in the first segment; stops at the first
    /// that is not what it must be.
    fn walk(&self, segments: &[u32], from: u64) -> Result<Option<Break>> {
        let mut table = self.table_mut();
        let mut offset = from;
        for segment in segments {
            let segment = *segment;
            let mut heads = Heads::of(self.segment(segment)?)?;
            table.begin(segment);
            while offset < heads.len {
                match heads.at(offset)? {
                    Ok((head, hash)) => {
                        let expect = table.next();
                        if (head.number, head.prev, head.first.0) != expect {
                            let why = format!(
                                "UNIT_CHAIN: unit {} does not follow its predecessor",
                                head.number
                            );
                            return Ok(Some(Break { segment, offset, why }));
                        }
                        let len = head.len;
                        table.push(Placed { head, hash, segment, offset });
                        offset += len;
                    }
                    Err(why) => return Ok(Some(Break { segment, offset, why })),
                }
            }
            offset = 0;
        }
        Ok(None)
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
        let len = self.segment(found.segment)?.file.len()?;
        Ok((EntryIndex(next.0), len - found.offset))
    }

    /// Whether any whole unit starts after `from` in a segment.
    fn valid_unit_after(&self, segment: u32, from: u64) -> Result<bool> {
        let opened = self.segment(segment)?;
        let (file, len) = (opened.file.clone(), opened.file.len()?);
        let mut heads = Heads::of(opened)?;
        let mut bytes = vec![0; usize::try_from(len.saturating_sub(from)).unwrap_or(0)];
        file.read_exact_at(from, &mut bytes)?;
        for (at, window) in bytes.windows(unit::MAGIC.len()).enumerate() {
            if window == unit::MAGIC && (at > 0 || from == 0) && heads.at(from + at as u64)?.is_ok()
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
}
