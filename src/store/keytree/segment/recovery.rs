//! What an opening does about the end of `nodes.seg`: it reads records and headers, proves the last
//! commit by its hash, and later cuts what follows it. Anything else that does not fit is
//! `CORRUPT_TAIL`, and nothing is changed. It never decides by length.

use crate::base::id::{NodeId, TenantId};
use crate::format::node::{BLOB_BYTES, COMMIT_BYTES, Commit, HEAD_BYTES, NodeHead};
use crate::store::disk::{Disk, Mode};
use crate::store::error::{Error, Result};
use crate::store::keytree::segment::{Last, NONE, Segment, fresh_name};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

impl Segment {
    /// Finds the last complete commit and the newest place of every node. Changes nothing:
    /// `settle` does, once the caller has seen that the tree is there.
    pub(crate) fn scan(disk: Arc<dyn Disk>, path: &Path, tenant: TenantId) -> Result<Self> {
        let file = disk.open(path, Mode::Write)?;
        let len = file.len()?;
        let (path, offsets) = (path.to_owned(), HashMap::new());
        let mut segment = Segment { disk, path, file, end: 0, last: NONE, before: None, offsets };
        let mut before = (NONE, 0);
        let mut earlier = NONE;
        let mut tail: Vec<(NodeId, u64, u8)> = Vec::new();
        while let Some((commit, found)) = segment.commit_at(segment.end, len, tenant)? {
            segment.offsets.extend(tail.drain(..).map(|(id, at, level)| (id, (at, level))));
            earlier = before.0;
            before = (segment.last, segment.end);
            tail = found;
            segment.last = Last { number: commit.number, hash: commit.hash, start: segment.end };
            segment.end += commit.bytes();
        }
        if segment.last.number > 0 && !segment.holds(segment.last.start)? {
            tail.clear();
            (segment.last, segment.end) = before;
            before.0 = earlier;
            // The commit before was synced before this one was begun: it must be whole.
            if segment.last.number > 0 && !segment.holds(segment.last.start)? {
                return Err(Error::corrupt(&segment.path, "CORRUPT_TAIL: two broken commits"));
            }
        }
        segment.offsets.extend(tail.drain(..).map(|(id, at, level)| (id, (at, level))));
        segment.before = (before.0.number > 0).then_some(before.0.start);
        segment.refuse_later(len)?;
        Ok(segment)
    }

    /// Cuts the incomplete tail and makes the last commit durable: it may have been read from a
    /// cache that a failed sync left behind, so the same bytes are written again.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.file.len()? != self.end {
            self.file.set_len(self.end)?;
        }
        let mut bytes = vec![0; usize::try_from(self.end - self.last.start).unwrap_or(0)];
        self.file.read_exact_at(self.last.start, &mut bytes)?;
        self.file.write_at(self.last.start, &bytes)?;
        self.file.sync()?;
        let left = fresh_name(&self.path);
        if self.disk.exists(&left)? {
            self.disk.remove(&left)?;
        }
        Ok(())
    }

    /// The commit at `at` by record and headers; its blobs' places.
    #[allow(clippy::type_complexity)]
    fn commit_at(
        &self,
        at: u64,
        len: u64,
        tenant: TenantId,
    ) -> Result<Option<(Commit, Vec<(NodeId, u64, u8)>)>> {
        if len.saturating_sub(at) < COMMIT_BYTES as u64 {
            return Ok(None);
        }
        let Some(commit) = self.record(at)?.filter(|c| c.bytes() <= len - at) else {
            return Ok(None);
        };
        // A compacted file begins in the middle of the chain.
        let first = at == 0;
        if !first && (commit.number != self.last.number + 1 || commit.prev != self.last.hash) {
            return Ok(None);
        }
        let mut found = Vec::new();
        let mut blob = at + COMMIT_BYTES as u64;
        for _ in 0..commit.count {
            let mut head = [0; HEAD_BYTES];
            self.file.read_exact_at(blob, &mut head)?;
            let Some(head) = NodeHead::decode(&head).filter(|head| head.tenant == tenant) else {
                return Ok(None);
            };
            found.push((head.id, blob, head.level));
            blob += BLOB_BYTES as u64;
        }
        Ok(Some((commit, found)))
    }

    /// A whole commit beyond the end means that the break is not a torn tail.
    fn refuse_later(&self, len: u64) -> Result<()> {
        let mut at = self.end;
        while len.saturating_sub(at) >= COMMIT_BYTES as u64 {
            if let Some(commit) = self.record(at)?
                && commit.bytes() <= len - at
                && self.holds(at)?
            {
                return Err(Error::corrupt(&self.path, "CORRUPT_TAIL: whole commit after a break"));
            }
            at += COMMIT_BYTES as u64;
        }
        Ok(())
    }
}
