//! `nodes.seg`: the append-only file of node blobs, in commits. It knows offsets, not keys.
//!
//! One commit is one write and one sync, so only the last commit can be incomplete. Opening reads
//! records and headers, proves the last commit by its hash, and cuts what follows it. Anything
//! else that does not fit is `CORRUPT_TAIL`, and nothing is changed. It never decides by length.

use crate::base::id::{Hash32, NodeId, TenantId};
use crate::format::node::{BLOB_BYTES, Blob, COMMIT_BYTES, Commit, HEAD_BYTES, NodeHead};
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, ErrorKind, Result};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Blobs of one commit of a compacted file: 1 MiB, so that opening proves 1 MiB.
const COMPACT_BLOBS: usize = 256;

/// The open file and where each node lies in it.
pub(crate) struct Segment {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    end: u64,
    last: Last,
    /// Where the commit before the last begins.
    before: Option<u64>,
    offsets: HashMap<NodeId, (u64, u8)>,
}

/// The end of the chain of commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Last {
    number: u64,
    hash: Hash32,
    start: u64,
}

/// What a commit put where, so that a replica can be given the same.
pub(crate) struct Appended {
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

const NONE: Last = Last { number: 0, hash: Hash32::ZERO, start: 0 };

impl Segment {
    /// An empty file, whatever was there: only for a tree that was never born.
    pub(crate) fn create(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        let file = disk.open(path, Mode::Create)?;
        file.set_len(0)?;
        let (path, before, offsets) = (path.to_owned(), None, HashMap::new());
        Ok(Segment { disk, path, file, end: 0, last: NONE, before, offsets })
    }

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

    /// Appends one commit: one write, one sync. Returns what was written.
    pub(crate) fn append(&mut self, blobs: &[(NodeHead, Box<Blob>)]) -> Result<Appended> {
        let mut bytes = Vec::with_capacity(COMMIT_BYTES + blobs.len() * BLOB_BYTES);
        bytes.resize(COMMIT_BYTES, 0);
        for (_, blob) in blobs {
            bytes.extend_from_slice(blob.as_slice());
        }
        let commit = seal_commit(&mut bytes, self.last.number, self.last.hash);
        self.file.write_at(self.end, &bytes)?;
        self.file.sync()?;
        let mut at = self.end + COMMIT_BYTES as u64;
        for (head, _) in blobs {
            self.offsets.insert(head.id, (at, head.level));
            at += BLOB_BYTES as u64;
        }
        let start = self.end;
        self.before = (self.last.number > 0).then_some(self.last.start);
        self.last = Last { number: commit.number, hash: commit.hash, start };
        self.end = at;
        Ok(Appended { at: start, bytes })
    }

    /// The newest blob of a node.
    pub(crate) fn read(&self, id: NodeId) -> Result<Box<Blob>> {
        let (at, _) = self.offsets.get(&id).ok_or_else(|| self.missing())?;
        let mut blob = Box::new([0; BLOB_BYTES]);
        self.file.read_exact_at(*at, blob.as_mut_slice())?;
        Ok(blob)
    }

    /// The level a node's newest header claims.
    pub(crate) fn level(&self, id: NodeId) -> Result<u8> {
        self.offsets.get(&id).map(|(_, level)| *level).ok_or_else(|| self.missing())
    }

    /// Forgets where dead nodes lie.
    pub(crate) fn forget(&mut self, dead: &[NodeId]) {
        for id in dead {
            self.offsets.remove(id);
        }
    }

    /// Forgets all nodes but these.
    pub(crate) fn retain(&mut self, live: &HashSet<NodeId>) {
        self.offsets.retain(|id, _| live.contains(id));
    }

