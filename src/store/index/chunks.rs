//! Where chunks lie: in sled, or in memory. Names and values: `store/index/chunk`.
//!
//! sled is fenced. It has its own directory; a record under `mark` says version, size and log
//! root, and whoever opens compares them with the log. Any error, damage, other version or other
//! log: the directory's files are removed and the index starts empty. sled may also panic on
//! damaged files, so every call into it runs under `catch_unwind` (the panic hook still prints;
//! a build with `panic = "abort"` would lose this fence). Chunks carry checksums and numbers, so
//! damage that sled does not notice, lost chunks included, is found when they are read.
//!
//! Write order of an epoch: remove leftovers under its names, chunks, header, flush, mark, flush.
//! A crash before the last step leaves chunks beyond the mark, which nobody reads.
//!
//! It never holds a key, an identifier or plaintext, and it never decides that a hit is true.

use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{EntryIndex, TreeSize};
use crate::format::seal::row::{INDEX_ROW_BYTES, IndexKey};
use crate::format::seal::table::{INDEX_LEAF_ROWS, RootOf, Table};
use crate::store::disk::Disk;
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::index::IndexMark;
use crate::store::index::chunk::{self, EpochHeader, Name, Row};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Raised when names, chunks, headers or the mark change: an older index is then wiped.
const VERSION: u8 = 1;
const MARK: &[u8] = b"mark";
/// sled's own cache; the default of 1 GiB is for databases that are the truth.
const CACHE_BYTES: u64 = 16 << 20;
/// Chunks of one sled batch: 256 x at most 4 KiB = 1 MiB.
const BATCH_CHUNKS: usize = 256;
/// A closed sled may hold its lock for a moment, until its threads end: 100 x 10 ms.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Directories below the index that sled makes: one; more is not ours.
const WIPE_DEPTH: u32 = 4;

enum Store {
    Sled(sled::Db),
    Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>),
}

type Pair = (Vec<u8>, Vec<u8>);

/// Chunks of whole epochs, from epoch 0 on without a hole.
pub struct Chunks {
    store: Store,
    dir: PathBuf,
    epochs: AtomicU64,
    /// Set when damage was met: nothing is answered from here until `clear`.
    failed: AtomicBool,
    writing: Mutex<()>,
}

impl Drop for Chunks {
    /// sled syncs its file when it is closed, and panics when the disk will not: what it held is
    /// derived, so nothing is lost, and the process must not end by it.
    fn drop(&mut self) {
        let store = std::mem::replace(&mut self.store, Store::Memory(Mutex::default()));
        let _ = catch_unwind(AssertUnwindSafe(move || drop(store)));
    }
}

impl Chunks {
    /// Opens `dir`; keeps what is there only if `holds` says its mark is of this log.
    pub fn open(disk: &dyn Disk, dir: &Path, holds: impl Fn(&IndexMark) -> bool) -> Result<Self> {
        disk.create_dir(dir)?;
        if let Ok(store) = open_sled(dir)?
            && let Some(chunks) = Chunks::adopt(store, dir, &holds)
        {
            return Ok(chunks);
        }
        wipe(disk, dir, WIPE_DEPTH)?;
        match open_sled(dir)? {
            Ok(store) => Ok(Chunks::empty(store, dir)),
            Err(()) => Err(Error::new(ErrorKind::Io, dir, "cannot create the index anew")),
        }
    }

    /// Chunks in memory only.
    pub fn memory() -> Self {
        Chunks::empty(Store::Memory(Mutex::default()), Path::new("memory"))
    }

    fn empty(store: Store, dir: &Path) -> Self {
        Chunks {
            store,
            dir: dir.to_owned(),
            epochs: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            writing: Mutex::new(()),
        }
    }

    /// A store whose mark holds and whose headers are all there, or one without anything.
    fn adopt(store: Store, dir: &Path, holds: &dyn Fn(&IndexMark) -> bool) -> Option<Self> {
        let chunks = Chunks::empty(store, dir);
        let Some(value) = chunks.get(MARK).ok()? else {
            return chunks.after(&[]).ok()?.is_none().then_some(chunks);
        };
        let mark = parse_mark(&value).filter(holds)?;
        let epochs = mark.size.0 / EPOCH_ENTRIES;
        for epoch in 0..epochs {
            chunks.header(epoch).ok()?;
        }
        chunks.epochs.store(epochs, Ordering::Release);
        Some(chunks)
    }

