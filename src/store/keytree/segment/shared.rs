//! How much of a replica's `nodes.seg` is the beginning of this one, told by the chain of commits.
//! It changes neither file, and never takes equal length for equal bytes.

use crate::base::id::{Hash32, TenantId};
use crate::format::node::COMMIT_BYTES;
use crate::store::disk::Mode;
use crate::store::error::{ErrorKind, Result};
use crate::store::keytree::segment::Segment;
use std::path::Path;

/// What a replica's file has in common with this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shared {
    /// Nothing that can be told: it must be written as a whole.
    Nothing,
    /// The same up to here; the rest must be written.
    To(u64),
    /// It goes on where this one ends.
    Ahead,
    /// Both went on, each its own way.
    Parted,
}

impl Segment {
    /// How much of a replica's file is this file's beginning, told by the chain of commits;
    /// `None` if it cannot be told, or the two part. Reads the whole of the replica's headers
    /// only when it is more than one commit behind.
    pub(crate) fn shared_with(&self, other: &Path, tenant: TenantId) -> Result<Shared> {
        let file = match self.disk.open(other, Mode::Read) {
            Err(error) if error.kind == ErrorKind::Missing => return Ok(Shared::Nothing),
            file => file?,
        };
        let len = file.len()?;
        let whole = [(Some(self.last.start), self.end), (self.before, self.last.start)];
        for (start, end) in whole {
            let Some(start) = start.filter(|start| len == end && start < &end) else { continue };
            let mut record = vec![0; COMMIT_BYTES];
            file.read_exact_at(start, &mut record)?;
            if record == self.read_at(start, COMMIT_BYTES)? {
                return Ok(Shared::To(start));
            }
        }
        drop(file);
        let Ok(theirs) = Segment::scan(self.disk.clone(), other, tenant) else {
            return Ok(Shared::Nothing);
        };
        self.compare(&theirs)
    }

    fn compare(&self, theirs: &Segment) -> Result<Shared> {
        let (mine, their) = (self.last, theirs.last);
        if their.number == 0 {
            return Ok(Shared::Nothing);
        }
        if their == mine {
            return Ok(Shared::To(mine.start));
        }
        if their.number > mine.number {
            let known = theirs.commit_numbered(mine.number)?;
            let parted = known.is_some_and(|hash| hash != mine.hash);
            return Ok(if parted { Shared::Parted } else { Shared::Ahead });
        }
        match self.commit_numbered(their.number)? {
            Some(hash) if hash != their.hash => Ok(Shared::Parted),
            Some(_) if self.record(their.start)?.is_some_and(|c| c.hash == their.hash) => {
                // The last one may have been read from a cache: it is written again.
                Ok(Shared::To(their.start))
            }
            _ => Ok(Shared::Nothing),
        }
    }

    /// Hash of the commit of a number, if this file still has it.
    fn commit_numbered(&self, number: u64) -> Result<Option<Hash32>> {
        let mut at = 0;
        while at < self.end {
            let Some(commit) = self.record(at)? else { break };
            if commit.number == number {
                return Ok(Some(commit.hash));
            }
            at += commit.bytes();
        }
        Ok(None)
    }
}