    /// Length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    /// Bytes of the newest blobs of live nodes.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.offsets.len() as u64 * BLOB_BYTES as u64
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the live blobs, as they are, to `nodes.seg.new`: write, sync, rename, sync the
    /// directory. The chain of commits goes on in the new file. Secrecy does not depend on it.
    pub(crate) fn compact(&mut self) -> Result<()> {
        let fresh = fresh_name(&self.path);
        let file = self.disk.open(&fresh, Mode::Create)?;
        file.set_len(0)?;
        let mut order: Vec<(u64, NodeId, u8)> =
            self.offsets.iter().map(|(id, (at, level))| (*at, *id, *level)).collect();
        order.sort_unstable();
        let (mut end, mut last, mut offsets) = (0, self.last, HashMap::new());
        let mut before = None;
        for part in order.chunks(COMPACT_BLOBS) {
            let mut bytes = vec![0; COMMIT_BYTES];
            for (at, id, level) in part {
                let mut blob = [0; BLOB_BYTES];
                self.file.read_exact_at(*at, &mut blob)?;
                offsets.insert(*id, (end + bytes.len() as u64, *level));
                bytes.extend_from_slice(&blob);
            }
            let commit = seal_commit(&mut bytes, last.number, last.hash);
            file.write_at(end, &bytes)?;
            before = (end > 0).then_some(last.start);
            last = Last { number: commit.number, hash: commit.hash, start: end };
            end += bytes.len() as u64;
        }
        file.sync()?;
        self.disk.rename(&fresh, &self.path)?;
        if let Some(dir) = self.path.parent() {
            self.disk.sync_dir(dir)?;
        }
        (self.file, self.end, self.last, self.offsets) = (file, end, last, offsets);
        self.before = before;
        Ok(())
    }

    /// Proves every commit by its hash and the chain between them. Reads the whole file.
    pub(crate) fn check(&self) -> Result<()> {
        let (mut at, mut prev) = (0, None);
        while at < self.end {
            let fits = |c: &Commit| {
                c.bytes() <= self.end - at && prev.is_none_or(|p| p == (c.number - 1, c.prev))
            };
            let commit = match self.record(at)?.filter(fits) {
                Some(commit) if self.holds(at)? => commit,
                _ => {
                    let what = format!("KEY_COMMIT_BROKEN at {at}");
                    return Err(Error::corrupt(&self.path, what));
                }
            };
            prev = Some((commit.number, commit.hash));
            at += commit.bytes();
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

    fn record(&self, at: u64) -> Result<Option<Commit>> {
        let mut record = [0; COMMIT_BYTES];
        self.file.read_exact_at(at, &mut record)?;
        Ok(Commit::decode(&record))
    }

    /// Whether the commit at `at`, whose record is sound and whose length fits, has its blobs.
    fn holds(&self, at: u64) -> Result<bool> {
        let Some(commit) = self.record(at)? else { return Ok(false) };
        let len = usize::try_from(commit.bytes()).unwrap_or(0).saturating_sub(COMMIT_BYTES);
        let mut blobs = vec![0; len];
        self.file.read_exact_at(at + COMMIT_BYTES as u64, &mut blobs)?;
        Ok(commit.holds(&blobs))
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

    /// Number of the first commit of this file: it changes when the file is compacted.
    pub(crate) fn first_number(&self) -> Result<u64> {
        Ok(self.record(0)?.map_or(0, |commit| commit.number))
    }

    /// The commit at `at`: its length, and whether record and blobs are whole.
    pub(crate) fn prove(&self, at: u64) -> Result<Option<(u64, bool)>> {
        let commit = self.record(at)?.filter(|commit| commit.bytes() <= self.end - at);
        let Some(commit) = commit else { return Ok(None) };
        Ok(Some((commit.bytes(), self.holds(at)?)))
    }

    /// Bytes of the file.
    pub(crate) fn read_at(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(at, &mut bytes)?;
        Ok(bytes)
    }

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

    fn missing(&self) -> Error {
        Error::corrupt(&self.path, "KEY_NODE_MISSING: a node the tree names is not there")
    }
}

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

/// Puts the record in front of the blobs in `bytes`.
fn seal_commit(bytes: &mut [u8], number: u64, hash: Hash32) -> Commit {
    let (record, blobs) = bytes.split_at_mut(COMMIT_BYTES.min(bytes.len()));
    let commit = Commit::after(number, hash, blobs);
    record.copy_from_slice(commit.encode().get(..record.len()).unwrap_or_default());
    commit
}

pub(crate) fn fresh_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
