//! `nodes.seg`: the append-only file of node blobs, in commits. It knows offsets, not keys.
//!
//! One commit is one write and one sync, so only the last commit can be incomplete. It never writes
//! into a commit before the last; a compaction writes another file and swaps it in.

mod recovery;
mod shared;

pub(crate) use crate::store::keytree::segment::shared::Shared;

use crate::base::id::{Hash32, NodeId};
use crate::format::node::{BLOB_BYTES, Blob, COMMIT_BYTES, Commit, NodeHead};
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, Result};
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

    fn missing(&self) -> Error {
        Error::corrupt(&self.path, "KEY_NODE_MISSING: a node the tree names is not there")
    }
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
