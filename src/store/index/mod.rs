//! The index: which entries have a key, without reading the log. It is derived from entries
//! alone, may be wiped at any time, and is never trusted: whoever asks re-reads every hit.
//!
//! Three parts answer together: `chunks` (whole epochs, written to sled one epoch at a time),
//! epochs that are whole but not yet written, and the tail (the unfinished epoch, in memory).
//! `gap` names the entries that none of them covers; the caller scans those in the log and says
//! so. There are no threads here: `observe` hands out a whole epoch, the caller builds and seals
//! its tables in the background and gives the index table to `IndexWriter::put_epoch`.
//!
//! What lies in sled: random-looking tags and handles, codes and positions, all of which the log
//! shows anyway. Never a key, an identifier or plaintext: deleted values stay in sled's files.

pub mod chunk;
pub mod chunks;

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{ClassDay, EntryIndex, TreeSize};
use crate::format::outline::Outline;
use crate::format::seal::epoch::{EpochError, EpochTables};
use crate::format::seal::row::IndexKey;
use crate::format::seal::table::Table;
use crate::store::disk::Disk;
use crate::store::error::Result;
use crate::store::index::chunks::Chunks;
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

/// Whole epochs that wait to be written: about 7 MB each. Beyond this the oldest is dropped and
/// lies in the gap until the caller rebuilds it from the log.
const WAITING_EPOCHS_MAX: usize = 4;

/// How far the written part of an index reaches, and on which log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexMark {
    /// A whole number of epochs.
    pub size: TreeSize,
    /// Root of the log at that size.
    pub root: Hash32,
}

/// The index of one tenant's log. One owner observes and scans; writers may work beside it.
pub struct Index {
    chunks: Arc<Chunks>,
    /// Consecutive epochs up to the tail.
    waiting: VecDeque<Arc<EpochTables>>,
    tail: EpochTables,
}

/// Writes whole epochs, from any thread.
#[derive(Clone)]
pub struct IndexWriter {
    chunks: Arc<Chunks>,
}

impl Index {
    /// Opens the index in its own directory `dir` for a log of `size` entries. `root_at` says the
    /// log's root at a smaller or equal size. Whatever is damaged, of another version, or not of
    /// this log is wiped, and the index starts empty; `Err` only if wiping fails too or another
    /// opener holds the directory. The tail is empty: feed `observe` from `tail_from`.
    pub fn open(
        disk: &dyn Disk,
        dir: &Path,
        size: TreeSize,
        root_at: impl Fn(TreeSize) -> Option<Hash32>,
    ) -> Result<Self> {
        let holds = |mark: &IndexMark| {
            mark.size <= size && (mark.size.0 == 0 || root_at(mark.size) == Some(mark.root))
        };
        Ok(Index::new(Chunks::open(disk, dir, holds)?, size))
    }

    /// An index that lives in memory, for disks that are simulated.
    pub fn memory(size: TreeSize) -> Self {
        Index::new(Chunks::memory(), size)
    }

    fn new(chunks: Chunks, size: TreeSize) -> Self {
        let tail = EpochTables::new(size.0 / EPOCH_ENTRIES);
        Index { chunks: Arc::new(chunks), waiting: VecDeque::new(), tail }
    }

    /// The entry that `observe` needs next.
    pub fn tail_from(&self) -> EntryIndex {
        self.tail.end()
    }

    /// Number of written epochs: 0 to this are answered from chunks.
    pub fn epochs(&self) -> u64 {
        self.chunks.epochs()
    }

    /// A handle that writes epochs.
    pub fn writer(&self) -> IndexWriter {
        IndexWriter { chunks: Arc::clone(&self.chunks) }
    }

    /// Takes the next entry in. When it completes an epoch, returns the epoch's tables, to be
    /// sealed and written elsewhere; scans answer from them meanwhile.
    pub fn observe(
        &mut self,
        entry: &Entry,
    ) -> std::result::Result<Option<Arc<EpochTables>>, EpochError> {
        self.tail.observe(entry)?;
        Ok(self.completed())
    }

