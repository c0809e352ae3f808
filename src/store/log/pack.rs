//! Packing closed segments, as the log sees it: which may be, what they take. It never packs the
//! segment that is written to, nor one beyond the signed checkpoint.

use crate::base::id::TenantId;
use crate::base::unit::TreeSize;
use crate::store::disk::Mode;
use crate::store::error::Result;
use crate::store::log::UnitLog;
use crate::store::packed::segment::{self, GoOn, Job, Saved};

impl UnitLog {
    /// How many segments are closed: not the last one, all within `signed`.
    pub fn closed(&self, signed: TreeSize) -> usize {
        let table = self.table();
        table.rows().iter().skip(1).filter(|next| next.first.0 <= signed.0).count()
    }

    /// Segments that can be packed: plain and closed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn packable(&self, signed: TreeSize) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for row in self.segment_rows().iter().take(self.closed(signed)) {
            if self.disk.exists(&self.path(row.segment))? {
                found.push(row.segment);
            }
        }
        Ok(found)
    }

    /// What closed segments take: length, and that of the packed form where that is there.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn room(&self, signed: TreeSize) -> Result<Vec<(u64, Option<u64>)>> {
        let mut found = Vec::new();
        for row in self.segment_rows().iter().take(self.closed(signed)) {
            let packed = match self.disk.exists(&self.path(row.segment))? {
                true => None,
                false => {
                    let path = segment::path(&self.dir, row.segment, segment::PACKED);
                    Some(self.disk.open(&path, Mode::Read)?.len()?)
                }
            };
            found.push((row.len, packed));
        }
        Ok(found)
    }

    /// Packs a closed segment. Readers see no difference but in time. `None` when told to stop.
    ///
    /// # Errors
    /// Those of the disk; `Corrupt` when the segment is not whole: it stays as it is then.
    pub fn pack(&self, number: u32, tenant: TenantId, go_on: GoOn<'_>) -> Result<Option<Saved>> {
        let (disk, dir) = (&*self.disk, self.dir.as_path());
        segment::pack(&Job { disk, dir, segment: number, tenant, go_on })
    }
}