    /// Number of epochs that scans may read; 0 once damage was met.
    pub fn epochs(&self) -> u64 {
        if self.failed.load(Ordering::Acquire) { 0 } else { self.epochs.load(Ordering::Acquire) }
    }

    /// Writes one epoch and the mark.
    pub fn put_epoch(&self, epoch: u64, table: &Table, mark: IndexMark) -> Result<()> {
        let _writing = lock(&self.writing);
        let end = epoch.checked_add(1).and_then(|next| next.checked_mul(EPOCH_ENTRIES));
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::corrupt(&self.dir, "the index is damaged and must be cleared"));
        }
        if epoch != self.epochs() || end != Some(mark.size.0) {
            return Err(Error::corrupt(&self.dir, "epochs are written in order, with their mark"));
        }
        let result = self.write(epoch, table, mark);
        match result {
            Ok(()) => self.epochs.store(epoch + 1, Ordering::Release),
            Err(_) => self.fail(),
        }
        result
    }

    fn write(&self, epoch: u64, table: &Table, mark: IndexMark) -> Result<()> {
        let header_name = chunk::name(epoch, &[]);
        let mut number = 0_u32;
        self.remove_epoch(epoch)?;
        let mut batch = Vec::with_capacity(BATCH_CHUNKS);
        for leaf in table.leaves() {
            let name = chunk::name(epoch, leaf.get(..INDEX_ROW_BYTES).unwrap_or_default());
            batch.push((name.to_vec(), chunk::pack(&name, number, leaf)));
            number += 1;
            if batch.len() == BATCH_CHUNKS {
                self.put(std::mem::take(&mut batch))?;
            }
        }
        let header = EpochHeader { chunks: number, root: table.root() };
        batch.push((header_name.to_vec(), chunk::pack_header(&header_name, &header)));
        self.put(batch)?;
        self.flush()?;
        self.put(vec![(MARK.to_vec(), mark_value(&mark))])?;
        self.flush()
    }

    /// Hits of one epoch, ascending. Errors as `Index::scan`.
    pub fn scan_epoch(
        &self,
        epoch: u64,
        key: &IndexKey,
        range: &Range<EntryIndex>,
        hit: &mut dyn FnMut(EntryIndex) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let first = EntryIndex(epoch.saturating_mul(EPOCH_ENTRIES)).max(range.start);
        let end = EntryIndex(epoch.saturating_add(1).saturating_mul(EPOCH_ENTRIES));
        let Some(last) = end.min(range.end).0.checked_sub(1).filter(|last| *last >= first.0) else {
            return Ok(ControlFlow::Continue(()));
        };
        let (first, last) = (key.row(first), key.row(EntryIndex(last)));
        let outcome = self.walk(epoch, &first, &mut |row| {
            if *row > last {
                return ControlFlow::Break(false);
            }
            if let Some((_, index)) = IndexKey::parse_row(row)
                && *row >= first
                && hit(index).is_break()
            {
                return ControlFlow::Break(true);
            }
            ControlFlow::Continue(())
        });
        let stopped = outcome.inspect_err(|_| self.fail())?;
        Ok(if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// An epoch's rows as they lie in the store.
    pub fn table(&self, epoch: u64) -> Result<Table> {
        let mut table = Table::new::<INDEX_ROW_BYTES>(INDEX_LEAF_ROWS);
        let walked = self.walk(epoch, &[0; INDEX_ROW_BYTES], &mut |row| {
            table.push(row);
            ControlFlow::Continue(())
        });
        walked.inspect_err(|_| self.fail())?;
        Ok(table)
    }

    /// Root of an epoch's rows as they lie in the store.
    pub fn epoch_root(&self, epoch: u64) -> Result<Hash32> {
        let mut roots = RootOf::default();
        let mut leaf = Vec::with_capacity(INDEX_LEAF_ROWS * INDEX_ROW_BYTES);
        let walked = self.walk(epoch, &[0; INDEX_ROW_BYTES], &mut |row| {
            leaf.extend_from_slice(row);
            if leaf.len() == INDEX_LEAF_ROWS * INDEX_ROW_BYTES {
                roots.push(&leaf);
                leaf.clear();
            }
            ControlFlow::Continue(())
        });
        walked.inspect_err(|_| self.fail())?;
        if !leaf.is_empty() {
            roots.push(&leaf);
        }
        Ok(roots.finish())
    }

    /// Visits rows of an epoch in order, from the chunk that `from` would lie in. Every chunk must
    /// be the next: `Corrupt` otherwise. Returns what the visitor broke with, or false.
    fn walk(
        &self,
        epoch: u64,
        from: &Row,
        visit: &mut dyn FnMut(&Row) -> ControlFlow<bool>,
    ) -> Result<bool> {
        let header = self.header(epoch)?;
        let mut pair = self.at_or_before(&chunk::name(epoch, from))?;
        let mut next = None;
        if pair.as_ref().is_some_and(|(name, _)| *name == chunk::name(epoch, &[])) {
            pair = self.after(&chunk::name(epoch, &[]))?;
            next = Some(0);
        }
        while next != Some(header.chunks) {
            let (name, value) = pair.ok_or_else(|| self.damaged("an index chunk is missing"))?;
            let found = chunk::unpack(&name, &value)
                .filter(|_| chunk::parse_name(&name).is_some_and(|(e, _)| e == epoch));
            let (number, rows) = found.ok_or_else(|| self.damaged("an index chunk is damaged"))?;
            if next.is_some_and(|next| next != number) || number >= header.chunks {
                return Err(self.damaged("an index chunk is missing"));
            }
            for row in &rows {
                if let ControlFlow::Break(stopped) = visit(row) {
                    return Ok(stopped);
                }
            }
            next = Some(number + 1);
            pair = self.after(&name)?;
        }
        Ok(false)
    }

    fn header(&self, epoch: u64) -> Result<EpochHeader> {
        let name = chunk::name(epoch, &[]);
        let value = self.get(&name)?;
        let header = value.and_then(|value| chunk::unpack_header(&name, &value));
        header.ok_or_else(|| self.damaged("an index epoch has no header"))
    }

    /// Forgets every epoch and whatever damage was met.
    pub fn clear(&self) -> Result<()> {
        let _writing = lock(&self.writing);
        self.failed.store(true, Ordering::Release);
        match &self.store {
            Store::Sled(db) => {
                self.guard(|| db.remove(MARK).and_then(|_| db.clear()).and_then(|()| db.flush()))?;
            }
            Store::Memory(map) => lock(map).clear(),
        }
        self.epochs.store(0, Ordering::Release);
        self.failed.store(false, Ordering::Release);
        Ok(())
    }

    /// Stops answering, and takes the mark away so that the next open wipes.
    fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        if let Store::Sled(db) = &self.store {
            // If even this fails, sled is past opening, or damage is met again: both end alike.
            let _ = self.guard(|| db.remove(MARK).and_then(|_| db.flush()));
        }
    }

    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match &self.store {
            Store::Sled(db) => Ok(self.guard(|| db.get(name))?.map(|value| value.to_vec())),
            Store::Memory(map) => Ok(lock(map).get(name).cloned()),
        }
    }

    fn at_or_before(&self, name: &Name) -> Result<Option<Pair>> {
        if let Some(value) = self.get(name)? {
            return Ok(Some((name.to_vec(), value)));
        }
        match &self.store {
            Store::Sled(db) => Ok(self.guard(|| db.get_lt(name))?.map(pair)),
            Store::Memory(map) => {
                let bounds = (Bound::Unbounded, Bound::Excluded(name.to_vec()));
                Ok(lock(map).range(bounds).next_back().map(|(n, v)| (n.clone(), v.clone())))
            }
        }
    }

    fn after(&self, name: &[u8]) -> Result<Option<Pair>> {
        match &self.store {
            Store::Sled(db) => Ok(self.guard(|| db.get_gt(name))?.map(pair)),
            Store::Memory(map) => {
                let bounds = (Bound::Excluded(name.to_vec()), Bound::Unbounded);
                Ok(lock(map).range(bounds).next().map(|(n, v)| (n.clone(), v.clone())))
            }
        }
    }

    fn put(&self, pairs: Vec<Pair>) -> Result<()> {
        match &self.store {
            Store::Sled(db) => {
                let mut batch = sled::Batch::default();
                pairs.into_iter().for_each(|(name, value)| batch.insert(name, value));
                self.guard(|| db.apply_batch(batch))
            }
            Store::Memory(map) => {
                lock(map).extend(pairs);
                Ok(())
            }
        }
    }

    fn flush(&self) -> Result<()> {
        match &self.store {
            Store::Sled(db) => self.guard(|| db.flush()).map(|_| ()),
            Store::Memory(_) => Ok(()),
        }
    }

    /// Removes what a crash before the mark may have left under an epoch's names.
    fn remove_epoch(&self, epoch: u64) -> Result<()> {
        let prefix = epoch.to_be_bytes();
        let mut found = self.at_or_before(&chunk::name(epoch, &[0xff; INDEX_ROW_BYTES]))?;
        while let Some((name, _)) = found.filter(|(name, _)| name.starts_with(&prefix)) {
            match &self.store {
                Store::Sled(db) => drop(self.guard(|| db.remove(&name))?),
                Store::Memory(map) => drop(lock(map).remove(&name)),
            }
            found = match <&Name>::try_from(name.as_slice()) {
                Ok(name) => self.at_or_before(name)?,
                Err(_) => None,
            };
        }
        Ok(())
    }

    fn guard<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
        quiet(call).map_err(|_| self.damaged("sled failed"))
    }

    fn damaged(&self, what: &str) -> Error {
        Error::corrupt(&self.dir, what)
    }
}