    /// As `observe`, from an entry's parts.
    pub fn observe_outline(
        &mut self,
        entry: &Outline,
        groups: &[ClassDay],
        tags: &[[u8; 16]],
    ) -> std::result::Result<Option<Arc<EpochTables>>, EpochError> {
        self.tail.observe_outline(entry, groups.iter().copied(), tags.iter().copied())?;
        Ok(self.completed())
    }

    fn completed(&mut self) -> Option<Arc<EpochTables>> {
        if !self.tail.is_whole() {
            return None;
        }
        let next = EpochTables::new(self.tail.epoch().saturating_add(1));
        let whole = Arc::new(std::mem::replace(&mut self.tail, next));
        let written = self.epochs();
        self.waiting.retain(|tables| tables.epoch() >= written);
        self.waiting.push_back(Arc::clone(&whole));
        if self.waiting.len() > WAITING_EPOCHS_MAX {
            self.waiting.pop_front();
        }
        Some(whole)
    }

    /// An epoch that is whole but perhaps not written yet.
    pub fn waiting(&self, epoch: u64) -> Option<Arc<EpochTables>> {
        self.waiting.iter().find(|tables| tables.epoch() == epoch).cloned()
    }

    /// Entries below the tail that no part covers: after a wipe, until epochs from `epochs()` on
    /// are rebuilt. Empty when there are none.
    pub fn gap(&self) -> Range<EntryIndex> {
        let memory = self.waiting.front().map_or(self.tail.first(), |tables| tables.first());
        let written = EntryIndex(self.epochs().saturating_mul(EPOCH_ENTRIES));
        written.min(memory)..memory
    }

    /// Calls `hit` with every covered entry of `range` that has `key`, ascending, until it breaks.
    /// Damage that is found on the way is an error of kind `Corrupt`: hits so far are true as far
    /// as the caller's re-reading goes, but incomplete; the index answers from memory only from
    /// then on (`gap` grows) and is wiped by the next `open` or `clear`.
    pub fn scan(
        &self,
        key: &IndexKey,
        range: Range<EntryIndex>,
        hit: &mut dyn FnMut(EntryIndex) -> ControlFlow<()>,
    ) -> Result<()> {
        let written = self.epochs();
        let end_epoch = range.end.0.div_ceil(EPOCH_ENTRIES).min(written);
        for epoch in range.start.0 / EPOCH_ENTRIES..end_epoch {
            if self.chunks.scan_epoch(epoch, key, &range, hit)?.is_break() {
                return Ok(());
            }
        }
        let waiting = self.waiting.iter().map(Arc::as_ref).filter(|t| t.epoch() >= written);
        for tables in waiting.chain([&self.tail]) {
            if tables.first() >= range.end || tables.end() <= range.start {
                continue;
            }
            for index in tables.find(key).into_iter().filter(|i| range.contains(i)) {
                if hit(index).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Root of the written index table of `epoch`, recomputed from its rows: what a seal states.
    pub fn epoch_root(&self, epoch: u64) -> Result<Hash32> {
        self.chunks.epoch_root(epoch)
    }

    /// Forgets everything written; what is in memory stays.
    pub fn clear(&self) -> Result<()> {
        self.chunks.clear()
    }
}

impl IndexWriter {
    /// Writes the index table of `epoch`, which must be `epochs()`, and then the mark, whose size
    /// must be the epoch's end. Durable when it returns.
    pub fn put_epoch(&self, epoch: u64, table: &Table, mark: IndexMark) -> Result<()> {
        self.chunks.put_epoch(epoch, table, mark)
    }

    /// Number of written epochs.
    pub fn epochs(&self) -> u64 {
        self.chunks.epochs()
    }

    /// As `Index::epoch_root`.
    pub fn epoch_root(&self, epoch: u64) -> Result<Hash32> {
        self.chunks.epoch_root(epoch)
    }

    /// The written index table of `epoch`: its rows, not its truth, which only its root shows.
    pub fn table(&self, epoch: u64) -> Result<Table> {
        self.chunks.table(epoch)
    }
}