/// Runs a call into sled; a panic counts as damage.
fn quiet<T>(call: impl FnOnce() -> sled::Result<T>) -> sled::Result<T> {
    let caught = catch_unwind(AssertUnwindSafe(call));
    caught.unwrap_or_else(|_| Err(sled::Error::ReportableBug("sled panicked".to_owned())))
}

/// Opens sled; the inner error means damage, the outer one that another opener holds the lock.
fn open_sled(dir: &Path) -> Result<std::result::Result<Store, ()>> {
    for _ in 0..LOCK_TRIES {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        match quiet(|| config.open()) {
            Ok(db) => return Ok(Ok(Store::Sled(db))),
            // sled says so in words only.
            Err(sled::Error::Io(e)) if e.to_string().contains("could not acquire lock") => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(_) => return Ok(Err(())),
        }
    }
    Err(Error::new(ErrorKind::Locked, dir, "another opener holds the index"))
}

/// Removes every file at and below `dir`; directories stay, empty.
fn wipe(disk: &dyn Disk, dir: &Path, depth: u32) -> Result<()> {
    for listed in disk.list(dir)? {
        let path = dir.join(&listed.name);
        match depth.checked_sub(1) {
            Some(depth) if listed.is_dir => wipe(disk, &path, depth)?,
            None if listed.is_dir => {}
            _ => disk.remove(&path)?,
        }
    }
    disk.sync_dir(dir)
}

fn pair((name, value): (sled::IVec, sled::IVec)) -> Pair {
    (name.to_vec(), value.to_vec())
}

/// CRC-32, version u8, size u64, root.
fn mark_value(mark: &IndexMark) -> Vec<u8> {
    let mut value = vec![0, 0, 0, 0, VERSION];
    value.extend_from_slice(&mark.size.0.to_be_bytes());
    value.extend_from_slice(&mark.root.0);
    chunk::seal(MARK, value)
}

fn parse_mark(value: &[u8]) -> Option<IndexMark> {
    let (version, rest) = chunk::checked(MARK, value)?.split_first()?;
    let (size, root) = rest.split_first_chunk::<8>()?;
    let mark = IndexMark {
        size: TreeSize(u64::from_be_bytes(*size)),
        root: Hash32(root.try_into().ok()?),
    };
    (*version == VERSION && mark.size.0.is_multiple_of(EPOCH_ENTRIES)).then_some(mark)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
